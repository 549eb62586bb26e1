package trace

import (
	"fmt"
	"slices"
	"sync"

	"labd.dev/sim"
)

// Merger puts the records of a lab's loops into the total order (t, node, eseq). A loop hands on its records in the
// order of time; where several run, what another may still add before a time is waited for.
type Merger struct {
	mu      sync.Mutex // guards all below: the loops of a lab run in goroutines of their own
	sink    func([]sim.Record) error
	sources []*Source
	out     []sim.Record
	err     error
}

// Source is one loop's way into a Merger.
type Source struct {
	m       *Merger
	pending []sim.Record
	known   sim.Time // every record of the loop before known has been added
}

// NewMerger merges loops into sink, which keeps nothing of the slice it is given.
func NewMerger(loops int, sink func([]sim.Record) error) *Merger {
	m := &Merger{sink: sink}
	for range loops {
		m.sources = append(m.sources, &Source{m: m})
	}
	return m
}

// Source is the way in of loop i.
func (m *Merger) Source(i int) *Source { return m.sources[i] }

// Add takes a block from the loop's recorder (see sim.NewRecorder) and keeps nothing of it. An error of the sink is
// kept, and told by Advance and Close; the lab goes on without a trace.
func (s *Source) Add(block []sim.Record) {
	if len(block) == 0 {
		return
	}
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return
	}
	if block[0].T < s.known {
		m.err = fmt.Errorf("trace record of t %d ns after the loop had said that all before %d ns are there", block[0].T, s.known)
		return
	}
	s.pending = append(s.pending, block...)
	// A loop runs its events in the order of time, so only the last instant may still grow.
	s.known = block[len(block)-1].T
	m.drain()
}

// Advance says that every loop has handed on all its records before t: the barrier of a window, when the recorders
// have been flushed.
func (m *Merger) Advance(t sim.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sources {
		s.known = max(s.known, t)
	}
	m.drain()
	return m.err
}

// Close hands on what is left: no record will follow.
func (m *Merger) Close() error { return m.Advance(sim.Never) }

// drain hands on the records before the time up to which every loop is known.
func (m *Merger) drain() {
	if m.err != nil || len(m.sources) == 0 {
		return
	}
	upTo := m.sources[0].known
	for _, s := range m.sources[1:] {
		upTo = min(upTo, s.known)
	}
	m.out = m.out[:0]
	for _, s := range m.sources {
		n := s.before(upTo)
		m.out = append(m.out, s.pending[:n]...)
		s.pending = append(s.pending[:0], s.pending[n:]...)
	}
	if len(m.out) == 0 {
		return
	}
	if !slices.IsSortedFunc(m.out, compareOrder) {
		// Stable, so that the records that continue another (sim.KindMore) stay behind it.
		slices.SortStableFunc(m.out, compareOrder)
	}
	m.err = m.sink(m.out)
}

func compareOrder(a, b sim.Record) int {
	switch {
	case before(&a, &b):
		return -1
	case before(&b, &a):
		return 1
	}
	return 0
}

// before counts the pending records before t.
func (s *Source) before(t sim.Time) int {
	n, _ := slices.BinarySearchFunc(s.pending, t, func(r sim.Record, t sim.Time) int {
		if r.T < t {
			return -1
		}
		return 1
	})
	return n
}
