// Package journal keeps the inputs of a lab: one line of JSON an entry, in an encoding of our own that is the same on
// every machine and in every version, so that journals can be compared byte for byte.
package journal

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	labv1 "labd.dev/proto/lab/v1"
)

// MaxLine bounds one entry's line, bytes: an apply of a lab of 10,000 nodes and links fits.
const MaxLine = 16 << 20

// Encode is the entry's line without its newline: fields in the order of their numbers under their proto names, those
// that are not set left out, no white space, 64-bit integers as strings (JSON's numbers are doubles).
func Encode(e *labv1.JournalEntry) []byte { return appendMessage(nil, e.ProtoReflect()) }

// EncodeInput is the canonical form of an input alone, for comparing two.
func EncodeInput(in *labv1.Input) []byte { return appendMessage(nil, in.ProtoReflect()) }

// Decode reads a line that Encode has made. Unknown fields are errors.
func Decode(line []byte) (*labv1.JournalEntry, error) {
	if len(line) > MaxLine {
		return nil, fmt.Errorf("journal: entry of %d bytes, more than %d", len(line), MaxLine)
	}
	e := new(labv1.JournalEntry)
	if err := protojson.Unmarshal(line, e); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if e.Index == 0 || e.TNs < 0 || e.Input.GetKind() == nil {
		return nil, fmt.Errorf("journal: entry without index, time or input")
	}
	return e, nil
}

func appendMessage(b []byte, m protoreflect.Message) []byte {
	var set []protoreflect.FieldDescriptor
	m.Range(func(fd protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		set = append(set, fd)
		return true
	})
	slices.SortFunc(set, func(x, y protoreflect.FieldDescriptor) int { return int(x.Number()) - int(y.Number()) })
	b = append(b, '{')
	for i, fd := range set {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, string(fd.Name()))
		b = append(b, ':')
		b = appendField(b, fd, m.Get(fd))
	}
	return append(b, '}')
}

func appendField(b []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	if fd.IsMap() {
		panic("journal: " + string(fd.FullName()) + " is a map: give maps an order before they enter a journal")
	}
	if !fd.IsList() {
		return appendValue(b, fd, v)
	}
	b = append(b, '[')
	for i := range v.List().Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendValue(b, fd, v.List().Get(i))
	}
	return append(b, ']')
}

func appendValue(b []byte, fd protoreflect.FieldDescriptor, v protoreflect.Value) []byte {
	switch fd.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return appendMessage(b, v.Message())
	case protoreflect.BoolKind:
		return strconv.AppendBool(b, v.Bool())
	case protoreflect.EnumKind:
		if d := fd.Enum().Values().ByNumber(v.Enum()); d != nil {
			return appendString(b, string(d.Name()))
		}
		return strconv.AppendInt(b, int64(v.Enum()), 10)
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return strconv.AppendInt(b, v.Int(), 10)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return strconv.AppendUint(b, v.Uint(), 10)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return append(strconv.AppendInt(append(b, '"'), v.Int(), 10), '"')
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return append(strconv.AppendUint(append(b, '"'), v.Uint(), 10), '"')
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return appendFloat(b, v.Float())
	case protoreflect.BytesKind:
		return appendString(b, base64.StdEncoding.EncodeToString(v.Bytes()))
	default:
		return appendString(b, v.String())
	}
}

// appendFloat writes the shortest digits that give the same double back; JSON has no infinities, so those are strings.
func appendFloat(b []byte, f float64) []byte {
	switch s := strconv.FormatFloat(f, 'g', -1, 64); s {
	case "NaN":
		return append(b, `"NaN"`...)
	case "+Inf":
		return append(b, `"Infinity"`...)
	case "-Inf":
		return append(b, `"-Infinity"`...)
	default:
		return append(b, s...)
	}
}

// appendString quotes s. Only what JSON demands is escaped; bytes that are not UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20 || r == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
