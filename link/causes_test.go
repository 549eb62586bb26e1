package link

import (
	"testing"

	"labd.dev/sim"
)

// Each cause of a drop that has a name is one that frames meet, and each event of a link comes about.
func TestEachCauseAndEventComesAbout(t *testing.T) {
	causes, events := map[DropCause]bool{}, map[EventName]bool{}
	for _, cfg := range []Config{
		{Rate: 1e6, Queue: Queue{LimitPackets: 1}},
		{Loss: Loss{Model: RandomLoss, P: 1}},
		{Down: true},
		{MTU: 100},
		{Corrupt: 1},
		{Duplicate: Duplicate{Chance: 1}},
		{Delay: sim.Millisecond, Jitter: Jitter{Amount: sim.Millisecond, Reorder: true}},
	} {
		w := newWire(t, cfg)
		for range 20 {
			w.send(1000)
		}
		w.run(sim.Second)
		w.send(1000)
		w.dir.Remove()
		for _, h := range w.hops() {
			causes[h.Drop] = true
			for _, e := range h.Events(nil) {
				events[e.Name] = true
			}
		}
	}
	for c := DropQueueFull; c.String() != ""; c++ {
		if !causes[c] {
			t.Errorf("nothing is dropped for %v", c)
		}
	}
	for _, e := range []EventName{Enqueued, Dequeued, Delivered, Dropped, Duplicated, Reordered, Corrupted} {
		if !events[e] {
			t.Errorf("no frame is %s", e)
		}
	}
}
