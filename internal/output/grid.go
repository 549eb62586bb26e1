package output

import (
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Columns is how wide a terminal is taken to be.
const Columns = 80

// gap is the space between two columns.
const gap = 2

// narrowest is what no column is made narrower than: a shorter one says nothing any more.
const narrowest = 6

// Grid is what a table shows of a list.
type Grid struct {
	Columns []string
	Rows    [][]string
	Notes   []string // beneath the rows; nil: none
	width   int      // 0: as wide as it comes
}

// Grid is how this format shows a list to people: the brief view, if it has one, in 80 columns, or all of it.
func (f Format) Grid(l *List) *Grid {
	switch {
	case f == Wide:
		return &Grid{Columns: l.Columns, Rows: l.Rows}
	case l.Brief == nil:
		return &Grid{Columns: l.Columns, Rows: l.Rows, width: Columns}
	}
	return &Grid{Columns: l.Brief.Columns, Rows: l.Brief.Rows, Notes: l.Brief.Notes, width: Columns}
}

// Pick is the grid with only these rows.
func (g *Grid) Pick(rows []int) *Grid {
	out := &Grid{Columns: g.Columns, width: g.width}
	for _, i := range rows {
		out.Rows = append(out.Rows, g.Rows[i])
		if g.Notes != nil {
			out.Notes = append(out.Notes, g.Notes[i])
		}
	}
	return out
}

// Widths are the widths of the columns: what they hold, none less than in least, the widest ones narrowed until all fit.
func (g *Grid) Widths(least []int) []int {
	widths := make([]int, len(g.Columns))
	copy(widths, least)
	for _, row := range append([][]string{g.Columns}, g.Rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 1)
		}
	}
	total := gap * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for ; g.width > 0 && total > g.width; total-- {
		widest := slices.Index(widths, slices.Max(widths))
		if widths[widest] <= narrowest {
			break
		}
		widths[widest]--
	}
	for i := range widths {
		widths[i] = g.needed(i, widths[i], least)
	}
	return widths
}

// needed is how much of a column's width its cells take once they are wrapped.
func (g *Grid) needed(column, width int, least []int) int {
	n := 1
	if column < len(least) {
		n = min(least[column], width) // where the rows before had it
	}
	for _, row := range append([][]string{g.Columns}, g.Rows...) {
		for _, line := range wrap(row[column], width) {
			n = max(n, utf8.RuneCountInString(line))
		}
	}
	return n
}

// Write prints the grid with columns of these widths, with its header or without. Nothing follows the last column; what
// is wider than its column goes on in the line below.
func (g *Grid) Write(w io.Writer, widths []int, header bool) error {
	var b strings.Builder
	if header {
		writeRow(&b, g.Columns, widths)
	}
	for i, row := range g.Rows {
		writeRow(&b, row, widths)
		if g.Notes != nil && g.Notes[i] != "" {
			b.WriteString(Hanging("    "+g.Notes[i], 4))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeRow(b *strings.Builder, row []string, widths []int) {
	cells, height := make([][]string, len(row)), 1
	for i, cell := range row {
		if cell == "" {
			cell = "-"
		}
		cells[i] = wrap(cell, widths[i])
		height = max(height, len(cells[i]))
	}
	for n := range height {
		var line strings.Builder
		for i := range cells {
			text := ""
			if n < len(cells[i]) {
				text = cells[i][n]
			}
			line.WriteString(text)
			if i < len(cells)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+gap))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}
