package trace

import (
	"labd.dev/journal"
	"labd.dev/node"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// JSON is a value that is JSON already: a message of the API under its field names.
type JSON string

// labEvent expands what a lab says of itself: inputs, faults, boots. Those of the lab as a whole have no node.
func (x *expander) labEvent(r *sim.Record, e *Event) {
	l, ok := node.DecodeRecord(r)
	if !ok {
		return
	}
	e.Name = l.Name
	in := x.names.Inputs[l.Index]
	switch r.Kind {
	case node.KindInput:
		e.Data = InputData(num(l.Index), in)
	case node.KindFaultStarted:
		e.Data = append(x.changed(&l), spec(in)...)
	case node.KindFaultEnded:
		e.Data = append(x.changed(&l), Field{"cleared", l.Cleared})
	case node.KindLinkSet:
		e.Data = append(x.changed(&l), spec(in)...)
	case node.KindLinkReverted:
		e.Data = x.changed(&l)
	default:
		e.Data = []Field{{"boots", num(l.Boots)}}
	}
}

// InputData is what an event of an input tells: its place in the journal, what it was where the journal is at hand, who gave it
// where that is known, and all of it.
func InputData(index uint64, in *labv1.Input, who ...Field) []Field {
	data := []Field{{"index", index}}
	if kind := kindOf(in); kind != "" {
		data = append(data, Field{"kind", kind})
	}
	data = append(data, who...)
	return append(data, spec(in)...)
}

// changed names the input that changed something and what it changed; a node's fault is of the event's node.
func (x *expander) changed(l *node.Event) []Field {
	f := append([]Field{{"input", num(l.Index)}}, x.faultID(l.Index)...)
	if l.Direction != 0 {
		f = append(f, Field{"link", x.names.Link(uint32(l.Direction))}, Field{"dir", x.names.Direction(uint32(l.Direction))})
	}
	return f
}

// kindOf is the name of the API's field that an input is in; empty where the journal is not at hand.
func kindOf(in *labv1.Input) string {
	if in.GetKind() == nil {
		return ""
	}
	m := in.ProtoReflect()
	return string(m.WhichOneof(m.Descriptor().Oneofs().ByName("kind")).Name())
}

// spec is all of an input, as the journal has it.
func spec(in *labv1.Input) []Field {
	if in.GetKind() == nil {
		return nil
	}
	return []Field{{"spec", JSON(journal.EncodeInput(in))}}
}

// faultID is the name of the fault that an input began.
func (x *expander) faultID(input uint32) []Field {
	if f := x.names.Inputs[input].GetFault(); f != nil {
		return []Field{{"fault_id", f.Id}}
	}
	return nil
}
