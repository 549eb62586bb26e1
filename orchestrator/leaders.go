package orchestrator

import (
	"sync"

	"github.com/hashicorp/raft"
)

// leaders tells of each change of who leads, as this server knows it.
type leaders struct {
	observer *raft.Observer
	seen     chan raft.Observation
	done     sync.WaitGroup

	mu   sync.Mutex    // guards next
	next chan struct{} // closed at the next change
}

func watchLeaders(r *raft.Raft) *leaders {
	w := &leaders{seen: make(chan raft.Observation, 1), next: make(chan struct{})}
	// One that is lost for want of room follows one that is still to be told of.
	w.observer = raft.NewObserver(w.seen, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	r.RegisterObserver(w.observer)
	w.done.Go(func() {
		for range w.seen {
			w.mu.Lock()
			close(w.next)
			w.next = make(chan struct{})
			w.mu.Unlock()
		}
	})
	return w
}

// changed is closed at the next change. It is to be had before looking who leads.
func (w *leaders) changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.next
}

// close ends it, after Raft has been told to observe no more.
func (w *leaders) close(r *raft.Raft) {
	r.DeregisterObserver(w.observer)
	close(w.seen)
	w.done.Wait()
}
