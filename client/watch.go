package client

import (
	"context"
	"errors"

	labv1 "labd.dev/proto/lab/v1"
)

// FollowRecords streams the records of a lab, or of one connection of it, to each, until the lab ends, ctx does, or each
// fails. A broken connection is resumed where it broke. Where labd no longer keeps what follows, because the caller reads
// too slowly or was away for long, missed is told, and the stream begins anew with the oldest record that is kept: it
// holds records again that each has had.
func (c *Client) FollowRecords(ctx context.Context, lab, conn string, missed func(error), each func(*labv1.WatchRecordsResponse) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends a stream that is left half-way
	var after *labv1.RecordPosition
	for {
		err := c.resume(ctx, func(got func()) error {
			stream, err := c.Traces.WatchRecords(ctx, &labv1.WatchRecordsRequest{Lab: lab, Conn: conn, After: after})
			return receive(stream, err, got, func(m *labv1.WatchRecordsResponse) error {
				if m.GetPosition() != nil {
					after = m.GetPosition()
				}
				return each(m)
			})
		})
		var e *Error
		if after == nil || !errors.As(err, &e) || e.Reason != "TOO_OLD" {
			return err
		}
		after = nil
		missed(err)
	}
}

// FollowLabs streams all labs, whole, whenever they have changed.
func (c *Client) FollowLabs(ctx context.Context, each func(*labv1.WatchLabsResponse) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // as above
	return c.resume(ctx, func(got func()) error {
		stream, err := c.Watches.WatchLabs(ctx, &labv1.WatchLabsRequest{})
		return receive(stream, err, got, each)
	})
}

// FollowWorkers streams all workers, whole, whenever they have changed.
func (c *Client) FollowWorkers(ctx context.Context, each func(*labv1.WatchWorkersResponse) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // as above
	return c.resume(ctx, func(got func()) error {
		stream, err := c.Workers.WatchWorkers(ctx, &labv1.WatchWorkersRequest{})
		return receive(stream, err, got, each)
	})
}

// FollowChanges streams what the servers keep: what there is, then each change once, in order, over restarts and changes
// of servers. Where what follows is no longer all kept, because the caller reads too slowly or was away for long, it begins
// anew with what there is, in a message that says snapshot.
func (c *Client) FollowChanges(ctx context.Context, lab string, each func(*labv1.WatchChangesResponse) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // as above
	after := uint64(0)
	for {
		err := c.resume(ctx, func(got func()) error {
			stream, err := c.Watches.WatchChanges(ctx, &labv1.WatchChangesRequest{Lab: lab, AfterIndex: after})
			return receive(stream, err, got, func(m *labv1.WatchChangesResponse) error {
				after = m.GetIndex()
				return each(m)
			})
		})
		var e *Error
		if after == 0 || !errors.As(err, &e) || e.Reason != "TOO_OLD" {
			return err
		}
		after = 0
	}
}

// FollowStatus streams the things of one kind in a lab, whole, whenever they have changed, until the lab ends.
func (c *Client) FollowStatus(ctx context.Context, req *labv1.WatchStatusRequest, each func(*labv1.WatchStatusResponse) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // as above
	return c.resume(ctx, func(got func()) error {
		stream, err := c.Watches.WatchStatus(ctx, req)
		return receive(stream, err, got, each)
	})
}

// receive hands a stream's messages to each until it ends.
func receive[M any](stream interface{ Recv() (M, error) }, err error, got func(), each func(M) error) error {
	for err == nil {
		var m M
		if m, err = stream.Recv(); err == nil {
			got()
			err = each(m)
		}
	}
	return ended(err, true)
}
