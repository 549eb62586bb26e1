package worker

import (
	"fmt"

	"labd.dev/sim"
)

// How many connections a lab may have at once. It is a budget as those of events and memory are: what passes it ends, by name,
// and what stays within it never hears of it. The bound is the lab's own from its making on, so that a replay comes to the same.
// Each loop holds to it by itself while a window runs, and each shard of a split lab.

// mostConnEnds is how many ends of connections the lab may have; 0: as many as there is room for.
func (l *lab) mostConnEnds() uint64 { return 2 * min(l.req.GetConnectionsAtMost(), 1<<61) }

// connEnds is how many ends of connections there are here.
func (l *lab) connEnds() (n int) {
	for _, loop := range l.x.loops {
		n += loop.ConnEnds()
	}
	return n
}

// overConns ends a lab whose loops together have more connections than it may have.
func (l *lab) overConns() error {
	if most := l.mostConnEnds(); most > 0 && uint64(l.connEnds()) > most {
		return l.tooManyConns(l.x.now())
	}
	return nil
}

func (l *lab) tooManyConns(at sim.Time) error {
	return fmt.Errorf("connections: more than %d at once, at %v, which is what the quota of its owner let this lab have when it was made; "+
		"open fewer at a time, or ask for a larger quota and make it anew (see `labctl quota get`)", l.req.GetConnectionsAtMost(), at)
}
