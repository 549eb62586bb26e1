package trace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"
)

// Event is the canonical form of what happened: a record, expanded, with names for ids and units in field names.
type Event struct {
	Node string // empty: the lab itself
	TNs  int64
	// ESeq counts the events of a node. The up to three events that one link record expands into share its number.
	ESeq  uint64
	Conn  string // "client/3"; empty: none
	Side  string // initiator | responder; empty: no end of a connection
	Cause uint64 // eseq of the event at the same node that led to this one; 0: none
	Name  string // "tcp:segment_sent"
	Data  []Field

	order uint32 // node id, for the total order
}

// Field is one named value of an event's data, in the order of the event's definition.
type Field struct {
	Name  string
	Value any // string, bool, int64, uint64, float64, []string, JSON or []Field
}

// Get finds a field of the data; nested ones by "cc.w_max".
func (e *Event) Get(name string) (any, bool) { return getField(e.Data, name) }

func getField(fields []Field, name string) (any, bool) {
	for _, f := range fields {
		if f.Name == name {
			return f.Value, true
		}
		if sub, ok := f.Value.([]Field); ok && len(name) > len(f.Name) && name[:len(f.Name)] == f.Name && name[len(f.Name)] == '.' {
			return getField(sub, name[len(f.Name)+1:])
		}
	}
	return nil, false
}

// MarshalJSON writes the event with its fields in their one order.
func (e Event) MarshalJSON() ([]byte, error) { return e.appendJSON(nil), nil }

func (e *Event) appendJSON(b []byte) []byte {
	b = append(b, `{"node":`...)
	b = appendOptional(b, e.Node)
	b = append(b, `,"t_ns":`...)
	b = strconv.AppendInt(b, e.TNs, 10)
	b = append(b, `,"eseq":`...)
	b = strconv.AppendUint(b, e.ESeq, 10)
	b = append(b, `,"conn":`...)
	b = appendOptional(b, e.Conn)
	b = append(b, `,"side":`...)
	b = appendOptional(b, e.Side)
	b = append(b, `,"cause":`...)
	if e.Cause == 0 {
		b = append(b, "null"...)
	} else {
		b = strconv.AppendUint(b, e.Cause, 10)
	}
	b = append(b, `,"name":`...)
	b = appendString(b, e.Name)
	b = append(b, `,"data":`...)
	b = appendFields(b, e.Data)
	return append(b, '}')
}

// appendOptional writes null for what is not there.
func appendOptional(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

func appendFields(b []byte, fields []Field) []byte {
	b = append(b, '{')
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, f.Name)
		b = append(b, ':')
		b = appendValue(b, f.Value)
	}
	return append(b, '}')
}

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case []Field:
		return appendFields(b, v)
	case []string:
		b = append(b, '[')
		for i, s := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendString(b, s)
		}
		return append(b, ']')
	case string:
		return appendString(b, v)
	case JSON:
		return append(b, v...)
	}
	return append(b, scalar(v)...)
}

// scalar prints a bool or a number, the same in JSON and in CSV. A float that is no number has no JSON form: null.
func scalar(v any) string {
	switch v := v.(type) {
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case uint64:
		return strconv.FormatUint(v, 10)
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "null"
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	}
	panic(fmt.Sprintf("trace: event field of type %T", v))
}

const hexDigits = "0123456789abcdef"

// appendString writes a JSON string; names and states need no escape but a hostile lab's names might.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20:
			b = append(b, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// UnmarshalJSON reads an exported line back; numbers become int64, uint64 or float64.
func (e *Event) UnmarshalJSON(b []byte) error {
	var wire struct {
		Node  string          `json:"node"`
		TNs   int64           `json:"t_ns"`
		ESeq  uint64          `json:"eseq"`
		Conn  string          `json:"conn"`
		Side  string          `json:"side"`
		Cause uint64          `json:"cause"`
		Name  string          `json:"name"`
		Data  json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(b, &wire); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	*e = Event{Node: wire.Node, TNs: wire.TNs, ESeq: wire.ESeq, Conn: wire.Conn, Side: wire.Side, Cause: wire.Cause, Name: wire.Name}
	if len(wire.Data) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(wire.Data))
	d.UseNumber()
	fields, err := readObject(d)
	if err != nil {
		return fmt.Errorf("event %s: data: %w", e.Name, err)
	}
	e.Data = fields
	return nil
}

// readObject keeps the order of an object's fields, which a Go map would lose.
func readObject(d *json.Decoder) ([]Field, error) {
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("not an object")
	}
	return readFields(d)
}

func readFields(d *json.Decoder) ([]Field, error) {
	var fields []Field
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := readValue(d)
		if err != nil {
			return nil, err
		}
		fields = append(fields, Field{key.(string), v})
	}
	_, err := d.Token() // the closing brace
	return fields, err
}

func readValue(d *json.Decoder) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return readFields(d)
		}
		return readList(d)
	case json.Number:
		if i, err := t.Int64(); err == nil {
			return i, nil
		}
		if u, err := strconv.ParseUint(t.String(), 10, 64); err == nil {
			return u, nil
		}
		return t.Float64()
	default:
		return t, nil
	}
}

// readList reads a list of strings; one that holds anything else stays JSON.
func readList(d *json.Decoder) (any, error) {
	list, raw, strings := []string{}, []byte{'['}, true
	for d.More() {
		var item json.RawMessage
		if err := d.Decode(&item); err != nil {
			return nil, err
		}
		var s string
		strings = strings && json.Unmarshal(item, &s) == nil
		list = append(list, s)
		if len(raw) > 1 {
			raw = append(raw, ',')
		}
		raw = append(raw, item...)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if strings {
		return list, nil
	}
	return JSON(append(raw, ']')), nil
}

// WriteJSONL writes an event a line.
func WriteJSONL(w io.Writer, events []Event) error {
	var b []byte
	for i := range events {
		b = append(events[i].appendJSON(b[:0]), '\n')
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}
