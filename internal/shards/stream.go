package shards

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// made is a stream of messages that are made here. Only Recv and Context are ever called on a worker's stream.
type made[T any] struct {
	grpc.ClientStream
	ctx  context.Context
	next func() (*T, error)
}

func (s *made[T]) Recv() (*T, error)        { return s.next() }
func (s *made[T]) Context() context.Context { return s.ctx }

// open opens a stream of each shard.
func open[T any](c Client, ask func(w workerv1.WorkerServiceClient) (grpc.ServerStreamingClient[T], error)) ([]grpc.ServerStreamingClient[T], error) {
	return all(c, func(_ int, w workerv1.WorkerServiceClient) (grpc.ServerStreamingClient[T], error) { return ask(w) })
}

// firstOf streams from the one shard that has what is asked for: the others answer that they do not.
func firstOf[T any](ctx context.Context, c Client, ask func(ctx context.Context, w workerv1.WorkerServiceClient) (grpc.ServerStreamingClient[T], error)) (grpc.ServerStreamingClient[T], error) {
	var none error
	for _, w := range c {
		asked, cancel := context.WithCancel(ctx)
		s, err := ask(asked, w)
		var m *T
		if err == nil {
			m, err = s.Recv()
		}
		if status.Code(err) == codes.NotFound {
			cancel()
			none = err
			continue
		}
		first := true
		return &made[T]{ctx: ctx, next: func() (*T, error) {
			if first {
				first = false
			} else {
				m, err = s.Recv()
			}
			if err != nil {
				cancel()
			}
			return m, err
		}}, nil
	}
	return nil, none
}

// WatchLab puts together what the shards tell, whenever one of them tells something new.
func (c Client) WatchLab(ctx context.Context, in *workerv1.WatchLabRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[workerv1.WatchLabResponse], error) {
	ctx, cancel := context.WithCancel(ctx)
	streams, err := open(c, func(w workerv1.WorkerServiceClient) (grpc.ServerStreamingClient[workerv1.WatchLabResponse], error) {
		return w.WatchLab(ctx, in, opts...)
	})
	if err != nil {
		cancel()
		return nil, err
	}
	w := &watch{ctx: ctx, latest: make([]*workerv1.WatchLabResponse, len(c)), open: len(c), told: make(chan told)}
	for i, s := range streams {
		go w.read(i, s)
	}
	return &made[workerv1.WatchLabResponse]{ctx: ctx, next: func() (*workerv1.WatchLabResponse, error) {
		m, err := w.next(watchPause)
		if err != nil {
			cancel()
		}
		return m, err
	}}, nil
}

// watchPause is what the shards get to tell of the same moment.
const watchPause = 5 * time.Millisecond

type told struct {
	shard   int
	message *workerv1.WatchLabResponse
	err     error
}

// watch holds what each shard has told last.
type watch struct {
	ctx    context.Context
	latest []*workerv1.WatchLabResponse
	open   int // streams that have not ended
	told   chan told
	last   *workerv1.WatchLabResponse
}

func (w *watch) read(shard int, s grpc.ServerStreamingClient[workerv1.WatchLabResponse]) {
	for {
		m, err := s.Recv()
		select {
		case w.told <- told{shard, m, err}:
		case <-w.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// next waits for news, and a little for those that come with it.
func (w *watch) next(pause time.Duration) (*workerv1.WatchLabResponse, error) {
	for {
		if w.open == 0 {
			return nil, io.EOF
		}
		var more <-chan time.Time
		for waiting := true; waiting; {
			select {
			case t := <-w.told:
				if err := w.take(t); err != nil {
					return nil, err
				}
				if more == nil {
					more = time.After(pause)
				}
				waiting = w.open > 0
			case <-more:
				waiting = false
			case <-w.ctx.Done():
				return nil, status.FromContextError(w.ctx.Err()).Err()
			}
		}
		if m := w.joined(); m != nil && !proto.Equal(m, w.last) {
			w.last = m
			return m, nil
		}
	}
}

func (w *watch) take(t told) error {
	if errors.Is(t.err, io.EOF) {
		w.open--
		return nil
	}
	w.latest[t.shard] = t.message
	return t.err
}

// joined is all that has been told; nil while a shard has told nothing.
func (w *watch) joined() *workerv1.WatchLabResponse {
	for _, m := range w.latest {
		if m == nil {
			return nil
		}
	}
	return &workerv1.WatchLabResponse{
		Progress:  progress(w.latest),
		Transfers: transfers(w.latest),
		Execs:     joined(w.latest, (*workerv1.WatchLabResponse).GetExecs, (*labv1.ExecStatus).GetId, exec),
		Broken:    broken(w.latest),
		RanNs:     ran(w.latest),
	}
}

// Capture streams from the shard that has the interface.
func (c Client) Capture(ctx context.Context, in *workerv1.CaptureRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[workerv1.CaptureResponse], error) {
	return firstOf(ctx, c, func(ctx context.Context, w workerv1.WorkerServiceClient) (grpc.ServerStreamingClient[workerv1.CaptureResponse], error) {
		return w.Capture(ctx, in, opts...)
	})
}

// ReadSaved streams from the shard in which it was received.
func (c Client) ReadSaved(ctx context.Context, in *workerv1.ReadSavedRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[workerv1.ReadSavedResponse], error) {
	return firstOf(ctx, c, func(ctx context.Context, w workerv1.WorkerServiceClient) (grpc.ServerStreamingClient[workerv1.ReadSavedResponse], error) {
		return w.ReadSaved(ctx, in, opts...)
	})
}

// PutBlob sends content to all workers.
func (c Client) PutBlob(ctx context.Context, opts ...grpc.CallOption) (grpc.ClientStreamingClient[workerv1.PutBlobRequest, workerv1.PutBlobResponse], error) {
	streams, err := all(c, func(_ int, w workerv1.WorkerServiceClient) (grpc.ClientStreamingClient[workerv1.PutBlobRequest, workerv1.PutBlobResponse], error) {
		return w.PutBlob(ctx, opts...)
	})
	if err != nil {
		return nil, err
	}
	return &putAll{ctx: ctx, streams: streams}, nil
}

// putAll sends content to several workers.
type putAll struct {
	grpc.ClientStream
	ctx     context.Context
	streams []grpc.ClientStreamingClient[workerv1.PutBlobRequest, workerv1.PutBlobResponse]
}

func (p *putAll) Context() context.Context { return p.ctx }

func (p *putAll) Send(m *workerv1.PutBlobRequest) error {
	for _, s := range p.streams {
		if err := s.Send(m); err != nil {
			return err
		}
	}
	return nil
}

func (p *putAll) CloseAndRecv() (resp *workerv1.PutBlobResponse, err error) {
	for _, s := range p.streams {
		r, e := s.CloseAndRecv()
		if resp == nil {
			resp = r
		}
		err = errors.Join(err, e)
	}
	return resp, err
}
