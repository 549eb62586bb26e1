package worker

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"labd.dev/sim"
)

// How labs share a worker's cores. A lab that keeps up with the real clock runs its events when they are due, and asks nobody.
// One that has more to do than there is time for, because it is on the virtual clock, replays its journal or has fallen
// behind the real clock, runs in turns: a few labs at a time, a short while each, those first whose owner has had least,
// however many labs each has. One core is left to those that keep up. What a lab computes does not depend on any of it.

const (
	// turnLength is how long, in wall time, a lab's turn lasts when others wait for theirs.
	turnLength = 2 * time.Millisecond
	// behindLag is by how much, in wall time, a lab on the real clock may be late before it is taken to be behind.
	behindLag = 5 * time.Millisecond
	// keptFree is for how long a core is left to labs on the real clock after one of them has run.
	keptFree = time.Second
)

// The order in which labs get turns.
const (
	catchingUp = iota // a lab on the real clock that makes up for being late
	inBatch           // one on the virtual clock, a replay, or a lab on the real clock that has given up to catch up
	turnRanks
)

// share hands out turns. Any goroutine may call it.
type share struct {
	cores int
	low   *background  // where turns are run while others keep up with the real clock; nil: nowhere else
	paced atomic.Int64 // when a lab last kept up with the real clock, ns since start
	start time.Time

	mu      sync.Mutex // guards all below, and what turns say is guarded by it
	taken   int        // turns that labs have
	waiting [turnRanks]queue
	owners  map[string]*owner // of labs that have a turn or wait for one
	served  time.Duration     // how much of the machine who was served last had had before
}

// owner is a person who has labs here.
type owner struct {
	labs int           // that have a turn or wait for one
	had  time.Duration // wall time of turns, or what others had when the person came
}

// queue holds those who wait for a turn, in the order in which they came.
type queue []*place

// place is a lab's place in a share. Its fields are guarded by the share.
type place struct {
	share  *share
	owner  string
	has    bool
	queued bool
	rank   int
	since  time.Time     // when it got its turn
	ready  chan struct{} // holds a token when it has got one
}

func newShare(cores int) *share {
	if cores <= 0 {
		cores = goCores()
	}
	s := &share{cores: cores, start: time.Now(), owners: make(map[string]*owner)}
	s.paced.Store(-int64(keptFree))
	return s
}

// newPlace is a lab's place; owner is whose lab it is.
func (s *share) newPlace(owner string) *place {
	return &place{share: s, owner: owner, ready: make(chan struct{}, 1)}
}

// keptUp notes that a lab on the real clock has run in time.
func (s *share) keptUp() { s.paced.Store(int64(time.Since(s.start))) }

// anyPaced tells whether a lab has kept up with the real clock lately.
func (s *share) anyPaced() bool {
	return time.Since(s.start)-time.Duration(s.paced.Load()) < keptFree
}

// holds tells whether the lab has a turn.
func (t *place) holds() bool {
	t.share.mu.Lock()
	defer t.share.mu.Unlock()
	return t.has
}

// most is how many labs may have a turn now.
func (s *share) most() int {
	if s.anyPaced() {
		return max(1, s.cores-1)
	}
	return s.cores
}

// ask tells whether the lab has a turn. One that has none waits for it from now on: ready will say so.
func (t *place) ask(rank int) bool {
	s := t.share
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case t.has:
	case t.queued && t.rank != rank:
		s.waiting[t.rank].drop(t)
		s.wait(t, rank)
	case !t.queued:
		o := s.owners[t.owner]
		if o == nil {
			o = &owner{had: s.served}
			s.owners[t.owner] = o
		}
		o.labs++
		s.wait(t, rank)
	}
	return t.has
}

// wait has a lab wait for a turn. The caller holds the lock.
func (s *share) wait(t *place, rank int) {
	t.rank, t.queued = rank, true
	s.waiting[rank] = append(s.waiting[rank], t)
	s.grant()
}

// ran says that a lab has passed some time. It ends a turn that has lasted if others wait.
func (t *place) ran() {
	s := t.share
	s.mu.Lock()
	defer s.mu.Unlock()
	if !t.has || time.Since(t.since) < turnLength {
		return
	}
	s.account(t)
	if s.taken <= s.most() && len(s.waiting[catchingUp])+len(s.waiting[inBatch]) == 0 {
		return
	}
	t.has = false
	s.taken--
	s.wait(t, t.rank)
}

// account notes what a lab has had of the machine since that was noted last. The caller holds the lock.
func (s *share) account(t *place) {
	now := time.Now()
	s.owners[t.owner].had += now.Sub(t.since)
	t.since = now
}

// leave says that the lab needs no turn now.
func (t *place) leave() {
	s := t.share
	s.mu.Lock()
	defer s.mu.Unlock()
	if !t.queued && !t.has {
		return
	}
	if t.queued {
		s.waiting[t.rank].drop(t)
		t.queued = false
	}
	if t.has {
		s.account(t)
		t.has = false
		s.taken--
	}
	if o := s.owners[t.owner]; o.labs > 1 {
		o.labs--
	} else {
		delete(s.owners, t.owner)
	}
	select {
	case <-t.ready:
	default:
	}
	s.grant()
}

// grant gives turns to those who wait. The caller holds the lock.
func (s *share) grant() {
	for s.taken < s.most() {
		t := s.next(catchingUp)
		if t == nil {
			t = s.next(inBatch)
		}
		if t == nil {
			return
		}
		s.served = max(s.served, s.owners[t.owner].had)
		t.has, t.queued, t.since = true, false, time.Now()
		s.taken++
		select {
		case t.ready <- struct{}{}:
		default:
		}
	}
}

// next takes out who waits longest of the person who has had least.
func (s *share) next(rank int) *place {
	var next *place
	for _, t := range s.waiting[rank] {
		if next == nil || s.owners[t.owner].had < s.owners[next.owner].had {
			next = t
		}
	}
	if next != nil {
		s.waiting[rank].drop(next)
	}
	return next
}

func (q *queue) drop(t *place) {
	*q = slices.DeleteFunc(*q, func(other *place) bool { return other == t })
}

// itsTurn tells whether the lab may run on now. While it may not, it answers calls.
func (l *lab) itsTurn() bool {
	rank, asks := l.rank()
	if !asks {
		l.place.share.keptUp()
		l.giveWay()
		return true
	}
	l.asking = true
	if l.place.ask(rank) {
		return true
	}
	select {
	case <-l.place.ready:
	case call := <-l.calls:
		call()
	case <-l.quit:
	}
	return false
}

// giveWay lets others have the lab's turn: it has nothing to do.
func (l *lab) giveWay() {
	if l.asking {
		l.asking = false
		l.place.leave()
	}
}

// rank is the rank of the turns that the lab asks for; it asks for none while it keeps up.
func (l *lab) rank() (rank int, asks bool) {
	switch lag, _ := l.clock.lag(); {
	case l.clock.virtual(), l.rebuilding:
		return inBatch, true
	case lag < behindLag:
		return 0, false
	case lag < sim.DefaultCatchUp:
		return catchingUp, true
	}
	return inBatch, true
}
