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
	switch {
	case r.Kind == node.KindInput:
		e.Data = append([]Field{{"index", num(l.Index)}}, inputFields(x.names.Inputs[l.Index])...)
	case l.Index != 0:
		e.Data = append([]Field{{"input", num(l.Index)}}, x.faultID(l.Index)...)
		if l.Direction != 0 {
			e.Data = append(e.Data, Field{"link", x.names.Link(uint32(l.Direction))}, Field{"dir", x.names.Direction(uint32(l.Direction))})
		}
		if r.Kind == node.KindFaultEnded {
			e.Data = append(e.Data, Field{"cleared", l.Cleared})
		} else if f := x.names.Inputs[l.Index].GetFault(); f != nil {
			e.Data = append(e.Data, Field{"spec", JSON(journal.EncodeInput(&labv1.Input{Kind: &labv1.Input_Fault{Fault: f}}))})
		}
	default:
		e.Data = []Field{{"boots", num(l.Boots)}}
	}
}

// inputFields say of an input what the journal holds: which kind it is, and all of it.
func inputFields(in *labv1.Input) []Field {
	m := in.ProtoReflect()
	if in == nil {
		return nil
	}
	kind := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind"))
	if kind == nil {
		return nil
	}
	return []Field{{"kind", string(kind.Name())}, {"spec", JSON(journal.EncodeInput(in))}}
}

// faultID is the name of the fault that an input began.
func (x *expander) faultID(input uint32) []Field {
	if f := x.names.Inputs[input].GetFault(); f != nil {
		return []Field{{"fault_id", f.Id}}
	}
	return nil
}
