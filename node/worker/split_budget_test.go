package worker

import (
	"testing"
	"time"
)

// A lab that has waited for other shards for long is told of, and no other.
func TestStalledLabsAreCounted(t *testing.T) {
	w := &Worker{root: t.TempDir(), labs: map[string]*lab{}}
	for id, since := range map[string]int64{"whole": 0, "long": ticks() - int64(time.Hour), "just": ticks() + int64(time.Hour)} {
		w.labs[id] = &lab{id: id, reach: &reach{}}
		w.labs[id].vitals.waits.Store(since)
	}
	if got := w.report(&reporter{}).GetStalled(); got != 1 {
		t.Errorf("%d labs are stalled", got)
	}
}
