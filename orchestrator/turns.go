package orchestrator

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// A lab waits before the time of an input that has been stamped until it is committed or abandoned. Where a worker's answer
// is lost, or what it is told, the lab must not wait for good, nor may the input take effect twice: so each stamp has a turn
// (workerv1.Turn), which is told to be over until the worker has heard.

// nextTurn is for one more input of a lab.
func (l *leadership) nextTurn(h *hosting) *workerv1.Turn {
	turn := &workerv1.Turn{Term: l.term, Number: l.c.turns.Add(1)}
	l.mu.Lock()
	defer l.mu.Unlock()
	h.turn = turn.GetNumber()
	return turn
}

// turnsSoFar is not before any turn that has been, of this leader or those before.
func (l *leadership) turnsSoFar() *workerv1.Turn {
	return &workerv1.Turn{Term: l.term, Number: l.c.turns.Load()}
}

// stampAndCommit has an input stamped and puts it into the log; the entry is nil if nothing was. The caller holds the gate.
func (l *leadership) stampAndCommit(ctx context.Context, requestID string, h *hosting, in *labv1.Input) (
	*controlv1.RequestOutcome, *labv1.JournalEntry, error) {
	// From the stamp on, the lab waits for the input's fate: a caller that goes away must not leave it waiting.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), workerTimeout)
	defer cancel()
	client, err := l.hosts(h.labID)
	if err != nil {
		return nil, nil, err
	}
	turn := l.nextTurn(h)
	stamp, err := client.StampInput(ctx, &workerv1.StampInputRequest{LabId: h.labID, Epoch: h.epoch, Turn: turn, Input: in})
	if err != nil {
		if unheard(err) {
			l.endTurns(h) // it may have been stamped
		}
		return nil, nil, l.moving(ctx, client, h, err)
	}
	entry := &labv1.JournalEntry{Index: stamp.GetIndex(), TNs: stamp.GetTNs(), Input: stamp.GetInput()}
	res, err := l.c.propose(ctx, requestID, &controlv1.Command{Kind: &controlv1.Command_AppendInput{
		AppendInput: &controlv1.AppendInput{LabId: h.labID, Epoch: h.epoch, Entry: entry}}})
	switch {
	case errors.Is(err, errFateOpen):
		return nil, nil, err // the next leader settles it
	case err != nil || res.repeated:
		if l.endTurn(ctx, client, h, turn) != nil {
			l.endTurns(h)
		}
		return res.outcome, nil, l.moving(ctx, client, h, err)
	}
	return res.outcome, entry, nil
}

// moving tells an error that comes of a lab's being on its way from one worker to another, or back to the same, for what it is: the
// caller may try again. What the lab itself lacks its worker calls not found as well.
func (l *leadership) moving(ctx context.Context, client workerv1.WorkerServiceClient, h *hosting, err error) error {
	var refused *Refusal
	switch code := status.Code(err); {
	case errors.As(err, &refused) && refused.Reason == labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, code == codes.Aborted:
	case code == codes.NotFound:
		if _, there := client.GetLab(ctx, &workerv1.GetLabRequest{LabId: h.labID}); status.Code(there) != codes.NotFound {
			return err
		}
	default:
		return err
	}
	if l.c.store.view().lab(h.labID) == nil { // it is a run, or gone
		return err
	}
	l.reconcileSoon()
	return labMoves()
}

// tell lets an input that is in the log take effect. An error: its worker has not been told, and must not go on without it.
func (l *leadership) tell(h *hosting, entry *labv1.JournalEntry) error {
	ctx, cancel := context.WithTimeout(l.ctx, workerTimeout)
	defer cancel()
	return l.untilHeard(ctx, h, func(client workerv1.WorkerServiceClient) error {
		_, err := client.CommitInput(ctx, &workerv1.CommitInputRequest{LabId: h.labID, Epoch: h.epoch, Entry: entry})
		return err
	})
}

// unheard tells whether nobody knows if a worker has done what it was asked for.
func unheard(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return true
	}
	var refused *Refusal
	return errors.As(err, &refused) && refused.Reason == labv1.ErrorReason_ERROR_REASON_WORKER_AWAY
}

// untilHeard asks a lab's worker again and again, until it has answered or the lab has a newer epoch: what is built under
// that has all that is in the log and nothing else.
func (l *leadership) untilHeard(ctx context.Context, h *hosting, ask func(workerv1.WorkerServiceClient) error) error {
	for {
		client, err := l.hosts(h.labID)
		if err == nil {
			err = ask(client)
		}
		if !unheard(err) {
			return err
		}
		pause(ctx, retryPause/10)
		select {
		case <-h.over:
			return nil
		case <-ctx.Done():
			return err
		default:
		}
	}
}

func (l *leadership) endTurn(ctx context.Context, client workerv1.WorkerServiceClient, h *hosting, turn *workerv1.Turn) error {
	_, err := client.AbandonInput(ctx, &workerv1.AbandonInputRequest{LabId: h.labID, Epoch: h.epoch, Turn: turn})
	return err
}

// endTurns has the turns so far end, as soon as the lab's worker can be told.
func (l *leadership) endTurns(h *hosting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.void = h.turn
	if h.ending {
		return // it is being told already, and of these next
	}
	h.ending = true
	l.tasks.Go(func() {
		for more := true; more; {
			turn := l.turnToEnd(h)
			// Another answer than that it was done says that the lab is gone from there, or has another epoch.
			_ = l.untilHeard(l.ctx, h, func(client workerv1.WorkerServiceClient) error { return l.endTurn(l.ctx, client, h, turn) })
			more = l.endsMore(h, turn)
		}
	})
}

func (l *leadership) turnToEnd(h *hosting) *workerv1.Turn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &workerv1.Turn{Term: l.term, Number: h.void}
}

// endsMore tells whether further turns are to be ended than one that was.
func (l *leadership) endsMore(h *hosting, ended *workerv1.Turn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h.ending = h.void != ended.GetNumber() && l.ctx.Err() == nil
	return h.ending
}

// rebuild gives a lab away under a new epoch, whatever its workers do.
func (l *leadership) rebuild(t target) {
	for l.ctx.Err() == nil {
		workers := l.c.store.view().workersOf(t.labID)
		if err := l.assign(action{labID: t.labID, epoch: t.epoch}, workers, 0); err == nil {
			l.reconcileSoon()
			return
		}
		pause(l.ctx, retryPause)
	}
}
