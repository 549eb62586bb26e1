package sim

import (
	"fmt"
	"unsafe"
)

// DefaultMemory is what a loop's frames, chunks and connections may take if nothing else is said: a thousand connections
// with 128 KiB in both buffers at both ends take half of it.
const DefaultMemory = 1 << 30

// MemoryError says that what a loop holds has outgrown its budget.
type MemoryError struct {
	Loop  string
	At    Time
	Held  uint64 // bytes
	Limit uint64 // bytes
}

func (e *MemoryError) Error() string {
	return fmt.Sprintf("loop %q: frames, payload and connections take %d MiB, more than the budget of %d MiB, at %v",
		e.Loop, e.Held>>20, e.Limit>>20, e.At)
}

const frameBytes = int(unsafe.Sizeof(Frame{}))

// Held is how many bytes the loop's frames and chunks take, free ones included, and what Charge has added.
func (l *Loop) Held() int { return l.pool.held }

// Charge counts n bytes that others keep for the loop (a connection); negative: that they have let go of.
func (l *Loop) Charge(n int) {
	l.pool.held += n
	if l.pool.held > l.budget.memory {
		l.watch = 0 // the next event looks at the budget
	}
}

// overMemory is the error of a loop that holds too much.
func (l *Loop) overMemory() error {
	if l.pool.held <= l.budget.memory {
		return nil
	}
	return &MemoryError{Loop: l.cfg.Name, At: l.now, Held: uint64(l.pool.held), Limit: uint64(l.budget.memory)}
}
