package schema

import (
	"encoding/json"
	"fmt"
	"sort"
	"strings"
)

func (o *Object[T]) title() string { return o.Name }

func (o *Object[T]) short() Form {
	if o.Short == nil {
		return nil
	}
	return o.Short.Value
}

func (f inside) json(defs map[string]any) any {
	ref := map[string]any{"$ref": "#/$defs/" + f.object.define(defs)}
	switch f.kind {
	case "list":
		return map[string]any{"type": "array", "items": ref}
	case "map":
		return map[string]any{"type": "object", "additionalProperties": map[string]any{"anyOf": []any{ref, map[string]any{"type": "null"}}}}
	}
	if short := f.object.short(); short != nil {
		return map[string]any{"anyOf": []any{short.json(defs), ref}}
	}
	return ref
}

// define puts the object's JSON schema into defs and returns its name there.
func (o *Object[T]) define(defs map[string]any) string {
	name := strings.ReplaceAll(o.Name, " ", "-")
	if defs[name] != nil {
		return name
	}
	properties := map[string]any{}
	defs[name] = properties // keeps a table that holds itself from being walked for ever
	var required []string
	for _, k := range o.Keys {
		s := k.Value.json(defs)
		if m, ok := s.(map[string]any); ok {
			m["description"] = strings.ReplaceAll(k.Doc, "`", "")
		}
		properties[k.Name] = s
		if k.Required {
			required = append(required, k.Name)
		}
	}
	s := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if o.Doc != "" {
		s["description"] = strings.ReplaceAll(o.Doc, "`", "")
	}
	if required != nil {
		s["required"] = required
	}
	defs[name] = s
	return name
}

// JSONSchema is the JSON schema (2020-12) of files of an object, for editors.
func JSONSchema[T any](o *Object[T], title string) []byte {
	defs := map[string]any{}
	name := o.define(defs)
	b, err := json.MarshalIndent(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   title,
		"$ref":    "#/$defs/" + name,
		"$defs":   defs,
	}, "", "  ")
	if err != nil {
		panic("schema: a table cannot be written as JSON: " + err.Error())
	}
	return append(b, '\n')
}

// table is what the documentation shows of an object.
type table interface {
	title() string
	markdown(b *strings.Builder)
	inner() []table
}

func (o *Object[T]) inner() []table {
	var all []table
	for _, k := range o.Keys {
		switch f := k.Value.(type) {
		case inside:
			all = append(all, f.object.(table))
		case eitherPath:
			all = append(all, f.object.(table))
		}
	}
	return all
}

func (o *Object[T]) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "### %s\n\n", o.Name)
	if o.Doc != "" {
		fmt.Fprintf(b, "%s\n\n", o.Doc)
	}
	b.WriteString("| key | value | meaning |\n| --- | --- | --- |\n")
	for _, k := range o.Keys {
		doc := k.Doc
		if k.Required {
			doc = "**Required.** " + doc
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", k.Name, k.Value.Text(), doc)
	}
	b.WriteString("\n")
}

// Markdown is the documentation of all keys of an object and of what lies in it, a table each. Objects of the names in
// elsewhere are documented on another page.
func Markdown[T any](o *Object[T], elsewhere ...string) string {
	var b strings.Builder
	done := map[string]bool{}
	for _, name := range elsewhere {
		done[name] = true
	}
	queue := []table{o}
	for len(queue) > 0 {
		t := queue[0]
		queue = queue[1:]
		if done[t.title()] {
			continue
		}
		done[t.title()] = true
		t.markdown(&b)
		queue = append(queue, t.inner()...)
	}
	return b.String()
}

// Titles are the names of an object and of all that lie in it, sorted.
func Titles[T any](o *Object[T]) []string {
	done := map[string]bool{}
	var names []string
	queue := []table{o}
	for len(queue) > 0 {
		t := queue[0]
		queue = queue[1:]
		if !done[t.title()] {
			done[t.title()] = true
			names = append(names, t.title())
			queue = append(queue, t.inner()...)
		}
	}
	sort.Strings(names)
	return names
}

func anchor(title string) string { return strings.ReplaceAll(strings.ToLower(title), " ", "-") }
