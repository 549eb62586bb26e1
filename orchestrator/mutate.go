package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

const (
	// maxRequestID bounds a request id; a UUID has 36 characters.
	maxRequestID = 64
	// pushBytes is how much of a file goes to the worker in one message.
	pushBytes = 256 << 10
)

func checkRequestID(id string) error {
	if id == "" || len(id) > maxRequestID {
		return invalid("request_id", "it must have 1 to %d characters", maxRequestID)
	}
	return nil
}

// target is the lab or the run that an input is for.
type target struct {
	labID string
	epoch uint64
}

// giveInput journals an input and lets it take effect: the worker stamps it, the stamped input is committed in Raft, and
// then the worker goes on with it. The lab's inputs go this way one at a time, so that an abandoned stamp leaves no gap
// in the journal.
func (l *leadership) giveInput(ctx context.Context, requestID string, t target, in *labv1.Input) (*controlv1.RequestOutcome, error) {
	host, err := l.running(t.labID, t.epoch)
	if err != nil {
		return nil, err
	}
	for _, name := range l.c.store.view().workersOf(t.labID) {
		client, err := l.fleet.client(name)
		if err != nil {
			return nil, err
		}
		if err := l.c.pushFiles(ctx, client, inputFiles(in)); err != nil {
			return nil, err
		}
	}
	select {
	case <-host.gate:
	case <-host.over:
		return nil, labMoves()
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.ctx.Done():
		return nil, notLeading()
	}
	lost := false
	defer func() {
		if !lost { // else nothing more is stamped under this epoch
			host.gate <- struct{}{}
		}
	}()
	if l.ctx.Err() != nil || !l.inputs.begin() {
		return nil, notLeading()
	}
	defer l.inputs.done()
	if past, err := l.c.pastRequest(ctx, requestID, "append_input"); past != nil || err != nil {
		return past, err
	}
	outcome, entry, err := l.stampAndCommit(ctx, requestID, host, in)
	if entry != nil {
		if told := l.tell(host, entry); told != nil && l.ctx.Err() == nil {
			// It is journaled, and so it takes effect: where the lab is now, or where its journal is replayed.
			l.c.log.Warn("a journaled input did not get to its worker; the lab is rebuilt", "lab", t.labID, "input", entry.GetIndex(), "error", told)
			lost = true
			l.tasks.Go(func() { l.rebuild(t) })
		}
	}
	return outcome, err
}

// underWay are those who have begun something, which somebody who ends it waits for.
type underWay struct {
	mu    sync.Mutex // guards over
	over  bool
	count sync.WaitGroup
}

// begin lets one more in; false: it is over.
func (u *underWay) begin() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.over {
		u.count.Add(1)
	}
	return !u.over
}

func (u *underWay) done() { u.count.Done() }

// end lets none in any more, and waits for those that are.
func (u *underWay) end() {
	u.mu.Lock()
	u.over = true
	u.mu.Unlock()
	u.count.Wait()
}

func labMoves() error {
	return refuse(labv1.ErrorReason_ERROR_REASON_LAB_STARTING, "the lab has just been given to another worker, which rebuilds it from its journal; try again soon")
}

// requestKey is a caller's request id as the state machine knows it: two people may choose the same.
func requestKey(ctx context.Context, requestID string) string {
	if by := auth.CallerOf(ctx).Person; by != "" && requestID != "" {
		return by + "/" + requestID
	}
	return requestID
}

// pastRequest finds what a request came to when it was carried out before; nil if it was not.
func (c *Controller) pastRequest(ctx context.Context, requestID, kind string) (*controlv1.RequestOutcome, error) {
	past := c.store.view().request(requestKey(ctx, requestID), 0)
	if past == nil {
		return nil, nil
	}
	res := repeated(past, kind)
	if res.refused != nil {
		return nil, res.refused
	}
	learnt(ctx)
	return res.outcome, nil
}

// pushFiles sees to it that a worker holds content before anything that names it is given to it.
func (c *Controller) pushFiles(ctx context.Context, worker workerv1.WorkerServiceClient, files []*labv1.FileRef) error {
	if len(files) == 0 {
		return nil
	}
	if refused := c.store.view().lacks("", nil, files); refused != nil {
		return refused
	}
	ask := &workerv1.MissingBlobsRequest{}
	for _, f := range files {
		ask.Sha256 = append(ask.Sha256, f.GetSha256())
	}
	missing, err := worker.MissingBlobs(ctx, ask)
	if err != nil {
		return fmt.Errorf("ask the worker for missing files: %w", err)
	}
	for _, sum := range missing.GetSha256() {
		if err := c.pushFile(ctx, worker, sum); err != nil {
			return fmt.Errorf("give file %s to the worker: %w", sum, err)
		}
	}
	return nil
}

func (c *Controller) pushFile(ctx context.Context, worker workerv1.WorkerServiceClient, sum string) error {
	f, err := c.openFile(ctx, sum)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream if it is left half-way
	stream, err := worker.PutBlob(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&workerv1.PutBlobRequest{Sha256: sum}); err != nil {
		return streamError(stream, err)
	}
	buf := make([]byte, pushBytes)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			if err := stream.Send(&workerv1.PutBlobRequest{Data: buf[:n]}); err != nil {
				return streamError(stream, err)
			}
		}
		if err == io.EOF {
			_, err := stream.CloseAndRecv()
			return err
		}
		if err != nil {
			return storageError(err)
		}
	}
}

// streamError is why a stream broke: Send itself only says that it did.
func streamError(stream interface {
	CloseAndRecv() (*workerv1.PutBlobResponse, error)
}, err error) error {
	if errors.Is(err, io.EOF) {
		_, err = stream.CloseAndRecv()
	}
	return err
}

// hasEnded tells whether a worker's error says that a run had ended before an input could be stamped.
func hasEnded(err error) bool {
	return status.Code(err) == codes.FailedPrecondition
}
