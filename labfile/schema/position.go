// Package schema reads YAML files by tables of keys. A table says which keys a value may have, what each means, in which
// unit it is written and which field of a proto message it sets; from the same table come the decoder, its errors with
// file:line:column, the JSON schema for editors and the key tables of the documentation.
package schema

import (
	"fmt"
	"strings"
)

// Position is a place in a file. Line and Column count from 1; 0 means the whole file.
type Position struct {
	File         string
	Line, Column int
}

func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Error is one thing wrong with a file.
type Error struct {
	Position   Position
	Message    string
	Suggestion string // what was probably meant; empty if nothing comes near
}

func (e *Error) Error() string {
	s := e.Position.String() + ": " + e.Message
	if e.Suggestion != "" {
		s += "; did you mean " + quote(e.Suggestion) + "?"
	}
	return s
}

// MaxErrors is how many errors of a file are told: more are the consequence of the first, or of a wrong file.
const MaxErrors = 20

// Errors is all that is wrong with a file, in the order of the file, at most MaxErrors of it.
type Errors struct {
	List []*Error
	More bool // there are more than are listed
}

func (e *Errors) Error() string {
	lines := make([]string, 0, len(e.List)+1)
	for _, one := range e.List {
		lines = append(lines, one.Error())
	}
	if e.More {
		lines = append(lines, fmt.Sprintf("... and more: only the first %d are listed", MaxErrors))
	}
	return strings.Join(lines, "\n")
}
