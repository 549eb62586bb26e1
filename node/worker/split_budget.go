package worker

import (
	"fmt"

	"labd.dev/sim"
)

// The budgets of a split lab are the lab's: each shard's loops hold to them by themselves, and what all run and hold
// together is looked at once a round, from the reports that all have. So all shards end in the same round and for the same
// reason; which round that is depends on the cut, as on the loops of a whole lab.

// storm counts the events of all shards in the lab's second that is under way.
type storm struct {
	second sim.Time // ends then
	base   uint64   // events run before it
}

// heldHere is what this shard takes; what transfers send, which all have, is counted by the head.
func (s *split) heldHere() uint64 {
	held := s.l.held()
	if !s.head() {
		held -= s.l.sentBytes
	}
	return uint64(max(held, 0))
}

// overBudget ends a lab whose shards together have outgrown its budgets.
func (s *split) overBudget() error {
	b, memory := s.l.eventBudget(s.l.net.Plan()), uint64(s.l.budget())
	at := s.next
	if at == sim.Never {
		at = s.l.x.now()
	}
	if at >= s.storm.second {
		s.storm = storm{second: at - at%sim.Second + sim.Second, base: s.events}
	}
	switch {
	case s.held > memory:
		return fmt.Errorf("frames, payload, connections and files take %d MiB in all %d shards, more than the lab's memory budget of %d MiB, at %v",
			s.held>>20, len(s.shards), memory>>20, at)
	case b.PerLab > 0 && s.events > b.PerLab:
		return fmt.Errorf("an event storm: the lab's %d shards have run more than %d events together, its budget, at %v", len(s.shards), b.PerLab, at)
	case b.PerSecond > 0 && s.events-s.storm.base > b.PerSecond: // by default it is a bound of each loop
		return fmt.Errorf("an event storm: the lab's %d shards have run more than %d events together in one second, its budget, at %v",
			len(s.shards), b.PerSecond, at)
	}
	return nil
}
