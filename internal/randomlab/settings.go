package randomlab

import (
	"slices"

	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// layer is what an input lays over the settings of a direction, until it ends.
type layer struct {
	input int64
	fault *labv1.Fault
	set   *labv1.LinkSet
}

// strike brings the settings up to date with a fault or a change of settings that begins or ends.
func (d *direction) strike(lab *Lab, e *trace.Event) {
	id := num(e, "input")
	in := lab.input(id)
	switch e.Name {
	case "lab:fault_started":
		d.faults = append(d.faults, layer{input: id, fault: in.GetFault()})
	case "lab:link_set":
		d.sets = append(d.sets, layer{input: id, set: in.GetLinkSet()})
	default:
		of := func(l layer) bool { return l.input == id }
		d.faults, d.sets = slices.DeleteFunc(d.faults, of), slices.DeleteFunc(d.sets, of)
	}
	d.turn(e.TNs)
}

// turn makes the settings what the layers say: changes of settings over the specification, faults over both.
func (d *direction) turn(t int64) {
	d.turns = append(d.turns, t)
	d.spec = proto.Clone(d.base).(*labv1.DirectionSpec)
	for _, l := range d.sets {
		patch(d.spec, l.set.Patch)
	}
	for _, l := range d.faults {
		afflict(d.spec, l.fault)
	}
}

func afflict(s *labv1.DirectionSpec, f *labv1.Fault) {
	switch x := f.Effect.(type) {
	case *labv1.Fault_Down:
		s.Down = true
	case *labv1.Fault_Loss:
		s.Loss = x.Loss
	case *labv1.Fault_DelayNs:
		s.DelayNs = x.DelayNs
	case *labv1.Fault_Jitter:
		s.Jitter = x.Jitter
	case *labv1.Fault_RateBps:
		s.RateBps = x.RateBps
	case *labv1.Fault_Duplicate:
		s.Duplicate = x.Duplicate
	case *labv1.Fault_Corrupt:
		s.Corrupt = x.Corrupt
	case *labv1.Fault_MtuBytes:
		s.MtuBytes = x.MtuBytes
	case *labv1.Fault_Queue:
		s.Queue = x.Queue
	}
}

func patch(s *labv1.DirectionSpec, p *labv1.DirectionPatch) {
	if p.RateBps != nil {
		s.RateBps = p.GetRateBps()
	}
	if p.DelayNs != nil {
		s.DelayNs = p.GetDelayNs()
	}
	if p.Jitter != nil {
		s.Jitter = p.Jitter
	}
	if p.Loss != nil {
		s.Loss = p.Loss
	}
	if p.Duplicate != nil {
		s.Duplicate = p.Duplicate
	}
	if p.Corrupt != nil {
		s.Corrupt = p.GetCorrupt()
	}
	if p.Queue != nil {
		s.Queue = p.Queue
	}
}

// apply makes the directions be as a new specification says. What has other settings now loses those that were set for
// good; what is there no more ends, and drops all that is on its way.
func (r *links) apply(spec *labv1.LabSpec, t int64) {
	there := map[string]bool{}
	take := func(a, b *labv1.Endpoint, s *labv1.DirectionSpec) {
		name := a.Node + "->" + b.Node
		there[name] = true
		d := r.dirs[name]
		if d == nil || d.gone {
			r.add(a, b, s)
			r.dirs[name].before = d
			return
		}
		temporary := slices.DeleteFunc(slices.Clone(d.sets), func(l layer) bool { return l.set.DurationNs == 0 })
		if !proto.Equal(d.base, s) || len(temporary) < len(d.sets) {
			d.base, d.sets = s, temporary
			d.turn(t)
		}
	}
	for _, l := range spec.Links {
		take(l.A, l.B, l.Forward)
		take(l.B, l.A, l.Reverse)
	}
	for name, d := range r.dirs {
		if !there[name] && !d.gone {
			d.gone, d.goneAt = true, t
		}
	}
}
