package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"labd.dev/journal"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// stamps holds the one input that has its time and waits to be committed, and those that wait for their turn. One at a
// time, so that an abandoned one leaves no gap in the journal.
type stamps struct {
	pending *labv1.JournalEntry
	queue   []*stampCall
}

type stampCall struct {
	ctx    context.Context
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

// refuse answers everyone who waits.
func (s *stamps) refuse(err error) {
	for _, c := range s.queue {
		c.result <- stampResult{err: err}
	}
	s.queue, s.pending = nil, nil
}

// stamp gives an input its index, its time and its name, and holds the lab before that time.
func (l *lab) stamp(ctx context.Context, w *Worker, in *labv1.Input) (*labv1.JournalEntry, error) {
	if l.split != nil && !l.split.head() {
		return nil, errNotHead
	}
	call := &stampCall{ctx: ctx, input: proto.Clone(in).(*labv1.Input), result: make(chan stampResult, 1)}
	err := l.do(ctx, func() error {
		if len(l.stamps.queue) >= maxQueued {
			return fmt.Errorf("%w: %d inputs wait for this lab", errFull, maxQueued)
		}
		l.stamps.queue = append(l.stamps.queue, call)
		l.nextStamp(w)
		return nil
	})
	if err != nil {
		return nil, err
	}
	select {
	case r := <-call.result:
		return r.entry, r.err
	case <-l.done:
		return nil, l.stopped()
	case <-ctx.Done():
		// Whoever asked is gone. Had the stamp been given meanwhile, nobody would commit it.
		err := l.do(context.WithoutCancel(ctx), func() error { l.withdraw(w, call); return nil })
		return nil, errors.Join(ctx.Err(), err)
	}
}

func (l *lab) withdraw(w *Worker, call *stampCall) {
	select {
	case r := <-call.result:
		if r.entry != nil {
			l.abandon(w, r.entry.GetIndex())
		}
	default:
		keep := l.stamps.queue[:0]
		for _, c := range l.stamps.queue {
			if c != call {
				keep = append(keep, c)
			}
		}
		l.stamps.queue = keep
	}
}

// nextStamp stamps the next input in the queue that can be.
func (l *lab) nextStamp(w *Worker) {
	if l.split != nil && !l.split.resting() {
		return // how far the round under way goes is not known yet
	}
	for l.stamps.pending == nil && len(l.stamps.queue) > 0 {
		c := l.stamps.queue[0]
		l.stamps.queue = l.stamps.queue[1:]
		if c.ctx.Err() != nil {
			c.result <- stampResult{err: c.ctx.Err()}
			continue
		}
		e, err := l.makeStamp(w, c.input)
		if err == nil {
			l.stamps.pending = e
			l.note()
		}
		c.result <- stampResult{e, err}
	}
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
func (l *lab) commit(w *Worker, e *labv1.JournalEntry) error {
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
	l.nextStamp(w)
	return nil
}

// abandon lets the lab go on without the stamped input, whose name is free again. A repeated one does nothing.
func (l *lab) abandon(w *Worker, index uint64) {
	if p := l.stamps.pending; p != nil && p.GetIndex() == index {
		delete(l.names.used, inputID(p.GetInput()))
		l.stamps.pending = nil
		l.note()
		l.nextStamp(w)
	}
}
