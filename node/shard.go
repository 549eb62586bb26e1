package node

import (
	"fmt"
	"slices"

	"labd.dev/link"
	"labd.dev/sim"
)

// Split says which part of a lab a Network is: the nodes of one shard, with the directions that they send on. Ids,
// addresses and routes are those of the whole lab, so that what happens does not depend on the split.
type Split struct {
	Self int
	Of   map[string]int // the shard of each node, by name; one that is not in it joins that of its first neighbour which is
	// Carrier takes what leaves for another shard on a direction.
	Carrier func(to int, direction sim.Origin) link.Carrier
}

// inward is a direction that leads here from another shard.
type inward struct {
	plan     *DirectionPlan
	receiver *link.Receiver
	loop     *sim.Loop
}

// settle gives each node of a plan its shard. Every shard comes to the same, and a node that comes back is where it was.
func (s *Split) settle(p *Plan) {
	for i := range p.Nodes {
		n := &p.Nodes[i]
		if _, ok := s.Of[n.Name]; ok {
			continue
		}
		at := 0
		for j := range n.Interfaces {
			if of, ok := s.Of[p.Nodes[n.Interfaces[j].Peer].Name]; ok {
				at = of
				break
			}
		}
		s.Of[n.Name] = at
	}
}

// here reports whether a node of the present plan is in this part of the lab.
func (w *Network) here(node int) bool {
	s := w.cfg.Split
	return s == nil || s.Of[w.cfg.Plan.Nodes[node].Name] == s.Self
}

// head reports whether what is of no node is told of here.
func (w *Network) head() bool { return w.cfg.Split == nil || w.cfg.Split.Self == 0 }

// shard is where a node of the present plan is.
func (w *Network) shard(node int) int { return w.cfg.Split.Of[w.cfg.Plan.Nodes[node].Name] }

// addInward makes the receiving half of a direction whose sender is in another shard.
func (w *Network) addInward(p *DirectionPlan) {
	to := w.nodes[p.To]
	in := &inward{plan: p, loop: to.loop, receiver: link.NewReceiver(to.loop, p.ID, to.ports[p.ToIf])}
	w.inward = append(w.inward, in)
	w.inwardBy[p.ID] = in
}

// Arrive takes a frame that a direction from another shard has carried here, and owns it. All loops are at rest. The error
// says that the lab has no such direction, or that the frame would come late: then the frame has been let go.
func (w *Network) Arrive(direction sim.Origin, at sim.Time, seq uint64, copied bool, read func(*sim.Loop) (*sim.Frame, bool)) error {
	in := w.inwardBy[direction]
	switch {
	case in == nil:
		return fmt.Errorf("no direction %d leads here", direction)
	case at < in.loop.Now():
		return fmt.Errorf("a frame on %s arrives at %v, and it is %v", in.plan.Name, at.Duration(), in.loop.Now().Duration())
	}
	f, ok := read(in.loop)
	if !ok {
		return fmt.Errorf("a frame on %s cannot be read", in.plan.Name)
	}
	in.receiver.Arrive(at, seq, copied, f)
	return nil
}

// Departure is when the next frame that waits goes on a wire to another shard; sim.Never if none waits.
func (w *Network) Departure() sim.Time {
	next := sim.Never
	for _, d := range w.outward {
		next = min(next, d.link.NextDeparture())
	}
	return next
}

// Ahead is the least time a frame takes from here to another shard, ends of faults that are set included; sim.Never where
// nothing leads there.
func (w *Network) Ahead() sim.Time {
	ahead := sim.Never
	for _, d := range w.outward {
		ahead = min(ahead, d.ahead)
	}
	return ahead
}

// Export hands what has left for other shards before a time that all loops have run to to the carriers, and tells the
// earliest arrival.
func (w *Network) Export(before sim.Time) sim.Time {
	earliest := sim.Never
	for _, d := range w.outward {
		earliest = min(earliest, d.link.Ship(before))
	}
	return earliest
}

// Here lists the nodes of the lab that are in this part of it, as a plan of another time has them.
func (s *Split) Here(p *Plan) []bool {
	s.settle(p)
	here := make([]bool, len(p.Nodes))
	for i := range here {
		here[i] = s.Of[p.Nodes[i].Name] == s.Self
	}
	return here
}

// closeInward lets go of what is on its way here, but for the directions that stay.
func (w *Network) closeInward(stays func(*inward) bool) {
	w.inward = slices.DeleteFunc(w.inward, func(in *inward) bool {
		if stays(in) {
			return false
		}
		in.receiver.Close()
		delete(w.inwardBy, in.plan.ID)
		return true
	})
}
