// Package roster reads lists of people, as spreadsheets write them: a line for each, with commas, semicolons or tabs between
// the columns, which the first line names.
package roster

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"labd.dev/internal/auth"
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

const (
	// MaxBytes bounds a roster's file: MaxPeople with long names and some columns more.
	MaxBytes = 16 << 20
	// MaxPeople bounds the people of a roster; labd keeps no more.
	MaxPeople = 10_000
	// maxColumns bounds the columns of a line.
	maxColumns = 200
)

// Roster is what a file says.
type Roster struct {
	People  []Person
	Ignored []string // names of columns that mean nothing to labd
}

// Person is one line.
type Person struct {
	Name, Section, Email string
	Role                 labv1.Role // unspecified: the line does not say
}

// columns are the names by which spreadsheets call what labd asks for.
var columns = map[string]string{
	"name": "name", "login": "name", "user": "name", "username": "name", "user name": "name",
	"email": "email", "e-mail": "email", "mail": "email", "email address": "email",
	"section": "section", "group": "section", "class": "section",
	"role": "role",
}

// ReadFile reads a roster's file. Errors have the type *schema.Error or *schema.Errors, with the place of what is wrong.
func ReadFile(path string) (*Roster, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	return Parse(path, src)
}

// Parse reads a roster.
func Parse(file string, src []byte) (*Roster, error) {
	p := &parser{file: file, names: make(map[string]int), emails: make(map[string]int)}
	if len(src) > MaxBytes {
		return nil, p.at(1, 1, "the file is larger than %d MiB", MaxBytes>>20)
	}
	src, err := p.text(src)
	if err != nil {
		return nil, err
	}
	r := csv.NewReader(bytes.NewReader(src))
	r.Comma, r.FieldsPerRecord, r.ReuseRecord = separator(src), -1, true
	head, err := p.line(r)
	if errors.Is(err, io.EOF) {
		return nil, p.at(1, 1, "the file is empty; its first line names the columns: name,email,section,role")
	}
	if err == nil {
		err = p.head(r, head)
	}
	for err == nil {
		var fields []string
		if fields, err = p.line(r); err == nil {
			err = p.person(r, fields)
		}
	}
	if !errors.Is(err, io.EOF) {
		p.note(err)
	}
	if len(p.errs.List) == 0 && len(p.roster.People) == 0 {
		return nil, p.at(1, 1, "there is nobody in it")
	}
	return &p.roster, p.err()
}

type parser struct {
	file   string
	role   []string // what each column means; empty: nothing
	names  map[string]int
	emails map[string]int
	roster Roster
	errs   schema.Errors
}

func (p *parser) at(line, column int, format string, args ...any) error {
	return &schema.Error{Position: schema.Position{File: p.file, Line: line, Column: column}, Message: fmt.Sprintf(format, args...)}
}

// note keeps what is wrong; of much, the first.
func (p *parser) note(err error) {
	var one *schema.Error
	switch {
	case !errors.As(err, &one):
	case len(p.errs.List) >= schema.MaxErrors:
		p.errs.More = true
	default:
		p.errs.List = append(p.errs.List, one)
	}
}

func (p *parser) err() error {
	if len(p.errs.List) == 0 {
		return nil
	}
	return &p.errs
}

// The byte-order marks of the Unicode standard 2.6, which spreadsheets begin files with.
var (
	bomUTF8    = []byte{0xef, 0xbb, 0xbf}
	bomUTF16BE = []byte{0xfe, 0xff}
	bomUTF16LE = []byte{0xff, 0xfe}
)

// text checks that a file is text in UTF-8, and takes off its byte-order mark.
func (p *parser) text(src []byte) ([]byte, error) {
	if bytes.HasPrefix(src, bomUTF16BE) || bytes.HasPrefix(src, bomUTF16LE) {
		return nil, p.at(1, 1, "the file is in UTF-16; save it as CSV in UTF-8")
	}
	src = bytes.TrimPrefix(src, bomUTF8)
	for line, rest := 1, src; len(rest) > 0; line++ {
		text, after, _ := bytes.Cut(rest, []byte("\n"))
		if i := bytes.IndexByte(text, 0); i >= 0 {
			return nil, p.at(line, i+1, "there is a zero byte; this is no CSV file")
		}
		if !utf8.Valid(text) {
			i := 0
			for r, n := utf8.DecodeRune(text); r != utf8.RuneError || n > 1; r, n = utf8.DecodeRune(text[i:]) {
				i += n
			}
			return nil, p.at(line, i+1, "the text is not in UTF-8; save the file as CSV in UTF-8")
		}
		rest = after
	}
	return src, nil
}

// separator is what stands between the columns of the first line: where the decimal point is a comma, spreadsheets write
// semicolons.
func separator(src []byte) rune {
	line, _, _ := bytes.Cut(src, []byte("\n"))
	best, most := ',', 0
	for _, c := range ",;\t" {
		if n := bytes.Count(line, []byte(string(c))); n > most {
			best, most = c, n
		}
	}
	return best
}

// line reads the next line that is not blank.
func (p *parser) line(r *csv.Reader) ([]string, error) {
	for {
		fields, err := r.Read()
		var wrong *csv.ParseError
		if errors.As(err, &wrong) {
			return nil, p.at(wrong.Line, wrong.Column, "%v", wrong.Err)
		}
		if err != nil {
			return nil, err
		}
		if len(fields) > maxColumns {
			line, _ := r.FieldPos(0)
			return nil, p.at(line, 1, "the line has more than %d columns", maxColumns)
		}
		if slices.ContainsFunc(fields, func(f string) bool { return strings.TrimSpace(f) != "" }) {
			return fields, nil
		}
	}
}

// head learns which column is what.
func (p *parser) head(r *csv.Reader, fields []string) error {
	for i, f := range fields {
		name := strings.TrimSpace(f)
		role := columns[strings.ToLower(name)]
		switch {
		case role != "" && slices.Contains(p.role, role):
			line, column := r.FieldPos(i)
			return p.at(line, column, "a second column says the %s", role)
		case role == "" && name != "":
			p.roster.Ignored = append(p.roster.Ignored, name)
		}
		p.role = append(p.role, role)
	}
	if !slices.Contains(p.role, "name") {
		line, _ := r.FieldPos(0)
		return p.at(line, 1, "no column is called name; the first line names the columns: name,email,section,role")
	}
	return nil
}

// person reads a line. What is wrong in it is noted, and the next one is read; the error is one after which nothing is.
func (p *parser) person(r *csv.Reader, fields []string) error {
	start, _ := r.FieldPos(0)
	if len(p.roster.People) >= MaxPeople {
		return p.at(start, 1, "more than %d people", MaxPeople)
	}
	var one Person
	nameColumn, emailColumn := 1, 1
	for i, f := range fields {
		line, column := r.FieldPos(i)
		f = strings.TrimSpace(f)
		if i >= len(p.role) {
			if f != "" {
				p.note(p.at(line, column, "the line has more columns than the first one"))
			}
			continue
		}
		why := ""
		switch p.role[i] {
		case "name":
			one.Name, nameColumn = f, column
			why = p.checkName(f)
		case "email":
			one.Email, emailColumn = f, column
			if f != "" {
				why = auth.CheckEmail(f)
			}
		case "section":
			one.Section = f
			why = auth.CheckSection(f)
		case "role":
			var err error
			if f != "" {
				if one.Role, err = auth.ParseRole(strings.ToLower(f)); err != nil {
					why = "there are student, instructor and admin"
				}
			}
		}
		if why != "" {
			p.note(p.at(line, column, "%s %q: %s", p.role[i], f, why))
		}
	}
	if one.Name == "" && !p.noted(start) {
		p.note(p.at(start, nameColumn, "the line has no name"))
	}
	p.twice(start, nameColumn, "name", one.Name, p.names)
	p.twice(start, emailColumn, "email", strings.ToLower(one.Email), p.emails)
	p.roster.People = append(p.roster.People, one)
	return nil
}

// checkName says also how a name would have to be written.
func (p *parser) checkName(name string) string {
	why := auth.CheckPerson(name)
	if lower := strings.ToLower(name); why != "" && lower != name && auth.CheckPerson(lower) == "" {
		return fmt.Sprintf("a name has small letters only: %s", lower)
	}
	return why
}

func (p *parser) noted(line int) bool {
	n := len(p.errs.List)
	return n > 0 && p.errs.List[n-1].Position.Line == line
}

// twice notes what was there before.
func (p *parser) twice(line, column int, what, value string, seen map[string]int) {
	if value == "" {
		return
	}
	if before, there := seen[value]; there {
		p.note(p.at(line, column, "%s %q is in line %d already", what, value, before))
		return
	}
	seen[value] = line
}
