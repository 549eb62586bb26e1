package worker

import (
	"fmt"

	"labd.dev/sim"
)

// budget is how many bytes the lab may take in all; each loop holds to it by itself while a window runs.
func (l *lab) budget() int {
	if b := l.req.GetSpec().GetBudget().GetMemoryBytes(); b > 0 {
		return int(min(b, 1<<62))
	}
	return sim.DefaultMemory
}

// held is what the lab takes: frames, payload, connections, and the contents given to it.
func (l *lab) held() int {
	n := l.blobBytes
	for _, loop := range l.x.loops {
		n += loop.Held()
	}
	return n
}

// overMemory ends a lab whose loops together have outgrown its budget.
func (l *lab) overMemory() error {
	if held := l.held(); held > l.budget() {
		return fmt.Errorf("frames, payload, connections and files take %d MiB, more than the lab's memory budget of %d MiB, at %v",
			held>>20, l.budget()>>20, l.x.now())
	}
	return nil
}

// roomFor refuses content that the budget has no room for.
func (l *lab) roomFor(n int) error {
	if l.blobBytes+n > l.budget() {
		return fmt.Errorf("%w: the lab's files would take more than its memory budget of %d MiB", errFull, l.budget()>>20)
	}
	return nil
}
