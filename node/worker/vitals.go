package worker

import (
	"context"
	"sync/atomic"
	"time"

	workerv1 "labd.dev/proto/worker/v1"
)

// vitals is how a lab stands, for those who must not wait for its goroutine, which writes it.
type vitals struct {
	journaled atomic.Uint64 // inputs committed
	pending   atomic.Uint64 // index of the stamped input; 0: none
	events    atomic.Uint64 // run
	memory    atomic.Uint64 // bytes held
	conns     atomic.Uint64 // ends of connections
	waits     atomic.Int64  // ticks, since when a split lab waits for other shards; 0: it does not
}

// stallAfter is how long a split lab waits for another worker before it is told of: far longer than a window takes, and
// shorter than the lease of a worker that was stopped.
const stallAfter = time.Second

var began = time.Now()

// ticks is the process's monotonic clock, ns.
func ticks() int64 { return int64(time.Since(began)) + 1 }

// note brings the lab's vitals up to date.
func (l *lab) note() {
	l.vitals.journaled.Store(uint64(len(l.journal)))
	l.vitals.pending.Store(l.stamps.pending.GetIndex())
	ran := l.ran()
	if !l.rebuilding && (l.split == nil || !l.split.replaying) {
		l.rate.ran(ran - l.vitals.events.Load())
	}
	l.vitals.events.Store(ran)
	l.vitals.conns.Store(uint64(l.connEnds()))
	l.vitals.memory.Store(uint64(l.held()))
}

// reporter tells how busy a worker is: it measures from one report to the next.
type reporter struct {
	sequence uint64
	at       time.Time
	events   map[string]uint64 // of each lab at the last report
}

// report tells how the worker stands.
func (w *Worker) report(r *reporter) *workerv1.WorkerReport {
	now := time.Now()
	wall := now.Sub(r.at).Seconds()
	seen := make(map[string]uint64)
	r.sequence++
	out := &workerv1.WorkerReport{Sequence: r.sequence, DiskFreeBytes: diskFree(w.root)}
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, l := range w.labs {
		lab := &workerv1.LabReport{LabId: id, Epoch: l.epoch, ReachedNs: int64(l.reach.passed()), MemoryBytes: l.vitals.memory.Load(),
			Broken: l.brokenBy() != "", Connections: (l.vitals.conns.Load() + 1) / 2}
		if since := l.vitals.waits.Load(); since != 0 && ticks()-since > int64(stallAfter) {
			out.Stalled++
		}
		seen[id] = l.vitals.events.Load()
		if was, known := r.events[id]; known && wall > 0 && seen[id] >= was {
			lab.EventsPerS = float64(seen[id]-was) / wall
		}
		out.EventsPerS += lab.EventsPerS
		out.MemoryBytes += lab.MemoryBytes
		out.Labs = append(out.Labs, lab)
	}
	r.at, r.events = now, seen
	return out
}

// SetBounds implements the service.
func (w *Worker) SetBounds(_ context.Context, req *workerv1.SetBoundsRequest) (*workerv1.SetBoundsResponse, error) {
	w.rates.setAll(req.GetTerm(), req.GetOwners())
	return w.usage.since(req.GetRevision()), nil
}

// GetReport implements the service.
func (w *Worker) GetReport(context.Context, *workerv1.GetReportRequest) (*workerv1.GetReportResponse, error) {
	w.asked.Lock()
	defer w.asked.Unlock()
	return &workerv1.GetReportResponse{Report: w.report(&w.asked.reporter)}, nil
}
