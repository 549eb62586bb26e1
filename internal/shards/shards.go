// Package shards makes a lab that is split over several workers look like a lab on one: its Client asks each shard for what
// it has and puts the answers together, down to the run directory, whose bytes are those of the lab in one piece.
package shards

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	workerv1 "labd.dev/proto/worker/v1"
)

// Client is the service of the workers that a lab is split over, in the order of its shards, as that of one worker. What
// concerns the lab's time and its inputs goes to the first. It keeps nothing: it may be made anew for every call.
type Client []workerv1.WorkerServiceClient

// head is the worker that paces the lab.
func (c Client) head() workerv1.WorkerServiceClient { return c[0] }

// all asks all shards at once; the first error in their order is told.
func all[T any](c []workerv1.WorkerServiceClient, ask func(i int, w workerv1.WorkerServiceClient) (T, error)) ([]T, error) {
	answers, errs := make([]T, len(c)), make([]error, len(c))
	var asked sync.WaitGroup
	for i, w := range c {
		asked.Go(func() { answers[i], errs[i] = ask(i, w) })
	}
	asked.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// MissingBlobs lists what any of the workers misses.
func (c Client) MissingBlobs(ctx context.Context, in *workerv1.MissingBlobsRequest, opts ...grpc.CallOption) (*workerv1.MissingBlobsResponse, error) {
	answers, err := all(c, func(_ int, w workerv1.WorkerServiceClient) (*workerv1.MissingBlobsResponse, error) {
		return w.MissingBlobs(ctx, in, opts...)
	})
	if err != nil {
		return nil, err
	}
	missing := map[string]bool{}
	for _, a := range answers {
		for _, sum := range a.GetSha256() {
			missing[sum] = true
		}
	}
	out := &workerv1.MissingBlobsResponse{}
	for _, sum := range in.GetSha256() {
		if missing[sum] {
			out.Sha256 = append(out.Sha256, sum)
			delete(missing, sum)
		}
	}
	return out, nil
}

// StartLab starts all shards; if one cannot be, none is left.
func (c Client) StartLab(ctx context.Context, in *workerv1.StartLabRequest, opts ...grpc.CallOption) (*workerv1.StartLabResponse, error) {
	_, err := all(c, func(i int, w workerv1.WorkerServiceClient) (*workerv1.StartLabResponse, error) {
		req := proto.Clone(in).(*workerv1.StartLabRequest)
		req.Shard = uint32(i)
		return w.StartLab(ctx, req, opts...)
	})
	if err != nil {
		undo := &workerv1.StopLabRequest{LabId: in.GetLabId(), Epoch: in.GetEpoch()}
		_, _ = all(c, func(_ int, w workerv1.WorkerServiceClient) (*workerv1.StopLabResponse, error) {
			return w.StopLab(ctx, undo)
		})
		return nil, err
	}
	return &workerv1.StartLabResponse{}, nil
}

// StopLab stops the head first, which ends the lab in all shards at the same lab time.
func (c Client) StopLab(ctx context.Context, in *workerv1.StopLabRequest, opts ...grpc.CallOption) (*workerv1.StopLabResponse, error) {
	stop := func(_ int, w workerv1.WorkerServiceClient) (*workerv1.StopLabResponse, error) {
		r, err := w.StopLab(ctx, in, opts...)
		if status.Code(err) == codes.NotFound {
			err = nil
		}
		return r, err
	}
	_, err := c.head().StopLab(ctx, in, opts...)
	if _, others := all(c[1:], stop); err == nil {
		err = others
	}
	if err != nil {
		return nil, err
	}
	return &workerv1.StopLabResponse{}, nil
}

// StampInput asks the head.
func (c Client) StampInput(ctx context.Context, in *workerv1.StampInputRequest, opts ...grpc.CallOption) (*workerv1.StampInputResponse, error) {
	return c.head().StampInput(ctx, in, opts...)
}

// CommitInput tells the head.
func (c Client) CommitInput(ctx context.Context, in *workerv1.CommitInputRequest, opts ...grpc.CallOption) (*workerv1.CommitInputResponse, error) {
	return c.head().CommitInput(ctx, in, opts...)
}

// AbandonInput tells the head.
func (c Client) AbandonInput(ctx context.Context, in *workerv1.AbandonInputRequest, opts ...grpc.CallOption) (*workerv1.AbandonInputResponse, error) {
	return c.head().AbandonInput(ctx, in, opts...)
}

// ControlClock tells the head.
func (c Client) ControlClock(ctx context.Context, in *workerv1.ControlClockRequest, opts ...grpc.CallOption) (*workerv1.ControlClockResponse, error) {
	return c.head().ControlClock(ctx, in, opts...)
}

// ReplayRun asks the head: a replay is in one piece.
func (c Client) ReplayRun(ctx context.Context, opts ...grpc.CallOption) (grpc.BidiStreamingClient[workerv1.ReplayRunRequest, workerv1.ReplayRunResponse], error) {
	return c.head().ReplayRun(ctx, opts...)
}

// GradeLab asks the head: what is judged is in one piece too.
func (c Client) GradeLab(ctx context.Context, in *workerv1.GradeLabRequest, opts ...grpc.CallOption) (*workerv1.GradeLabResponse, error) {
	return c.head().GradeLab(ctx, in, opts...)
}

// GetReport asks the head: how busy each worker is is asked of it itself.
func (c Client) GetReport(ctx context.Context, in *workerv1.GetReportRequest, opts ...grpc.CallOption) (*workerv1.GetReportResponse, error) {
	return c.head().GetReport(ctx, in, opts...)
}

// SetBounds bounds the head: each worker is told of its own bounds itself.
func (c Client) SetBounds(ctx context.Context, in *workerv1.SetBoundsRequest, opts ...grpc.CallOption) (*workerv1.SetBoundsResponse, error) {
	return c.head().SetBounds(ctx, in, opts...)
}

// ListLabs lists the head's labs: what each worker holds is asked of it itself.
func (c Client) ListLabs(ctx context.Context, in *workerv1.ListLabsRequest, opts ...grpc.CallOption) (*workerv1.ListLabsResponse, error) {
	return c.head().ListLabs(ctx, in, opts...)
}

var _ workerv1.WorkerServiceClient = Client(nil)
