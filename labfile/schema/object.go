package schema

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"labd.dev/internal/validate"
)

// Object is the table of a map's keys. Decoding sets fields of a T.
type Object[T any] struct {
	Name string // in the JSON schema and in the documentation
	Doc  string
	Keys []Key[T]
	// Short, if set, is how the value may be written without a map: "loss: 1%".
	Short *Key[T]
	// Choices are sets of keys of which at most one set may be used; with MustChoose one must be.
	Choices    [][]string
	MustChoose bool
}

// Key is one key of a map.
type Key[T any] struct {
	Name     string
	Doc      string
	Required bool
	Value    Form
	decode   func(d *Decoder, n *yaml.Node, path string, into *T)
	field    string // proto field that the key sets, relative to the object's path
}

// Must says that the key may not be left out.
func (k Key[T]) Must() Key[T] {
	k.Required = true
	return k
}

// Form is how a key's value is written.
type Form interface {
	// Text says it in a few words, for the documentation.
	Text() string
	// json is its JSON schema; objects are put into defs by name.
	json(defs map[string]any) any
}

func (o *Object[T]) decode(d *Decoder, n *yaml.Node, path string, into *T) {
	n = follow(n)
	if n.Kind != yaml.MappingNode {
		if o.Short != nil && n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
			d.mark(join(path, o.Short.field), n, o.Name)
			o.Short.decode(d, n, path, into)
			return
		}
		d.refuse(n, "%s: want %s, got %s", o.Name, o.wanted(), describe(n))
		return
	}
	seen := map[string]*yaml.Node{}
	pairs := d.pairs(n)
	// In the table's order, not the file's: defaults come before what they apply to.
	slices.SortStableFunc(pairs, func(a, b pair) int { return o.place(a) - o.place(b) })
	for _, p := range pairs {
		if first := seen[p.key.Value]; first != nil && !p.merged {
			d.refuse(p.key, "%q is already given in line %d", p.key.Value, first.Line)
			continue
		}
		if !p.merged {
			seen[p.key.Value] = p.key
		}
		o.decodeKey(d, p, path, into)
	}
	o.complete(d, n, seen)
}

func (o *Object[T]) wanted() string {
	if o.Short != nil {
		return o.Short.Value.Text() + " or a map"
	}
	return "a map"
}

func (o *Object[T]) decodeKey(d *Decoder, p pair, path string, into *T) {
	if i := o.place(p); i < len(o.Keys) {
		o.Keys[i].set(d, p.value, path, into)
		return
	}
	names := o.names()
	near := validate.Nearest(p.key.Value, names)
	if near == "" {
		d.refuse(p.key, "unknown key %q in %s; its keys are %s", clip(p.key.Value), o.Name, strings.Join(names, ", "))
		return
	}
	d.suggest(p.key, near, "unknown key %q in %s", clip(p.key.Value), o.Name)
}

// place is where in the table a key stands; unknown keys stand last.
func (o *Object[T]) place(p pair) int {
	for i := range o.Keys {
		if o.Keys[i].Name == p.key.Value {
			return i
		}
	}
	return len(o.Keys)
}

func quote(s string) string { return `"` + s + `"` }

func (o *Object[T]) names() []string {
	names := make([]string, len(o.Keys))
	for i, k := range o.Keys {
		names[i] = k.Name
	}
	return names
}

func (k *Key[T]) set(d *Decoder, n *yaml.Node, path string, into *T) {
	if k.field != "" {
		d.mark(join(path, k.field), follow(n), k.Name)
	}
	k.decode(d, n, path, into)
}

// complete checks what only the whole map shows: keys that are missing and keys that exclude each other.
func (o *Object[T]) complete(d *Decoder, n *yaml.Node, seen map[string]*yaml.Node) {
	for _, k := range o.Keys {
		if k.Required && seen[k.Name] == nil {
			d.refuse(n, "%s: %q is missing", o.Name, k.Name)
		}
	}
	chosen, by := -1, ""
	for _, k := range o.Keys {
		key := seen[k.Name]
		if key == nil {
			continue
		}
		c := slices.IndexFunc(o.Choices, func(set []string) bool { return slices.Contains(set, k.Name) })
		if c < 0 {
			continue
		}
		if chosen >= 0 && c != chosen {
			d.refuse(key, "%s: %q and %q exclude each other", o.Name, by, k.Name)
		}
		chosen, by = c, k.Name
	}
	if chosen < 0 && o.MustChoose {
		var all []string
		for _, set := range o.Choices {
			all = append(all, set...)
		}
		d.refuse(n, "%s: one of %s is missing", o.Name, strings.Join(all, ", "))
	}
}

// pair is a key with its value; merged if it came in by "<<".
type pair struct {
	key, value *yaml.Node
	merged     bool
}

// pairs lists a map's keys and values; what "<<" merges comes first, so that the map's own keys override it.
func (d *Decoder) pairs(n *yaml.Node) []pair {
	var own, merged []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := follow(n.Content[i]), n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			d.refuse(key, "a key is %s; a word is wanted", describe(key))
		case key.Tag == "!!merge":
			from := follow(value)
			if from.Kind != yaml.MappingNode {
				d.refuse(from, "<<: want a map, got %s", describe(from))
				continue
			}
			for _, p := range d.pairs(from) {
				p.merged = true
				merged = append(merged, p)
			}
		default:
			own = append(own, pair{key: key, value: value})
		}
	}
	return append(merged, own...)
}
