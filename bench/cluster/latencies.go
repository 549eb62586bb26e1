package cluster

import (
	"slices"
	"sync"
	"time"
)

// Latencies are gathered by many.
type Latencies struct {
	mu  sync.Mutex // guards all below
	all []time.Duration
	err error
}

// Add takes how long something took, or why it failed.
func (l *Latencies) Add(d time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.err = err
		return
	}
	l.all = append(l.all, d)
}

// Len is how many there are.
func (l *Latencies) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// Err is why one failed; nil: none did.
func (l *Latencies) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Quantile is the time that so much of them took at most; 0 if there is none.
func (l *Latencies) Quantile(q float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) == 0 {
		return 0
	}
	slices.Sort(l.all)
	return l.all[min(len(l.all)-1, int(q*float64(len(l.all))))].Round(100 * time.Microsecond)
}
