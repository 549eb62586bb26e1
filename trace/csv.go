package trace

import (
	"io"
	"slices"
	"strings"
)

// fixedColumns of a CSV export; the fields of the events' data follow, by name.
var fixedColumns = []string{"t_ns", "node", "eseq", "conn", "side", "cause", "name"}

// WriteCSV writes events as one flat table (RFC 4180, lines ending in LF): the fixed columns, then one column for each
// field that occurs, in alphabetical order, nested ones as "info.srtt_us", one that is called like a fixed column as
// "data.cause". A field that an event does not have is empty.
func WriteCSV(w io.Writer, events []Event) error {
	columns := dataColumns(events)
	place := make(map[string]int, len(columns))
	for i, c := range columns {
		place[c] = i
	}
	var b []byte
	b = appendRow(b, append(slices.Clone(fixedColumns), columns...))
	cells := make([]string, len(fixedColumns)+len(columns))
	for i := range events {
		e := &events[i]
		clear(cells)
		cause := ""
		if e.Cause != 0 {
			cause = scalar(e.Cause)
		}
		copy(cells, []string{scalar(e.TNs), e.Node, scalar(e.ESeq), e.Conn, e.Side, cause, e.Name})
		flatten("", e.Data, func(name string, v any) { cells[len(fixedColumns)+place[name]] = csvValue(v) })
		b = appendRow(b, cells)
		if len(b) > 64<<10 {
			if _, err := w.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	_, err := w.Write(b)
	return err
}

func dataColumns(events []Event) []string {
	seen := map[string]bool{}
	var columns []string
	for i := range events {
		flatten("", events[i].Data, func(name string, _ any) {
			if !seen[name] {
				seen[name] = true
				columns = append(columns, name)
			}
		})
	}
	slices.Sort(columns)
	return columns
}

// flatten visits all fields that hold a value, nested ones under dotted names.
func flatten(prefix string, fields []Field, visit func(string, any)) {
	for _, f := range fields {
		if sub, ok := f.Value.([]Field); ok {
			flatten(prefix+f.Name+".", sub, visit)
			continue
		}
		name := prefix + f.Name
		if slices.Contains(fixedColumns, name) {
			name = "data." + name
		}
		visit(name, f.Value)
	}
}

func csvValue(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case JSON:
		return string(v)
	case []string:
		return strings.Join(v, " ")
	case []Field:
		return string(appendFields(nil, v))
	}
	return scalar(v)
}

func appendRow(b []byte, cells []string) []byte {
	for i, c := range cells {
		if i > 0 {
			b = append(b, ',')
		}
		if strings.ContainsAny(c, ",\"\r\n") {
			c = `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
		}
		b = append(b, c...)
	}
	return append(b, '\n')
}

// DataText is an event's data in words, "name=value ..." in the order of its definition.
func DataText(e *Event) string {
	var b strings.Builder
	flatten("", e.Data, func(name string, v any) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(name + "=" + csvValue(v))
	})
	return b.String()
}
