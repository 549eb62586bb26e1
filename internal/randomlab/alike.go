package randomlab

import (
	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
)

// alikeEvery is how often a lab is one in which much happens at the same nanosecond.
const alikeEvery = 8

// alike makes all links the same, leaves nothing about them to chance, and moves the inputs to whole seconds: frames from
// several sides then reach a node at the same instant, and only the order of origins says which is first.
func (g *generator) alike() {
	same := &labv1.DirectionSpec{DelayNs: g.pairs[0].Forward.DelayNs, MtuBytes: 1500, RateBps: g.pairs[0].Forward.RateBps}
	for _, l := range g.pairs {
		l.Forward, l.Reverse = proto.Clone(same).(*labv1.DirectionSpec), proto.Clone(same).(*labv1.DirectionSpec)
	}
	for _, e := range g.lab.Journal {
		if e.Input.GetFault() == nil && e.Input.GetClearFault() == nil {
			e.TNs -= e.TNs % sec
		}
	}
}
