package schema

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// inside is the form of a value that is an object, or a list or map of them.
type inside struct {
	object interface {
		define(defs map[string]any) string
		title() string
		short() Form
	}
	kind string // "": the object itself; list; map
}

func (f inside) Text() string {
	switch f.kind {
	case "list":
		return "list of [" + f.object.title() + "](#" + anchor(f.object.title()) + ")"
	case "map":
		return "map of names to [" + f.object.title() + "](#" + anchor(f.object.title()) + ")"
	}
	s := "[" + f.object.title() + "](#" + anchor(f.object.title()) + ")"
	if short := f.object.short(); short != nil {
		s = short.Text() + " or " + s
	}
	return s
}

// Nested is a key whose value is a map with a table of its own. get makes the message that the keys set, or returns the
// one that is there.
func Nested[T, U any](name, field, doc string, o *Object[U], get func(*T) *U) Key[T] {
	return Key[T]{Name: name, field: field, Doc: doc, Value: inside{object: o}, decode: func(d *Decoder, n *yaml.Node, path string, into *T) {
		o.decode(d, n, join(path, field), get(into))
	}}
}

// Both makes keys of a U into keys of a T that holds several of them: each key sets its field in all.
func Both[T, U any](keys []Key[U], fields []string, get func(*T) []*U) []Key[T] {
	all := make([]Key[T], 0, len(keys))
	for _, k := range keys {
		all = append(all, Key[T]{Name: k.Name, Doc: k.Doc, Value: k.Value, decode: func(d *Decoder, n *yaml.Node, path string, into *T) {
			for i, u := range get(into) {
				k.set(d, n, join(path, fields[i]), u)
			}
		}})
	}
	return all
}

// Tuple is a key whose value is a list of just as many texts as there are fields.
func Tuple[T any](name string, fields []string, doc, text string, set func(into *T, i int, s string) error) Key[T] {
	form := listOf{scalar{text: text, kinds: []string{"string"}}}
	return Key[T]{Name: name, Doc: doc, Value: form, decode: func(d *Decoder, n *yaml.Node, path string, into *T) {
		n = follow(n)
		if n.Kind != yaml.SequenceNode || len(n.Content) != len(fields) {
			d.refuse(n, "%s: want a list of %d", name, len(fields))
			return
		}
		for i, c := range n.Content {
			c = follow(c)
			d.mark(join(path, fields[i]), c, name)
			if c.Kind != yaml.ScalarNode {
				d.refuse(c, "%s: want text, got %s", name, describe(c))
			} else if err := set(into, i, c.Value); err != nil {
				d.refuse(c, "%s: %v", name, err)
			}
		}
	}}
}

// List is a key whose value is a list of maps with a table of their own. add appends an element and returns it.
func List[T, U any](name, field, doc string, o *Object[U], add func(*T) *U) Key[T] {
	return Key[T]{Name: name, field: field, Doc: doc, Value: inside{o, "list"}, decode: func(d *Decoder, n *yaml.Node, path string, into *T) {
		n = follow(n)
		if n.Kind != yaml.SequenceNode {
			d.refuse(n, "%s: want a list, got %s", name, describe(n))
			return
		}
		for i, c := range n.Content {
			at := index(join(path, field), i)
			d.mark(at, follow(c), "")
			o.decode(d, c, at, add(into))
		}
	}}
}

// Map is a key whose value maps names to maps with a table of their own. add appends an element with a name and returns
// it; nameField is where the element keeps its name.
func Map[T, U any](name, field, nameField, doc string, o *Object[U], add func(into *T, name string) *U) Key[T] {
	return Key[T]{Name: name, field: field, Doc: doc, Value: inside{o, "map"}, decode: func(d *Decoder, n *yaml.Node, path string, into *T) {
		n = follow(n)
		if n.Kind != yaml.MappingNode {
			d.refuse(n, "%s: want a map of names, got %s", name, describe(n))
			return
		}
		seen := map[string]int{}
		i := 0
		for _, p := range d.pairs(n) {
			if line, twice := seen[p.key.Value]; twice && !p.merged {
				d.refuse(p.key, "%s: %q is already given in line %d", name, clip(p.key.Value), line)
				continue
			}
			seen[p.key.Value] = p.key.Line
			at := index(join(path, field), i)
			i++
			element := add(into, p.key.Value)
			// "name:" with nothing behind it is an element without settings.
			if v := follow(p.value); v.Kind != yaml.ScalarNode || v.Tag != "!!null" {
				o.decode(d, v, at, element)
			}
			d.mark(at, p.key, "")
			d.mark(join(at, nameField), p.key, "")
		}
	}}
}

// PathOr is a key whose value is either the path of a file or the map that the file would hold.
func PathOr[T, U any](name, field, doc string, o *Object[U], path func(*T, string), get func(*T) *U) Key[T] {
	form := eitherPath{inside{object: o}}
	return Key[T]{Name: name, field: field, Doc: doc, Value: form, decode: func(d *Decoder, n *yaml.Node, at string, into *T) {
		if v := follow(n); v.Kind == yaml.ScalarNode && v.Tag != "!!null" {
			path(into, v.Value)
			return
		}
		o.decode(d, n, join(at, field), get(into))
	}}
}

// eitherPath is the form of a path or a map.
type eitherPath struct{ inside }

func (f eitherPath) Text() string { return "path or " + f.inside.Text() }

func (f eitherPath) json(defs map[string]any) any {
	return map[string]any{"anyOf": []any{wordForm.json(defs), f.inside.json(defs)}}
}

// Words is a key whose value maps names of the file's own to one of some words.
func Words[T any](name, field, doc string, words []string, add func(into *T, name, word string)) Key[T] {
	form := mapOf{scalar{text: "`" + strings.Join(words, "`, `") + "`", values: words}}
	return Key[T]{Name: name, field: field, Doc: doc, Value: form, decode: func(d *Decoder, n *yaml.Node, path string, into *T) {
		n = follow(n)
		if n.Kind != yaml.MappingNode {
			d.refuse(n, "%s: want a map of names, got %s", name, describe(n))
			return
		}
		seen := map[string]bool{}
		for i, p := range d.pairs(n) {
			d.mark(index(join(path, field), i), p.key, name)
			v := follow(p.value)
			switch {
			case seen[p.key.Value]:
				d.refuse(p.key, "%s: %q is given twice", name, clip(p.key.Value))
			case v.Kind != yaml.ScalarNode || !slices.Contains(words, v.Value):
				d.refuse(v, "%s: want one of %s, got %s", name, strings.Join(words, ", "), describe(v))
			default:
				add(into, p.key.Value, v.Value)
			}
			seen[p.key.Value] = true
		}
	}}
}

// mapOf is the form of a map of names to scalars.
type mapOf struct{ of scalar }

func (m mapOf) Text() string { return "map of ids to " + m.of.text }

func (m mapOf) json(defs map[string]any) any {
	return map[string]any{"type": "object", "additionalProperties": m.of.json(defs)}
}

// listOf is the form of a list of scalars.
type listOf struct{ of scalar }

func (l listOf) Text() string { return "list of " + l.of.text }

func (l listOf) json(defs map[string]any) any {
	return map[string]any{"type": "array", "items": l.of.json(defs)}
}

// Wholes is a key whose value is a list of whole numbers.
func Wholes[T any](name, field, doc string, add func(*T, uint64)) Key[T] {
	item := Whole(name, "", doc, 64, add)
	return items(name, field, doc, wholeForm, item)
}

// Texts is a key whose value is a list of texts.
func Texts[T any](name, field, doc string, add func(*T, string)) Key[T] {
	return items(name, field, doc, scalar{text: "text", kinds: []string{"string"}}, Text(name, "", doc, add))
}

func items[T any](name, field, doc string, form scalar, item Key[T]) Key[T] {
	return Key[T]{Name: name, field: field, Doc: doc, Value: listOf{form}, decode: func(d *Decoder, n *yaml.Node, path string, into *T) {
		n = follow(n)
		if n.Kind != yaml.SequenceNode {
			d.refuse(n, "%s: want a list, got %s", name, describe(n))
			return
		}
		for i, c := range n.Content {
			d.mark(index(join(path, field), i), follow(c), name)
			item.decode(d, c, path, into)
		}
	}}
}
