package worker

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// tenure is a worker's right to run labs. It ends by the worker's own monotonic clock, which goes on while the process is
// stopped: a worker that was paused knows so before it runs another event. The clock is read where it is asked, and no
// wall time is compared with another machine's.
type tenure struct {
	begin time.Time    // what until counts from
	until atomic.Int64 // ns since begin
}

// newTenure makes the right of a worker that needs a lease, and has none yet; or of one that needs none.
func newTenure(leased bool) *tenure {
	t := &tenure{begin: time.Now()}
	if !leased {
		t.until.Store(math.MaxInt64)
	}
	return t
}

// extend lets the right last until a time, if it does not last longer already.
func (t *tenure) extend(to time.Time) {
	end := int64(to.Sub(t.begin))
	for {
		was := t.until.Load()
		if end <= was || t.until.CompareAndSwap(was, end) {
			return
		}
	}
}

// left is how long the right lasts from now on.
func (t *tenure) left() time.Duration {
	return time.Duration(t.until.Load()) - time.Since(t.begin)
}

// LeaseLeft is how long this worker may still run labs without hearing from a leader: not above 0 without a lease.
func (w *Worker) LeaseLeft() time.Duration { return w.tenure.left() }

func (t *tenure) holds() bool { return t == nil || t.left() > 0 }

// checkTenure refuses what only a worker may do that holds a lease.
func (w *Worker) checkTenure() error {
	if !w.tenure.holds() {
		return fmt.Errorf("%w: this worker holds no lease now", errNoLease)
	}
	return nil
}

// follow notes the term of the leader that has taken this worker in.
func (w *Worker) follow(term uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.term = max(w.term, term)
}

// checkTerm refuses a leader of a term before that of the one that this worker follows. The caller holds mu.
func (w *Worker) checkTerm(term uint64) error {
	if term != 0 && term < w.term {
		return fmt.Errorf("%w: the leader of term %d asks, and this worker follows that of term %d", errStaleEpoch, term, w.term)
	}
	return nil
}

// fence stops every lab: others may be given them from now on. Their files stay until they are asked to be removed.
func (w *Worker) fence() (stopped int) {
	w.mu.Lock()
	labs := w.labs
	w.labs = map[string]*lab{}
	w.mu.Unlock()
	var all sync.WaitGroup
	for _, l := range labs {
		all.Go(l.stop)
	}
	all.Wait()
	return len(labs)
}

// watchTenure fences the worker whenever its lease runs out, until quit.
func (w *Worker) watchTenure(quit <-chan struct{}) {
	for held := false; ; {
		left := w.tenure.left()
		if left > 0 {
			held = true
		} else if held {
			held = false
			if n := w.fence(); n > 0 {
				w.log.Warn("the lease has run out; this worker's labs have been stopped and go elsewhere", "labs", n)
			}
		}
		if left <= 0 {
			left = tenureLook
		}
		if !wallPause(quit, left) {
			return
		}
	}
}

// tenureLook is how often a worker without a lease looks whether it has one.
const tenureLook = 100 * time.Millisecond
