package shards

import (
	"bytes"
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
	"labd.dev/trace"
)

// recordBlock is how many bytes of records a message holds, as a worker's do.
const recordBlock = 256 << 10

// source is one shard's records, in their order.
type source struct {
	read func() ([]sim.Record, error) // the next; io.EOF after the last
	recs []sim.Record
	done bool
}

// first is the next record; nil after the last.
func (s *source) first() (*sim.Record, error) {
	for len(s.recs) == 0 && !s.done {
		recs, err := s.read()
		switch {
		case errors.Is(err, io.EOF):
			s.done = true
		case err != nil:
			return nil, err
		default:
			s.recs = recs
		}
	}
	if len(s.recs) == 0 {
		return nil, nil
	}
	return &s.recs[0], nil
}

// merge visits the records of all shards in the total order (t, node, eseq). A node is in one shard, and what continues a
// record follows it there.
func merge(sources []*source, visit func(*sim.Record) error) error {
	for {
		var from *source
		var next *sim.Record
		for _, s := range sources {
			r, err := s.first()
			if err != nil {
				return err
			}
			if r != nil && (next == nil || trace.Before(r, next)) {
				from, next = s, r
			}
		}
		if from == nil {
			return nil
		}
		for {
			if err := visit(next); err != nil {
				return err
			}
			from.recs = from.recs[1:]
			var err error
			if next, err = from.first(); err != nil {
				return err
			}
			if next == nil || next.Kind != sim.KindMore {
				break
			}
		}
	}
}

// records opens all records of all shards.
func (c Client) records(ctx context.Context, labID string, opts []grpc.CallOption) (names *workerv1.ReadTraceResponse, sources []*source, err error) {
	streams, err := open(c, func(w workerv1.WorkerServiceClient) (grpc.ServerStreamingClient[workerv1.ReadTraceResponse], error) {
		return w.ReadTrace(ctx, &workerv1.ReadTraceRequest{LabId: labID}, opts...)
	})
	if err != nil {
		return nil, nil, err
	}
	for i, s := range streams {
		m, err := s.Recv()
		if err != nil {
			return nil, nil, err
		}
		if i == 0 {
			names = &workerv1.ReadTraceResponse{NodeNames: m.GetNodeNames(), DirectionNames: m.GetDirectionNames()}
		}
		sources = append(sources, &source{read: func() ([]sim.Record, error) {
			var err error
			if m == nil {
				if m, err = s.Recv(); err != nil {
					return nil, err
				}
			}
			recs, err := trace.DecodeRecords(m.GetRecords())
			m = nil
			return recs, err
		}})
	}
	return names, sources, nil
}

// ReadTrace merges the records of all shards. Which are of a connection is found out here: what gives it a second name may
// be in another shard than what bears it.
func (c Client) ReadTrace(ctx context.Context, in *workerv1.ReadTraceRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[workerv1.ReadTraceResponse], error) {
	ctx, cancel := context.WithCancel(ctx)
	keeps, err := c.filter(ctx, in, opts)
	if err != nil {
		cancel()
		return nil, err
	}
	names, sources, err := c.records(ctx, in.GetLabId(), opts)
	if err != nil {
		cancel()
		return nil, err
	}
	out := make(chan *workerv1.ReadTraceResponse)
	failed := make(chan error, 1)
	go func() {
		send := func(m *workerv1.ReadTraceResponse) error {
			select {
			case out <- m:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		m, kept := names, false
		err := merge(sources, func(r *sim.Record) error {
			if !keeps(r) {
				return nil
			}
			kept = true
			if m.Records = trace.AppendRecord(m.Records, r); len(m.Records) < recordBlock {
				return nil
			}
			full := m
			m = &workerv1.ReadTraceResponse{}
			return send(full)
		})
		if err == nil && in.GetConn() != "" && !kept {
			err = status.Errorf(codes.NotFound, "the trace holds nothing of connection %s", in.GetConn())
		}
		if err == nil {
			err = send(m)
		}
		if err == nil {
			err = io.EOF
		}
		failed <- err
	}()
	return &made[workerv1.ReadTraceResponse]{ctx: ctx, next: func() (*workerv1.ReadTraceResponse, error) {
		select {
		case m := <-out:
			return m, nil
		case err := <-failed:
			cancel()
			return nil, err
		}
	}}, nil
}

// filter reads the whole trace once for a connection's names.
func (c Client) filter(ctx context.Context, in *workerv1.ReadTraceRequest, opts []grpc.CallOption) (func(*sim.Record) bool, error) {
	if in.GetConn() == "" {
		return func(*sim.Record) bool { return true }, nil
	}
	names, sources, err := c.records(ctx, in.GetLabId(), opts)
	if err != nil {
		return nil, err
	}
	conn, err := (&trace.Names{Nodes: names.GetNodeNames(), Directions: names.GetDirectionNames()}).ParseConn(in.GetConn())
	if err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	f := trace.NewFilter(conn)
	return f.Keeps, merge(sources, func(r *sim.Record) error { f.Learn(r); return nil })
}

// FollowTrace merges what the shards' followers are given, as far as all of them have come.
func (c Client) FollowTrace(ctx context.Context, in *workerv1.FollowTraceRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[workerv1.FollowTraceResponse], error) {
	ctx, cancel := context.WithCancel(ctx)
	ask := &workerv1.FollowTraceRequest{LabId: in.GetLabId(), After: in.GetAfter()}
	streams, err := open(c, func(w workerv1.WorkerServiceClient) (grpc.ServerStreamingClient[workerv1.FollowTraceResponse], error) {
		return w.FollowTrace(ctx, ask, opts...)
	})
	if err != nil {
		cancel()
		return nil, err
	}
	f := &follow{ctx: ctx, conn: in.GetConn(), shards: make([]followed, len(c)), open: len(c), told: make(chan followTold)}
	for i, s := range streams {
		go f.read(i, s)
	}
	return &made[workerv1.FollowTraceResponse]{ctx: ctx, next: func() (*workerv1.FollowTraceResponse, error) {
		m, err := f.next()
		if err != nil {
			cancel()
		}
		return m, err
	}}, nil
}

type followTold struct {
	shard   int
	message *workerv1.FollowTraceResponse
	err     error
}

// followed is what one shard has told and has not been given on.
type followed struct {
	recs []sim.Record
	now  sim.Time // all records before it are there
	done bool
}

// follow merges followed shards.
type follow struct {
	ctx    context.Context
	conn   string
	filter *trace.Filter
	shards []followed
	open   int
	told   chan followTold
	names  *workerv1.FollowTraceResponse // with the newest names, while they have not been given on
	now    sim.Time                      // given on
}

func (f *follow) read(shard int, s grpc.ServerStreamingClient[workerv1.FollowTraceResponse]) {
	for {
		m, err := s.Recv()
		select {
		case f.told <- followTold{shard, m, err}:
		case <-f.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// next waits until all shards have come further.
func (f *follow) next() (*workerv1.FollowTraceResponse, error) {
	for {
		if f.open == 0 && f.now == sim.Never {
			return nil, io.EOF
		}
		select {
		case t := <-f.told:
			if err := f.take(t); err != nil {
				return nil, err
			}
		case <-f.ctx.Done():
			return nil, status.FromContextError(f.ctx.Err()).Err()
		}
		if m, err := f.ready(); m != nil || err != nil {
			return m, err
		}
	}
}

func (f *follow) take(t followTold) error {
	s := &f.shards[t.shard]
	if errors.Is(t.err, io.EOF) {
		s.done, s.now = true, sim.Never
		f.open--
		return nil
	}
	if t.err != nil {
		return t.err
	}
	recs, err := trace.DecodeRecords(t.message.GetRecords())
	if err != nil {
		return err
	}
	s.recs = append(s.recs, recs...)
	s.now = max(s.now, sim.Time(t.message.GetNowNs()))
	if n := t.message; len(n.GetNodeNames()) > 0 {
		f.names = &workerv1.FollowTraceResponse{NodeNames: n.GetNodeNames(), DirectionNames: n.GetDirectionNames()}
	}
	return nil
}

// ready is what can be given on: all before the time that every shard has come to.
func (f *follow) ready() (*workerv1.FollowTraceResponse, error) {
	now := sim.Never
	for i := range f.shards {
		now = min(now, f.shards[i].now)
	}
	if now <= f.now && f.names == nil {
		return nil, nil
	}
	m := f.names
	if m == nil {
		m = &workerv1.FollowTraceResponse{}
	}
	f.names, f.now = nil, max(f.now, now)
	m.NowNs = int64(f.now)
	if f.conn != "" && f.filter == nil {
		conn, err := (&trace.Names{Nodes: m.GetNodeNames(), Directions: m.GetDirectionNames()}).ParseConn(f.conn)
		if err != nil {
			return nil, status.Error(codes.NotFound, err.Error())
		}
		f.filter = trace.NewFilter(conn)
	}
	var sources []*source
	for i := range f.shards {
		s := &f.shards[i]
		n := 0
		for n < len(s.recs) && (s.recs[n].T < now || s.recs[n].Kind == sim.KindMore) {
			n++
		}
		sources = append(sources, &source{recs: s.recs[:n:n], done: true})
		s.recs = s.recs[n:]
	}
	var last *sim.Record
	err := merge(sources, func(r *sim.Record) error {
		last = r
		if f.filter != nil {
			f.filter.Learn(r)
			if !f.filter.Keeps(r) {
				return nil
			}
		}
		m.Records = trace.AppendRecord(m.Records, r)
		return nil
	})
	if last != nil {
		m.Position = &labv1.RecordPosition{TNs: int64(last.T), Node: last.Node, Eseq: last.ESeq}
	}
	return m, err
}

// eventsFile merges the shards' events.bin, each read from its beginning, into one.
func eventsFile(parts []io.Reader, out io.Writer) error {
	var w *trace.Writer
	var sources []*source
	complete := true
	var readers []*trace.Reader
	for _, p := range parts {
		r, err := trace.NewReader(p)
		if err != nil {
			return err
		}
		if w == nil {
			if w, err = trace.NewWriter(out, *r.Names()); err != nil {
				return err
			}
		}
		readers = append(readers, r)
		sources = append(sources, &source{read: func() ([]sim.Record, error) {
			rec, err := r.Next()
			if errors.Is(err, trace.ErrTruncated) { // a run that goes on
				err = io.EOF
			}
			return []sim.Record{rec}, err
		}})
	}
	err := merge(sources, func(r *sim.Record) error { return w.Write([]sim.Record{*r}) })
	for _, r := range readers {
		complete = complete && r.Complete()
	}
	switch {
	case err != nil:
		return err
	case !complete:
		return w.Flush()
	}
	return w.Close()
}

// blocks is a writer whose bytes come out as messages.
type blocks struct {
	buf  bytes.Buffer
	send func([]byte) error
}

func (b *blocks) Write(p []byte) (int, error) {
	b.buf.Write(p)
	if b.buf.Len() < recordBlock {
		return len(p), nil
	}
	return len(p), b.flush()
}

func (b *blocks) flush() error {
	if b.buf.Len() == 0 {
		return nil
	}
	err := b.send(bytes.Clone(b.buf.Bytes()))
	b.buf.Reset()
	return err
}
