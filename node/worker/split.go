package worker

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"labd.dev/link"
	"labd.dev/node"
	"labd.dev/node/cut"
	"labd.dev/node/exchange"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
)

const (
	// shardWindow is the most lab time of a window of a split lab whose links are longer than that: between two windows calls
	// are answered.
	shardWindow = 100 * sim.Millisecond
	// forEver is later than everything that happens: the limit where nothing limits.
	forEver = sim.Never - 1
	// stopGrace is what the shards may take to stop together.
	stopGrace = 2 * time.Second
)

// split is a lab's place among the shards that it is split over. All shards run the same steps: in each round they exchange
// reports, frames and, from the head, what limits the round and inputs; each then works out from these the one thing that
// all do next. The head alone has a clock and takes inputs: it holds the others back by not sending its message, and limits
// them by what it says in it. The lab's goroutine owns it.
type split struct {
	l      *lab
	w      *Worker
	self   int
	shards []*workerv1.Shard
	part   *node.Split
	peers  *exchange.Peers
	joiner *joiner
	sum    [32]byte // of what the shards must agree on

	round   uint64
	sent    bool                  // this round's message has been sent
	mine    exchange.Report       // as it was sent
	came    []*exchange.Message   // this round's, by shard
	early   []*exchange.Message   // the next round's
	missing int                   // of this round's
	gone    []error               // by shard: nothing more comes from it, and why
	fresh   []*labv1.JournalEntry // the head: committed since the last message
	going   []*labv1.JournalEntry // the head: in this round's message

	// As the last exchange left it.
	known     bool     // nothing has happened since
	next      sim.Time // no event of the lab precedes it
	ahead     sim.Time
	events    uint64
	held      uint64 // bytes, in all shards
	busy      bool
	connected bool
	replaying bool

	pausedAt sim.Time // the head: lab time had come here when it was paused
	stopping bool     // the head: the lab is to end where it is
	moved    error    // the cut must be made elsewhere
	storm    storm
}

// movedError says that a link which is cut may have no delay any more.
type movedError struct{ link string }

func (e *movedError) Error() string {
	return "the lab must be split elsewhere, for a link that it was cut at may take none: " + e.link
}

// newSplit is a lab's place among the shards of its request; nil if the lab is whole.
func newSplit(w *Worker, l *lab, req *workerv1.StartLabRequest) (*split, error) {
	shards := req.GetShards()
	if len(shards) < 2 {
		return nil, nil
	}
	self := int(req.GetShard())
	switch {
	case self >= len(shards):
		return nil, fmt.Errorf("%w: shard %d of %d", errBadRequest, self, len(shards))
	case w.dial == nil:
		return nil, fmt.Errorf("%w: this worker takes no part in split labs: it has no way to others", errRefused)
	}
	s := &split{l: l, w: w, self: self, shards: shards, part: &node.Split{Self: self, Of: map[string]int{}},
		came: make([]*exchange.Message, len(shards)), early: make([]*exchange.Message, len(shards)), missing: len(shards) - 1,
		gone: make([]error, len(shards))}
	names := make([]string, len(shards))
	for i, sh := range shards {
		names[i] = fmt.Sprintf("%s (%s)", sh.GetWorker(), sh.GetAddress())
		for _, n := range sh.GetNodes() {
			if _, twice := s.part.Of[n]; twice {
				return nil, fmt.Errorf("%w: node %q is in two shards", errBadRequest, n)
			}
			s.part.Of[n] = i
		}
	}
	for _, n := range req.GetSpec().GetNodes() {
		if _, ok := s.part.Of[n.GetName()]; !ok {
			return nil, fmt.Errorf("%w: node %q is in no shard", errBadRequest, n.GetName())
		}
	}
	if err := s.holds(req.GetJournal()); err != nil {
		return nil, fmt.Errorf("%w: %w", errBadRequest, err)
	}
	s.peers = exchange.NewPeers(self, names)
	s.peers.Ended = func() { l.clock.wake() } // the head may wait for the wall clock, for hours
	s.part.Carrier = func(to int, d sim.Origin) link.Carrier { return s.peers.Carrier(to, d) }
	return s, nil
}

// holds says why the cut cannot stay where it is, with a journal that may have grown.
func (s *split) holds(entries []*labv1.JournalEntry) error {
	shards := make([][]string, len(s.shards))
	for name, i := range s.part.Of {
		shards[i] = append(shards[i], name)
	}
	if link, ok := cut.Holds(s.l.req.GetSpec(), entries, shards); !ok {
		return &movedError{link}
	}
	return nil
}

// agree sums up what the shards must agree on.
func (s *split) agree() error {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(&workerv1.StartLabRequest{
		Spec: s.l.req.GetSpec(), Mode: s.l.req.GetMode(), EndNs: s.l.req.GetEndNs(), Shards: s.shards,
		Journal: s.l.req.GetJournal()})
	s.sum = sha256.Sum256(b)
	return err
}

// tells reports whether this shard tells of what starts at a node: it is its own, or nobody's.
func (s *split) tells(node string) bool {
	of, ok := s.part.Of[node]
	return ok && of == s.self || !ok && s.head()
}

// mayHave reports whether a node is in this shard, or may be: where one comes that an input brings is found out later.
func (s *split) mayHave(node string) bool {
	of, ok := s.part.Of[node]
	return !ok || of == s.self
}

// head reports whether the lab is paced and given its inputs here.
func (s *split) head() bool { return s.self == 0 }

// resting reports whether no round is under way: only then may an input be given its time.
func (s *split) resting() bool { return s.joiner == nil && !s.sent }

// step does the next thing: it joins the others, begins a round, waits for messages or a call, or does what all do.
func (s *split) step() error {
	switch {
	case s.joiner != nil:
		return s.join()
	case s.moved != nil:
		return s.moved
	case !s.sent:
		if err := s.alive(); err != nil {
			return err
		}
		if !s.replaying && !s.stopping && !s.l.withinBounds() {
			return nil
		}
		limit, flags := forEver, uint8(0)
		if s.head() {
			var ok bool
			if limit, flags, ok = s.direct(); !ok {
				return nil
			}
		}
		return s.send(limit, flags)
	case s.missing > 0:
		if err := s.lost(); err != nil {
			return err
		}
		return s.await()
	}
	return s.act()
}

// send sends this round's message.
func (s *split) send(limit sim.Time, flags uint8) error {
	l := s.l
	s.going, s.fresh = s.fresh, nil
	inputs := make([][]byte, len(s.going))
	for i, e := range s.going {
		b, err := proto.Marshal(e)
		if err != nil {
			return err
		}
		inputs[i] = b
	}
	arrival := l.net.Export(l.x.now())
	s.mine = exchange.Report{
		Report: sim.Report{Next: l.net.Next(), Departure: l.net.Departure(), Arrival: arrival},
		Ahead:  l.net.Ahead(), Events: l.ran(), Held: s.heldHere(), Flags: flags | s.activity(), Limit: limit,
	}
	s.sent = true
	l.vitals.waits.Store(ticks())
	if err := s.peers.Send(s.round, &s.mine, inputs); err != nil {
		return s.reason(err)
	}
	return nil
}

// reason is why a message could not be sent: what a peer has said of the lab's end, if it has, goes before its having closed
// the connection then.
func (s *split) reason(err error) error {
	for {
		select {
		case c := <-s.peers.Came:
			if c.Err == nil && c.Message.Kind == exchange.KindFailed {
				return s.take(c)
			}
		default:
			return err
		}
	}
}

// activity is what decides whether there is something to pass time for, where that is asked.
func (s *split) activity() (flags uint8) {
	l := s.l
	if l.standing() && !l.onVirtual() || !l.standing() && l.req.GetEndNs() > 0 {
		return 0
	}
	if l.net.Busy() {
		return exchange.FlagBusy
	}
	if !l.standing() && l.net.Connected() {
		return exchange.FlagConnected
	}
	return 0
}

// await takes one message, or answers one call.
func (s *split) await() error {
	l := s.l
	select {
	case c := <-s.peers.Came:
		return s.take(c)
	case call := <-l.calls:
		call()
	case <-l.quit:
	}
	return nil
}

// alive takes in what has come between two rounds: messages of the next, and that a peer is gone, which it had no reason to
// be while the lab goes on here.
func (s *split) alive() error {
	for {
		select {
		case c := <-s.peers.Came:
			if c.Err != nil {
				return c.Err
			}
			if err := s.take(c); err != nil {
				return err
			}
		default:
			return s.anyGone()
		}
	}
}

// anyGone is why any peer is gone.
func (s *split) anyGone() error {
	for _, err := range s.gone {
		if err != nil {
			return err
		}
	}
	return nil
}

// idle waits for a call or for something from a peer.
func (s *split) idle() {
	l := s.l
	select {
	case <-l.quit:
	case call := <-l.calls:
		call()
	case c := <-s.peers.Came:
		if err := s.take(c); err != nil {
			s.gone[c.From] = err // told of before the next round
		}
	}
}

// lost is why a message of this round will never come. Who is gone may have ended with the round that is still going on
// here: then its message is there.
func (s *split) lost() error {
	for i, err := range s.gone {
		if err != nil && s.came[i] == nil {
			return err
		}
	}
	return nil
}

// take puts a message in its place.
func (s *split) take(c exchange.Came) error {
	if c.Err != nil {
		s.gone[c.From] = c.Err
		return nil
	}
	m := c.Message
	switch m.Kind {
	case exchange.KindFailed:
		return fmt.Errorf("%s: %w", s.peers.Name(m.From), &failedError{m.Text})
	case exchange.KindBroken:
		return &exchange.PeerError{Peer: s.peers.Name(m.From), Err: errors.New(m.Text)}
	}
	switch {
	case m.Round == s.round && s.came[m.From] == nil:
		s.came[m.From] = m
		s.missing--
	case m.Round == s.round+1 && s.came[m.From] != nil && s.early[m.From] == nil:
		s.early[m.From] = m
	default:
		return &exchange.PeerError{Peer: s.peers.Name(m.From), Err: fmt.Errorf("it speaks of round %d in round %d", m.Round, s.round)}
	}
	return nil
}

// failedError is why a lab has ended in another shard.
type failedError struct{ text string }

func (e *failedError) Error() string { return e.text }

// act ends the round: what has come is taken in, and all shards do the same next thing.
func (s *split) act() error {
	l := s.l
	limit, flags, err := s.gather()
	if err != nil {
		return err
	}
	s.round++
	l.vitals.waits.Store(0)
	s.sent, s.known, s.missing = false, true, len(s.shards)-1
	s.came, s.early = s.early, s.came
	for i, m := range s.came {
		if s.early[i] = nil; m != nil {
			s.missing--
		}
	}
	s.replaying = flags&exchange.FlagReplaying != 0
	if flags&exchange.FlagStop != 0 {
		l.partial = !l.standing()
		l.end(l.x.now())
		return nil
	}
	err = s.proceed(limit)
	if err == nil && s.head() {
		l.nextStamp(s.w)
	}
	return err
}

// gather takes in all that has come in a round.
func (s *split) gather() (limit sim.Time, flags uint8, err error) {
	s.next, s.ahead, s.events, s.held, s.busy, s.connected = sim.Never, sim.Never, 0, 0, false, false
	for i, m := range s.came {
		r := &s.mine
		if i != s.self {
			r = &m.Report
		}
		if now := s.l.x.now(); i != s.self && sim.Least(r.Report) < now {
			return 0, 0, &exchange.PeerError{Peer: s.peers.Name(i), Err: fmt.Errorf("it tells of %v, and it is %v", sim.Least(r.Report).Duration(), now.Duration())}
		}
		s.next, s.ahead = min(s.next, sim.Least(r.Report)), min(s.ahead, r.Ahead)
		s.events += r.Events
		s.held += r.Held
		s.busy = s.busy || r.Flags&exchange.FlagBusy != 0
		s.connected = s.connected || r.Flags&exchange.FlagConnected != 0
		if i == 0 {
			limit, flags = r.Limit, r.Flags
		}
		if i != s.self {
			if err := m.Read(s.arrive, s.input); err != nil {
				return 0, 0, &exchange.PeerError{Peer: s.peers.Name(i), Err: err}
			}
			s.peers.Done(m)
		}
	}
	for _, e := range s.going {
		s.l.schedule(e)
	}
	s.going = nil
	return limit, flags, s.overBudget()
}

// arrive takes a frame in.
func (s *split) arrive(a exchange.Arrival, b []byte) (n int, err error) {
	err = s.l.net.Arrive(a.Direction, a.At, a.Seq, a.Copied, func(loop *sim.Loop) (f *sim.Frame, ok bool) {
		f, n, ok = loop.FrameFromWire(b)
		return f, ok
	})
	return n, err
}

// input takes an input from the head.
func (s *split) input(b []byte) error {
	l := s.l
	e := new(labv1.JournalEntry)
	if err := proto.Unmarshal(b, e); err != nil {
		return err
	}
	if s.head() || e.GetIndex() != uint64(len(l.journal))+1 || e.GetTNs() < int64(l.x.now()) || e.GetTNs() >= int64(forEver) {
		return fmt.Errorf("input %d at %d ns cannot follow input %d at %d ns", e.GetIndex(), e.GetTNs(), len(l.journal), int64(l.x.now()))
	}
	if err := l.loadInput(s.w, e.GetInput()); err != nil {
		return err
	}
	if err := l.accept(e); err != nil {
		return err
	}
	l.schedule(e)
	return nil
}

// proceed does what all shards do next, not beyond limit.
func (s *split) proceed(limit sim.Time) error {
	l := s.l
	at, over := l.nextStop()
	switch {
	case l.due():
		s.known = false
		return l.applyAt(l.x.now())
	case l.asleep():
		return nil
	case at >= limit:
		// Nothing is left before the limit; idle time has passed.
		if limit <= l.x.now() {
			return nil
		}
		return l.advance(limit)
	}
	s.known = false
	return l.pass(at, limit, over)
}

// leave tells the other shards that the lab has ended here by a fault of its own, or that it cannot go on here.
func (s *split) leave(err error) {
	if !s.elsewhere(err) {
		s.peers.Farewell(exchange.KindFailed, err.Error())
		return
	}
	why := err.Error()
	s.l.broken.Store(&why)
	s.peers.Farewell(exchange.KindBroken, why)
}

// elsewhere tells of an error that it is not the lab's, which is to be rebuilt.
func (s *split) elsewhere(err error) bool {
	_, peer := errors.AsType[*exchange.PeerError](err)
	_, moved := errors.AsType[*movedError](err)
	// A whole lab whose disk was full is rebuilt once there is room (revive.go). One shard cannot be by itself: the
	// controller rebuilds all, where there is room, and waits for some where there is none.
	return peer || moved || s.l.standing() && diskFull(err)
}

// brokenBy is why the lab is to be rebuilt; empty: it is not.
func (l *lab) brokenBy() string {
	if why := l.broken.Load(); why != nil {
		return *why
	}
	return ""
}

// stop ends the lab in all shards at the same lab time, if they can be reached.
func (s *split) stop() {
	if !s.head() {
		s.peers.Farewell(exchange.KindBroken, "it was stopped")
		return
	}
	s.stopping = true
	late := time.NewTimer(stopGrace)
	defer late.Stop()
	for s.joiner == nil && !s.l.ended {
		var err error
		switch {
		case s.sent && s.missing > 0 && s.lost() == nil:
			select {
			case c := <-s.peers.Came:
				err = s.take(c)
			case <-late.C:
				err = errors.New("not all shards have stopped")
			}
		default:
			err = guard(s.step)
		}
		if err != nil {
			s.peers.Farewell(exchange.KindBroken, "it was stopped")
			return
		}
	}
}

// close ends the connections.
func (s *split) close() {
	if s.joiner != nil {
		s.joiner.close()
	}
	s.peers.Close()
}
