package output

import (
	"encoding/csv"
	"io"
	"strings"
	"unicode/utf8"
)

// What follows is for lists that are printed bit by bit: a header once, then rows as they come.

// WriteRows prints a list's rows as CSV without its header.
func (f Format) WriteRows(w io.Writer, l *List) error { return csv.NewWriter(w).WriteAll(l.Rows) }

// Widths are the widths of a list's columns, none less than in least.
func (l *List) Widths(least []int) []int {
	widths := make([]int, len(l.Columns))
	copy(widths, least)
	for _, row := range append([][]string{l.Columns}, l.Rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 1)
		}
	}
	return widths
}

// WriteAligned prints a list as a table with columns of these widths, with its header or without.
func (l *List) WriteAligned(w io.Writer, widths []int, header bool) error {
	rows := l.Rows
	if header {
		rows = append([][]string{l.Columns}, rows...)
	}
	var b strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if cell == "" {
				cell = "-"
			}
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
