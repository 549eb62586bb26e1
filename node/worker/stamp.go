package worker

import (
	"bytes"
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"labd.dev/journal"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
)

// turn is whose turn it is to have an input stamped (workerv1.Turn).
type turn struct{ term, number uint64 }

func turnOf(t *workerv1.Turn) turn { return turn{t.GetTerm(), t.GetNumber()} }

func (t turn) before(other turn) bool {
	return t.term < other.term || t.term == other.term && t.number < other.number
}

// stamps holds the one input that has its time and waits to be committed, or that waits to be stamped. One at a time, so that
// an abandoned one leaves no gap in the journal.
type stamps struct {
	turn    turn // the latest that has come
	void    bool // it stamps nothing any more
	waiting *stampCall
	pending *labv1.JournalEntry
}

type stampCall struct {
	input  *labv1.Input
	result chan stampResult
}

type stampResult struct {
	entry *labv1.JournalEntry
	err   error
}

// hold is the time that the lab may not pass.
func (s *stamps) hold() (sim.Time, bool) {
	if s.pending == nil {
		return 0, false
	}
	return sim.Time(s.pending.GetTNs()), true
}

// refuse answers whoever waits.
func (s *stamps) refuse(err error) {
	if s.waiting != nil {
		s.waiting.result <- stampResult{err: err}
	}
	s.waiting, s.pending = nil, nil
}

// stamp gives an input its index, its time and its name, and holds the lab before that time. Whoever asks may go away: the
// stamp then waits for the turn to come again, or to be ended.
func (l *lab) stamp(ctx context.Context, w *Worker, t turn, in *labv1.Input) (*labv1.JournalEntry, error) {
	if l.split != nil && !l.split.head() {
		return nil, errNotHead
	}
	call := &stampCall{input: proto.Clone(in).(*labv1.Input), result: make(chan stampResult, 1)}
	if err := l.do(ctx, func() error { return l.take(w, t, call) }); err != nil {
		return nil, err
	}
	select {
	case r := <-call.result:
		return r.entry, r.err
	case <-l.done:
		return nil, l.stopped()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// take lets a call have its turn.
func (l *lab) take(w *Worker, t turn, call *stampCall) error {
	s := &l.stamps
	again := t == s.turn && (s.pending != nil || s.waiting != nil)
	if !again {
		if t.before(s.turn) || t == s.turn && s.void {
			return fmt.Errorf("%w: turn %v is over, %v has come", errStaleTurn, t, s.turn)
		}
		l.endTurn(errStaleTurn)
		s.turn, s.void = t, true // a turn stamps once
	}
	if s.pending != nil {
		call.result <- stampResult{entry: s.pending}
		return nil
	}
	s.refuse(fmt.Errorf("%w: turn %v has come again", errStaleTurn, t))
	s.waiting = call
	l.nextStamp(w)
	return nil
}

// endTurn lets the lab go on without what was stamped, whose name is free again.
func (l *lab) endTurn(why error) {
	if p := l.stamps.pending; p != nil {
		delete(l.names.used, inputID(p.GetInput()))
	}
	l.stamps.refuse(why)
	l.note()
}

// nextStamp stamps the input that waits, if it can be.
func (l *lab) nextStamp(w *Worker) {
	if l.split != nil && !l.split.resting() {
		return // how far the round under way goes is not known yet
	}
	c := l.stamps.waiting
	if c == nil {
		return
	}
	l.stamps.waiting = nil
	e, err := l.makeStamp(w, c.input)
	if err == nil {
		l.stamps.pending = e
		l.note()
	}
	c.result <- stampResult{e, err}
}

func (l *lab) makeStamp(w *Worker, in *labv1.Input) (*labv1.JournalEntry, error) {
	_, interrupt := in.GetKind().(*labv1.Input_Interrupt)
	switch {
	case l.ended:
		return nil, l.ending()
	case interrupt == l.standing():
		return nil, fmt.Errorf("%w: a standing lab is deleted, a run is interrupted; a run takes no other input once it has begun", errRefused)
	case len(l.journal) >= maxEntries:
		return nil, fmt.Errorf("%w: the lab has had %d inputs", errFull, maxEntries)
	case l.rebuilding:
		return nil, fmt.Errorf("%w: the lab is being rebuilt", errRefused)
	}
	if err := l.loadInput(w, in); err != nil {
		return nil, err
	}
	if err := l.check(in); err != nil {
		return nil, err
	}
	if err := l.names.assign(in); err != nil {
		return nil, err
	}
	t := l.x.windows.InputTime(l.wallTime())
	e := &labv1.JournalEntry{Index: uint64(len(l.journal)) + 1, TNs: int64(t), Input: in}
	if n := len(journal.Encode(e)); n > journal.MaxLine {
		return nil, fmt.Errorf("%w: an input of %d bytes is more than %d", errFull, n, journal.MaxLine)
	}
	// A full disk is told of now, before the input is promised: a committed one takes effect.
	if err := l.files.journal.Reserve(e); err != nil {
		delete(l.names.used, inputID(in))
		return nil, err
	}
	return e, nil
}

// commit lets the stamped input take effect. A repeated commit does nothing.
func (l *lab) commit(e *labv1.JournalEntry) error {
	if i := e.GetIndex(); i >= 1 && i <= uint64(len(l.journal)) {
		if !bytes.Equal(journal.Encode(l.journal[i-1]), journal.Encode(e)) {
			return fmt.Errorf("%w: another entry %d has been committed", errRefused, i)
		}
		return nil
	}
	if p := l.stamps.pending; p == nil || !bytes.Equal(journal.Encode(p), journal.Encode(e)) {
		return fmt.Errorf("%w: entry %d has not been stamped here", errRefused, e.GetIndex())
	}
	e = proto.Clone(e).(*labv1.JournalEntry)
	if err := l.accept(e); err != nil {
		// The entry is committed: a lab that went on without it would not be the one that its journal tells of. Rebuilt, it
		// has it.
		l.journal = append(l.journal, e)
		l.fail(err)
		return err
	}
	l.stamps.pending = nil
	l.note()
	if l.split == nil {
		l.schedule(l.journal[len(l.journal)-1])
	} else {
		l.split.committed(l.journal[len(l.journal)-1])
	}
	return nil
}

// abandon ends a turn, and those before it: what they stamped and is not committed does not take effect. A repeated one does
// nothing.
func (l *lab) abandon(t turn) {
	if t.before(l.stamps.turn) {
		return // its stamp is gone already, and the one that waits is a later one's
	}
	l.endTurn(errStaleTurn)
	l.stamps.turn, l.stamps.void = t, true
}
