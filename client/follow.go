package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	labv1 "labd.dev/proto/lab/v1"
)

const (
	// awayLimit bounds the wait for a labd that was there and no longer is: a restart takes a second or two.
	awayLimit = time.Minute
	// recoverLimit bounds the wait for a lab that is rebuilt, while labd itself answers.
	recoverLimit = 10 * time.Minute
	// maxPause is the longest pause between two tries.
	maxPause = 2 * time.Second
)

// Waiting sets who is told what the client waits for when labd has gone away in the middle of something; with an empty
// text, that the wait is over. Without it the client waits silently. It is set before the first call, and called by whoever
// waits.
func (c *Client) Waiting(tell func(text string)) { c.link.waiting = tell }

// Notices sets who is told what labd lets the caller know besides the answers: that a lab of theirs is about to be stopped,
// because nobody uses it. The same may come with many answers. It is set before the first call.
func (c *Client) Notices(tell func(text string)) { c.link.notices = tell }

func (c *Client) tell(text string) { c.link.tell(text) }

func (l *link) tell(text string) {
	if l.waiting != nil {
		l.waiting(text)
	}
}

// resume carries out watch, and again from its beginning when labd went away and is back, or rebuilds the lab. watch
// calls got for each thing it gets.
func (c *Client) resume(ctx context.Context, watch func(got func()) error) error {
	var away time.Time // since when; zero: it is there
	pause := firstPause
	for {
		err := watch(func() {
			if !away.IsZero() {
				c.tell("")
			}
			away, pause = time.Time{}, firstPause
		})
		text, limit := c.awaited(err)
		if text == "" || ctx.Err() != nil {
			return err
		}
		if away.IsZero() {
			away = time.Now()
			c.tell(text)
		}
		if time.Since(away) > limit {
			return gaveUp(err, limit)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		pause = min(2*pause, maxPause)
	}
}

// gaveUp is an error after which waiting did not help.
func gaveUp(err error, limit time.Duration) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	late := *e
	late.Message = fmt.Sprintf("%s (waited %v for it to come back)", e.Message, limit)
	return &late
}

// awaited says what is worth waiting for after an error, and how long; empty: nothing is. A labd that never answered this
// client is not waited for: it may never have been there.
func (c *Client) awaited(err error) (string, time.Duration) {
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeUnavailable {
		return "", 0
	}
	switch e.Reason {
	case "":
		if e.away && c.link.answered.Load() {
			return fmt.Sprintf("labd at %s is away; waiting up to %v for it to come back", c.link.address(), awayLimit), awayLimit
		}
	case "NO_QUORUM", "NOT_READY":
		return fmt.Sprintf("%s; waiting up to %v", e.Message, awayLimit), awayLimit
	case "NOT_LEADER":
		return fmt.Sprintf("labd at %s is starting; waiting up to %v", c.link.address(), awayLimit), awayLimit
	case "WORKER_AWAY", "NO_WORKER":
		return fmt.Sprintf("%s; waiting up to %v", e.Message, recoverLimit), recoverLimit
	case "LAB_STARTING":
		return fmt.Sprintf("labd at %s rebuilds the lab from its journal; waiting up to %v", c.link.address(), recoverLimit), recoverLimit
	}
	return "", 0
}

// FollowTransfer watches a transfer until it has ended and returns how it did, over restarts of labd. progress, if not
// nil, is told on the way.
func (c *Client) FollowTransfer(ctx context.Context, lab, transfer string, progress func(*labv1.WatchTransferResponse)) (*labv1.TransferStatus, error) {
	var last *labv1.TransferStatus
	err := c.resume(ctx, func(got func()) error {
		stream, err := c.Transfers.WatchTransfer(ctx, &labv1.WatchTransferRequest{Lab: lab, Transfer: transfer})
		for err == nil {
			var m *labv1.WatchTransferResponse
			if m, err = stream.Recv(); err == nil {
				got()
				last = m.GetTransfer()
				if progress != nil {
					progress(m)
				}
			}
		}
		return ended(err, last != nil)
	})
	return last, err
}

// FollowExec watches a command until it has ended and returns its exit code, over restarts of labd. lines gets what it
// prints, each line once.
func (c *Client) FollowExec(ctx context.Context, lab, exec string, lines func([]string)) (int, error) {
	seen, code := 0, 0
	err := c.resume(ctx, func(got func()) error {
		// A watch tells everything from the first line on; a rebuilt lab prints the same lines again.
		at := 0
		stream, err := c.Execs.WatchExec(ctx, &labv1.WatchExecRequest{Lab: lab, Exec: exec})
		for err == nil {
			var m *labv1.WatchExecResponse
			if m, err = stream.Recv(); err == nil {
				got()
				if end := at + len(m.GetLines()); end > seen {
					lines(m.GetLines()[seen-at:])
					seen = end
				}
				at, code = min(at+len(m.GetLines()), seen), int(m.GetExitCode())
			}
		}
		return ended(err, true)
	})
	return code, err
}

// FollowRun watches a run until it has ended and returns how it did, over restarts of labd. progress, if not nil, is told
// on the way.
func (c *Client) FollowRun(ctx context.Context, run string, progress func(*labv1.Run)) (*labv1.Run, error) {
	var last *labv1.Run
	err := c.resume(ctx, func(got func()) error {
		stream, err := c.Runs.WatchRun(ctx, &labv1.WatchRunRequest{Run: run})
		for err == nil {
			var m *labv1.WatchRunResponse
			if m, err = stream.Recv(); err == nil {
				got()
				last = m.GetRun()
				if progress != nil {
					progress(last)
				}
			}
		}
		return ended(err, last != nil)
	})
	return last, err
}

// ended takes the end of a stream that has told something for no error.
func ended(err error, told bool) error {
	if errors.Is(err, io.EOF) && told {
		return nil
	}
	return err
}
