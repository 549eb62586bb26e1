package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Decoder decodes one file and remembers where each proto field was written.
type Decoder struct {
	// Files are those that the file names, to be uploaded.
	Files Files

	file   string
	root   *yaml.Node
	places map[string]Place
	errs   []*Error
	told   map[Error]bool
}

// NewDecoder parses a file's bytes; files that it names are looked up relative to dir.
func NewDecoder(file, dir string, src []byte) (*Decoder, error) {
	root, err := parse(file, src)
	if err != nil {
		return nil, err
	}
	return &Decoder{
		Files: Files{dir: dir, byHash: map[string]string{}}, file: file, root: root,
		places: map[string]Place{}, told: map[Error]bool{},
	}, nil
}

// Decode reads the whole file into v by its table.
func Decode[T any](d *Decoder, o *Object[T], v *T) { o.decode(d, d.root, "", v) }

// OfKind refuses a file of another kind, which one of its top keys gives away, by an error that says what to do with it: all that
// its other keys are told to be would only be noise. Nil: the key is not there.
func (d *Decoder) OfKind(key, message string) error {
	for i := 0; d.root.Kind == yaml.MappingNode && i+1 < len(d.root.Content); i += 2 {
		if k := d.root.Content[i]; k.Value == key {
			return &Error{Position: d.at(k), Message: message}
		}
	}
	return nil
}

// Place is where a field was written and the key it was written under.
type Place struct {
	Position
	Key string // empty for an element of a list or a map
}

// Written reports where the field at a path was written, if it was.
func (d *Decoder) Written(path string) (Place, bool) {
	p, ok := d.places[path]
	return p, ok
}

// Place finds where the field at a path was written. A field that is not there is looked for where the message around it
// was written, at last at the file's top.
func (d *Decoder) Place(path string) Place {
	for {
		if p, ok := d.places[path]; ok {
			return p
		}
		i := len(path) - 1
		for i > 0 && path[i] != '.' && path[i] != '[' {
			i--
		}
		if i <= 0 {
			return Place{Position: d.at(d.root)}
		}
		path = path[:i]
	}
}

// Refuse notes an error at a place.
func (d *Decoder) Refuse(at Place, message, suggestion string) {
	if at.Key != "" {
		message = at.Key + ": " + message
	}
	d.note(&Error{Position: at.Position, Message: message, Suggestion: suggestion})
}

// Err is all that was found wrong, nil if nothing was.
func (d *Decoder) Err() error {
	if len(d.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(d.errs, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Position.Line, b.Position.Line), cmp.Compare(a.Position.Column, b.Position.Column))
	})
	return &Errors{List: d.errs[:min(len(d.errs), MaxErrors)], More: len(d.errs) > MaxErrors}
}

// maxNoted bounds the errors that are kept to be sorted.
const maxNoted = 1000

// note keeps an error once: defaults are decoded once for each node and link that they apply to.
func (d *Decoder) note(e *Error) {
	if d.told[*e] || len(d.errs) >= maxNoted {
		return
	}
	d.told[*e] = true
	d.errs = append(d.errs, e)
}

func (d *Decoder) refuse(n *yaml.Node, format string, args ...any) {
	d.suggest(n, "", format, args...)
}

func (d *Decoder) suggest(n *yaml.Node, suggestion, format string, args ...any) {
	d.note(&Error{Position: d.at(n), Message: fmt.Sprintf(format, args...), Suggestion: suggestion})
}

func (d *Decoder) at(n *yaml.Node) Position { return Position{d.file, n.Line, n.Column} }

// mark remembers where the field at path was written, and under which key.
func (d *Decoder) mark(path string, n *yaml.Node, key string) {
	if path != "" {
		d.places[path] = Place{d.at(n), key}
	}
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func join(path, field string) string {
	switch {
	case path == "":
		return field
	case field == "":
		return path
	}
	return path + "." + field
}

// follow replaces an alias by what it stands for; the tree was found to be bounded when it was parsed.
func follow(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// describe names what was found where something else was wanted.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	return fmt.Sprintf("%q", clip(n.Value))
}
