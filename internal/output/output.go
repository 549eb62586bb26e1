// Package output prints results: tables for people, JSON, JSON lines and CSV for programs.
package output

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Format is how results are printed.
type Format string

// Formats.
const (
	Table Format = "table" // what matters, in 80 columns
	Wide  Format = "wide"  // every column, as wide as it comes
	JSON  Format = "json"
	JSONL Format = "jsonl"
	CSV   Format = "csv"
)

// Formats are all of them, in the order of help texts.
var Formats = []string{string(Table), string(Wide), string(JSON), string(JSONL), string(CSV)}

// Set makes a Format a flag's value.
func (f *Format) Set(s string) error {
	for _, known := range Formats {
		if s == known {
			*f = Format(s)
			return nil
		}
	}
	return fmt.Errorf("must be one of %s", strings.Join(Formats, ", "))
}

// ForPeople tells tables from what programs read.
func (f Format) ForPeople() bool { return f == Table || f == Wide }

// String is the format's name.
func (f *Format) String() string { return string(*f) }

// Type is what help calls a format.
func (f *Format) Type() string { return "format" }

// List is things of one kind: as rows for people and CSV, as objects for JSON. Objects are proto messages or what
// encoding/json takes; there is one for each row. A list whose rows are too wide for a terminal has a brief view too, a
// row for each row, which the table shows.
type List struct {
	Columns []string
	Rows    [][]string
	Objects []any
	Brief   *Brief
}

// Brief is what of a list fits 80 columns.
type Brief struct {
	Columns []string
	Rows    [][]string
	Notes   []string // beneath a row: what it went wrong by, if it did
}

// Add appends a row with its note, which may be empty.
func (b *Brief) Add(note string, cells ...string) {
	b.Rows = append(b.Rows, cells)
	b.Notes = append(b.Notes, note)
}

// Add appends a thing with its row.
func (l *List) Add(object any, cells ...string) {
	l.Objects = append(l.Objects, object)
	l.Rows = append(l.Rows, cells)
}

// Write prints a list.
func (f Format) Write(w io.Writer, l *List) error {
	switch f {
	case JSON:
		all := make([]json.RawMessage, len(l.Objects))
		for i, o := range l.Objects {
			b, err := Marshal(o)
			if err != nil {
				return err
			}
			all[i] = b
		}
		return indented(w, all)
	case JSONL:
		return f.lines(w, l)
	case CSV:
		c := csv.NewWriter(w)
		header := make([]string, len(l.Columns))
		for i, name := range l.Columns {
			header[i] = strings.ReplaceAll(strings.ToLower(name), " ", "_")
		}
		if err := c.Write(header); err != nil {
			return err
		}
		return c.WriteAll(l.Rows)
	}
	g := f.Grid(l)
	return g.Write(w, g.Widths(nil), true)
}

func (f Format) lines(w io.Writer, l *List) error {
	for _, o := range l.Objects {
		b, err := Marshal(o)
		if err == nil {
			_, err = w.Write(append(b, '\n'))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// WriteOne prints a single thing: as an object in JSON, else as the list's one row.
func (f Format) WriteOne(w io.Writer, l *List) error {
	if f != JSON {
		return f.Write(w, l)
	}
	b, err := Marshal(l.Objects[0])
	if err != nil {
		return err
	}
	return indented(w, json.RawMessage(b))
}

// Marshal writes an object as JSON on one line. The JSON of proto messages has the proto's field names, and no spaces
// that vary from build to build.
func Marshal(o any) ([]byte, error) {
	m, ok := o.(proto.Message)
	if !ok {
		return json.Marshal(o)
	}
	b, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Compact(&out, b)
	return out.Bytes(), err
}

func indented(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		_, err = w.Write(append(b, '\n'))
	}
	return err
}
