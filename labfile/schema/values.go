package schema

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"labd.dev/internal/validate"
)

// scalar is the form of a value that is one word.
type scalar struct {
	text    string
	pattern string   // JSON schema pattern of a string; empty: any
	kinds   []string // JSON types
	values  []string // JSON enum
}

func (s scalar) Text() string { return s.text }

func (s scalar) json(map[string]any) any {
	m := map[string]any{}
	switch {
	case s.values != nil:
		m["enum"] = s.values
	case len(s.kinds) == 1:
		m["type"] = s.kinds[0]
	default:
		m["type"] = s.kinds
	}
	if s.pattern != "" {
		m["pattern"] = s.pattern
	}
	return m
}

const number = `^-?[0-9]*\.?[0-9]+ ?`

func quantity(text string, units []unit) scalar {
	names := make([]string, len(units))
	for i, u := range units {
		names[i] = u.name
	}
	return scalar{text: text, kinds: []string{"string"}, pattern: number + "(" + strings.Join(names, "|") + ")$"}
}

var (
	durationForm = quantity("duration: `10ms`", durationUnits)
	rateForm     = quantity("rate: `10mbit`", rateUnits)
	sizeForm     = quantity("size: `64KiB`", sizeUnits)
	limitForm    = quantity("packets or size: `100p`, `64KiB`", append(packetUnits[:1:1], sizeUnits...))
	packetsForm  = quantity("packets: `100p`", packetUnits)
	chanceForm   = scalar{text: "chance: `1%`", kinds: []string{"string"}, pattern: number + "%$"}
	switchForm   = scalar{text: "`on` or `off`", values: []string{"on", "off"}}
	wholeForm    = scalar{text: "whole number", kinds: []string{"integer"}}
	realForm     = scalar{text: "number", kinds: []string{"number"}}
	wordForm     = scalar{text: "text", kinds: []string{"string"}}
	valueForm    = scalar{text: "number or text", kinds: []string{"integer", "string"}}
)

// word makes a key whose value is one scalar; read turns its text into the field or tells what is wrong with it.
func word[T any](name, field, doc string, form Form, read func(d *Decoder, n *yaml.Node, path string, into *T) error) Key[T] {
	return Key[T]{Name: name, field: field, Doc: doc, Value: form, decode: func(d *Decoder, n *yaml.Node, path string, into *T) {
		n = follow(n)
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
			d.refuse(n, "%s: want a %s, got %s", name, plain(form), describe(n))
			return
		}
		if err := read(d, n, path, into); err != nil {
			d.refuse(n, "%s: %v", name, err)
		}
	}}
}

func plain(f Form) string { return strings.ReplaceAll(f.Text(), "`", "") }

func parsed[T, V any](name, field, doc string, form Form, parse func(string) (V, error), set func(*T, V)) Key[T] {
	return word(name, field, doc, form, func(_ *Decoder, n *yaml.Node, _ string, into *T) error {
		v, err := parse(n.Value)
		if err == nil {
			set(into, v)
		}
		return err
	})
}

// Duration is a key whose value is a duration, in ns.
func Duration[T any](name, field, doc string, set func(*T, int64)) Key[T] {
	return parsed(name, field, doc, durationForm, ParseDuration, set)
}

// Rate is a key whose value is a rate, in bits a second.
func Rate[T any](name, field, doc string, set func(*T, uint64)) Key[T] {
	return parsed(name, field, doc, rateForm, ParseRate, set)
}

// Size is a key whose value is a number of bytes.
func Size[T any](name, field, doc string, set func(*T, uint64)) Key[T] {
	return parsed(name, field, doc, sizeForm, ParseSize, set)
}

// Packets is a key whose value is a number of packets.
func Packets[T any](name, field, doc string, set func(*T, uint64)) Key[T] {
	return parsed(name, field, doc, packetsForm, ParsePackets, set)
}

// Chance is a key whose value is a chance, as a fraction of 1.
func Chance[T any](name, field, doc string, set func(*T, float64)) Key[T] {
	return parsed(name, field, doc, chanceForm, ParseChance, set)
}

// Limit is a key whose value is a number of packets or of bytes.
func Limit[T any](name, field, doc string, set func(v *T, packets, bytes uint64)) Key[T] {
	return word(name, field, doc, limitForm, func(_ *Decoder, n *yaml.Node, _ string, into *T) error {
		packets, bytes, err := ParseLimit(n.Value)
		if err == nil {
			set(into, packets, bytes)
		}
		return err
	})
}

// ParseLimit reads "100p" as packets or "64KiB" as bytes; the other result is 0. A limit of 0 is refused: to the API it
// means the default, to a person no queue.
func ParseLimit(s string) (packets, bytes uint64, err error) {
	if strings.HasSuffix(s, "p") {
		packets, err = ParsePackets(s)
	} else {
		n, failed := parseQuantity(s, "limit", "100p or 64KiB", append(packetUnits[:1:1], sizeUnits...))
		bytes, err = unsigned(n, failed)
	}
	if err == nil && packets == 0 && bytes == 0 {
		err = fmt.Errorf("%s is no limit; the least is 1p or 1B", clip(s))
	}
	return packets, bytes, err
}

type refusal string

func (r refusal) Error() string { return string(r) }

// Switch is a key that is on or off.
func Switch[T any](name, field, doc string, set func(*T, bool)) Key[T] {
	return parsed(name, field, doc, switchForm, func(s string) (bool, error) {
		switch strings.ToLower(s) {
		case "on", "true", "yes":
			return true, nil
		case "off", "false", "no":
			return false, nil
		}
		return false, refusal("want on or off, got " + quote(clip(s)))
	}, set)
}

// Whole is a key whose value is a whole number that fits into bits.
func Whole[T any](name, field, doc string, bits int, set func(*T, uint64)) Key[T] {
	return parsed(name, field, doc, wholeForm, func(s string) (uint64, error) {
		n, err := strconv.ParseUint(s, 10, bits)
		if err != nil {
			largest := uint64(1)<<(bits-1)<<1 - 1
			return 0, refusal("want a whole number from 0 to " + strconv.FormatUint(largest, 10) + ", got " + quote(clip(s)))
		}
		return n, nil
	}, set)
}

// Real is a key whose value is a number.
func Real[T any](name, field, doc string, set func(*T, float64)) Key[T] {
	return parsed(name, field, doc, realForm, func(s string) (float64, error) {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return 0, refusal("want a number, got " + quote(clip(s)))
		}
		return f, nil
	}, set)
}

// Text is a key whose value is text.
func Text[T any](name, field, doc string, set func(*T, string)) Key[T] {
	return parsed(name, field, doc, wordForm, func(s string) (string, error) { return s, nil }, set)
}

// Value is a key whose value is a text that may look like a number.
func Value[T any](name, field, doc string, set func(*T, string)) Key[T] {
	return parsed(name, field, doc, valueForm, func(s string) (string, error) { return s, nil }, set)
}

// Enum is a key whose value is one of some words, in the order of values.
func Enum[T, V any](name, field, doc string, words []string, values []V, set func(*T, V)) Key[T] {
	form := scalar{text: "`" + strings.Join(words, "`, `") + "`", values: words}
	return word(name, field, doc, form, func(d *Decoder, n *yaml.Node, _ string, into *T) error {
		for i, w := range words {
			if w == n.Value {
				set(into, values[i])
				return nil
			}
		}
		near := validate.Nearest(n.Value, words)
		if near == "" {
			return refusal("want one of " + strings.Join(words, ", ") + ", got " + quote(clip(n.Value)))
		}
		d.suggest(n, near, "%s: unknown value %q", name, clip(n.Value))
		return nil
	})
}

// FileOf is a key whose value is the path of a file to upload.
func FileOf[T any](name, field, doc string, set func(*T, File)) Key[T] {
	form := scalar{text: "path, relative to this file", kinds: []string{"string"}}
	return word(name, field, doc, form, func(d *Decoder, n *yaml.Node, _ string, into *T) error {
		f, err := d.Files.Add(n.Value)
		if err == nil {
			set(into, f)
		}
		return err
	})
}

// DirectoryOf is a key whose value is the path of a directory whose files are uploaded.
func DirectoryOf[T any](name, field, doc string, set func(*T, []File)) Key[T] {
	form := scalar{text: "directory, relative to this file", kinds: []string{"string"}}
	return word(name, field, doc, form, func(d *Decoder, n *yaml.Node, _ string, into *T) error {
		files, err := d.Files.AddDirectory(n.Value)
		if err == nil {
			set(into, files)
		}
		return err
	})
}
