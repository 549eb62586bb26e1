package shards

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/trace"
)

// ListRunFiles lists the files of the one run directory that ReadRunFile makes of those of all shards.
func (c Client) ListRunFiles(ctx context.Context, in *workerv1.ListRunFilesRequest, opts ...grpc.CallOption) (*workerv1.ListRunFilesResponse, error) {
	answers, err := all(c, func(_ int, w workerv1.WorkerServiceClient) (*workerv1.ListRunFilesResponse, error) {
		return w.ListRunFiles(ctx, in, opts...)
	})
	if err != nil {
		return nil, err
	}
	out := &workerv1.ListRunFilesResponse{}
	seen := map[string]*workerv1.RunFile{}
	for _, a := range answers {
		for _, f := range a.GetFiles() {
			if seen[f.GetPath()] == nil {
				seen[f.GetPath()] = &workerv1.RunFile{Path: f.GetPath(), SizeBytes: f.GetSizeBytes()}
				out.Files = append(out.Files, seen[f.GetPath()])
			}
		}
	}
	slices.SortFunc(out.Files, func(a, b *workerv1.RunFile) int { return strings.Compare(a.GetPath(), b.GetPath()) })
	if f := seen[trace.SummaryFile]; f != nil {
		b, err := c.summary(ctx, in.GetLabId(), opts)
		if err != nil {
			return nil, err
		}
		f.SizeBytes = uint64(len(b))
	}
	if f := seen[trace.EventsFile]; f != nil {
		// A header and an end are there once.
		once, err := c.eventsHeader(ctx, in.GetLabId(), opts)
		if err != nil {
			return nil, err
		}
		if seen[trace.SummaryFile] != nil {
			once += trace.RecordSize
		}
		f.SizeBytes = once
		for _, a := range answers {
			for _, part := range a.GetFiles() {
				if part.GetPath() == trace.EventsFile && part.GetSizeBytes() > once {
					f.SizeBytes += part.GetSizeBytes() - once
				}
			}
		}
	}
	return out, nil
}

// eventsHeader is the length of the header of events.bin: the same in all shards, whose tables of names are the lab's.
func (c Client) eventsHeader(ctx context.Context, labID string, opts []grpc.CallOption) (uint64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	head := make([]byte, 16)
	if _, err := io.ReadFull(c.file(ctx, c.head(), labID, trace.EventsFile, opts), head); err != nil {
		return 0, err
	}
	return uint64(len(head)) + uint64(binary.LittleEndian.Uint32(head[12:])), nil
}

// file reads a file of one shard.
func (c Client) file(ctx context.Context, w workerv1.WorkerServiceClient, labID, path string, opts []grpc.CallOption) io.Reader {
	return &fileReader{open: func() (grpc.ServerStreamingClient[workerv1.ReadRunFileResponse], error) {
		return w.ReadRunFile(ctx, &workerv1.ReadRunFileRequest{LabId: labID, Path: path}, opts...)
	}}
}

// fileReader reads what a stream brings.
type fileReader struct {
	open   func() (grpc.ServerStreamingClient[workerv1.ReadRunFileResponse], error)
	stream grpc.ServerStreamingClient[workerv1.ReadRunFileResponse]
	rest   []byte
}

func (f *fileReader) Read(b []byte) (int, error) {
	if f.stream == nil {
		var err error
		if f.stream, err = f.open(); err != nil {
			return 0, err
		}
	}
	for len(f.rest) == 0 {
		m, err := f.stream.Recv()
		if err != nil {
			return 0, err
		}
		f.rest = m.GetData()
	}
	n := copy(b, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// ReadRunFile streams a file of the run directory that the whole lab has: events are merged, the outcome is put together, a
// capture comes from the shard that has its node, and what all shards have alike comes from the head.
func (c Client) ReadRunFile(ctx context.Context, in *workerv1.ReadRunFileRequest, opts ...grpc.CallOption) (grpc.ServerStreamingClient[workerv1.ReadRunFileResponse], error) {
	switch in.GetPath() {
	case trace.EventsFile:
		return c.readEvents(ctx, in.GetLabId(), opts), nil
	case trace.SummaryFile:
		b, err := c.summary(ctx, in.GetLabId(), opts)
		if err != nil {
			return nil, err
		}
		return &made[workerv1.ReadRunFileResponse]{ctx: ctx, next: func() (*workerv1.ReadRunFileResponse, error) {
			if b == nil {
				return nil, io.EOF
			}
			m := &workerv1.ReadRunFileResponse{Data: b}
			b = nil
			return m, nil
		}}, nil
	}
	return firstOf(ctx, c, func(ctx context.Context, w workerv1.WorkerServiceClient) (grpc.ServerStreamingClient[workerv1.ReadRunFileResponse], error) {
		return w.ReadRunFile(ctx, in, opts...)
	})
}

// readEvents merges events.bin as it is read.
func (c Client) readEvents(ctx context.Context, labID string, opts []grpc.CallOption) grpc.ServerStreamingClient[workerv1.ReadRunFileResponse] {
	ctx, cancel := context.WithCancel(ctx)
	out, failed := make(chan []byte), make(chan error, 1)
	parts := make([]io.Reader, len(c))
	for i, w := range c {
		parts[i] = c.file(ctx, w, labID, trace.EventsFile, opts)
	}
	go func() {
		b := &blocks{send: func(data []byte) error {
			select {
			case out <- data:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		err := eventsFile(parts, b)
		if err == nil {
			err = b.flush()
		}
		if err == nil {
			err = io.EOF
		}
		failed <- err
	}()
	return &made[workerv1.ReadRunFileResponse]{ctx: ctx, next: func() (*workerv1.ReadRunFileResponse, error) {
		select {
		case data := <-out:
			return &workerv1.ReadRunFileResponse{Data: data}, nil
		case err := <-failed:
			cancel()
			return nil, err
		}
	}}
}

// summary puts the outcomes of the shards together.
func (c Client) summary(ctx context.Context, labID string, opts []grpc.CallOption) ([]byte, error) {
	parts, err := all(c, func(_ int, w workerv1.WorkerServiceClient) (*trace.Summary, error) {
		b, err := io.ReadAll(c.file(ctx, w, labID, trace.SummaryFile, opts))
		if err != nil {
			return nil, err
		}
		s := new(trace.Summary)
		return s, json.Unmarshal(b, s)
	})
	if err != nil {
		return nil, err
	}
	whole := *parts[0]
	whole.Transfers = nil
	var lists []*workerv1.GetLabResponse // all of the lab's end
	for _, p := range parts {
		whole.Error = cmp.Or(whole.Error, p.Error)
		list := &workerv1.GetLabResponse{}
		for i := range p.Transfers {
			list.Transfers = append(list.Transfers, statusOf(&p.Transfers[i]))
		}
		lists = append(lists, list)
	}
	for _, t := range transfers(lists) {
		whole.Transfers = append(whole.Transfers, trace.TransferSummary{
			ID: t.Id, Conn: t.Conn, From: t.From, To: t.To, Bytes: t.Bytes, SHA256: t.Sha256, Match: t.Match, StartNs: t.StartNs,
			DurationNs: t.DurationNs, GoodputBps: t.GoodputBps, Retransmits: t.Retransmits, SRTTUs: t.SrttUs, Error: t.Error,
		})
	}
	whole.Normalize()
	return trace.EncodeJSON(&whole)
}

// statusOf is a half of a transfer, from its summary.
func statusOf(t *trace.TransferSummary) *labv1.TransferStatus {
	state := labv1.TransferState_TRANSFER_STATE_RUNNING
	switch {
	case t.Error != "":
		state = labv1.TransferState_TRANSFER_STATE_FAILED
	case t.SHA256 != "":
		state = labv1.TransferState_TRANSFER_STATE_DONE
	}
	return &labv1.TransferStatus{
		Id: t.ID, Conn: t.Conn, From: t.From, To: t.To, State: state, Bytes: t.Bytes, Sha256: t.SHA256, Match: t.Match, StartNs: t.StartNs,
		DurationNs: t.DurationNs, GoodputBps: t.GoodputBps, Retransmits: t.Retransmits, SrttUs: t.SRTTUs, Error: t.Error,
	}
}

// ReadPacket gathers a packet's way from the shards that it has crossed.
func (c Client) ReadPacket(ctx context.Context, in *workerv1.ReadPacketRequest, opts ...grpc.CallOption) (*workerv1.ReadPacketResponse, error) {
	answers, err := all(c, func(_ int, w workerv1.WorkerServiceClient) (*workerv1.ReadPacketResponse, error) {
		r, err := w.ReadPacket(ctx, in, opts...)
		if status.Code(err) == codes.NotFound {
			return nil, nil
		}
		return r, err
	})
	if err != nil {
		return nil, err
	}
	out := &workerv1.ReadPacketResponse{}
	for _, a := range answers {
		out.Hops = append(out.Hops, a.GetHops()...)
	}
	if len(out.Hops) == 0 {
		return nil, status.Errorf(codes.NotFound, "packet %s has not been seen, or not lately", in.GetPacket())
	}
	slices.SortStableFunc(out.Hops, func(a, b *labv1.PacketHop) int {
		return cmp.Or(strings.Compare(a.GetNode(), b.GetNode()), strings.Compare(a.GetInterface(), b.GetInterface()))
	})
	trace.SortHops(out.Hops)
	return out, nil
}
