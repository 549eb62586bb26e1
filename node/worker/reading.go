package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"google.golang.org/grpc"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
	"labd.dev/trace"
)

// ReadTrace implements the service.
func (w *Worker) ReadTrace(req *workerv1.ReadTraceRequest, s grpc.ServerStreamingServer[workerv1.ReadTraceResponse]) error {
	l, err := w.lab(req.GetLabId())
	if err != nil {
		return grpcError(err)
	}
	var conn sim.ConnID
	if req.GetConn() != "" {
		if conn, err = l.files.names.ParseConn(req.GetConn()); err != nil {
			return grpcError(fmt.Errorf("%w: %w", errBadRequest, err))
		}
	}
	out := recordStream{s: s, conn: conn}
	out.resp.NodeNames, out.resp.DirectionNames = l.files.names.Nodes, l.files.names.Directions
	return grpcError(l.records(s.Context(), out.add, out.send))
}

// recordStream sends records in messages of a moderate size.
type recordStream struct {
	s       grpc.ServerStreamingServer[workerv1.ReadTraceResponse]
	conn    sim.ConnID // 0: all
	resp    workerv1.ReadTraceResponse
	matched bool // the last record was the connection's
}

func (r *recordStream) add(rec *sim.Record) error {
	if rec.Kind != sim.KindMore {
		r.matched = r.conn == 0 || rec.Conn == r.conn
	}
	if r.matched {
		r.resp.Records = trace.AppendRecord(r.resp.Records, rec)
	}
	if len(r.resp.Records) < streamBlock {
		return nil
	}
	return r.send()
}

func (r *recordStream) send() error {
	err := r.s.Send(&r.resp)
	r.resp.NodeNames, r.resp.DirectionNames, r.resp.Records = nil, nil, r.resp.Records[:0]
	return err
}

// records visits all that has been recorded, then calls done.
func (l *lab) records(ctx context.Context, visit func(*sim.Record) error, done func() error) error {
	var kept []sim.Record
	err := l.do(ctx, func() error {
		if l.files.retained != nil {
			kept = slices.Clone(l.files.retained.recs)
			return nil
		}
		return l.files.flush()
	})
	if err != nil {
		return err
	}
	for i := range kept {
		if err := visit(&kept[i]); err != nil {
			return err
		}
	}
	if l.files.retained != nil {
		return done()
	}
	f, err := os.Open(l.path(trace.EventsFile))
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := trace.NewReader(f)
	if err != nil {
		return err
	}
	for {
		rec, err := r.Next()
		// A run that goes on may just have written half a record.
		if errors.Is(err, io.EOF) || errors.Is(err, trace.ErrTruncated) {
			return done()
		}
		if err == nil {
			err = visit(&rec)
		}
		if err != nil {
			return err
		}
	}
}

// ReadPacket implements the service.
func (w *Worker) ReadPacket(ctx context.Context, req *workerv1.ReadPacketRequest) (*workerv1.ReadPacketResponse, error) {
	l, err := w.lab(req.GetLabId())
	if err != nil {
		return nil, grpcError(err)
	}
	pkt, err := l.files.names.ParsePacket(req.GetPacket())
	if err != nil {
		return nil, grpcError(fmt.Errorf("%w: %w", errBadRequest, err))
	}
	resp := &workerv1.ReadPacketResponse{}
	err = l.do(ctx, func() error { resp.Hops = l.files.taps.find(pkt); return nil })
	if err == nil && len(resp.Hops) == 0 {
		err = fmt.Errorf("%w: packet %s has not been seen, or not lately", errNotFound, req.GetPacket())
	}
	if err != nil {
		return nil, grpcError(err)
	}
	return resp, nil
}

// find tells of a packet on every interface that it has lately crossed, in the order of time, at one time in the order of
// the way.
func (t *taps) find(pkt sim.PacketID) []*labv1.PacketHop {
	var out []*labv1.PacketHop
	for i := range t.ports {
		for j := range t.ports[i] {
			r := &t.ports[i][j].ring
			for k := range r.hops {
				h := &r.hops[(r.next+k)%len(r.hops)]
				if h.pkt != pkt {
					continue
				}
				out = append(out, &labv1.PacketHop{
					TNs: int64(h.t), Node: t.plan.Nodes[i].Name, Interface: t.plan.Nodes[i].Interfaces[j].Name, Out: h.out,
					Data: slices.Clone(h.header[:h.n]), Length: h.length, State: h.state,
				})
			}
		}
	}
	// A router receives before it sends, and sends at the same instant.
	slices.SortStableFunc(out, func(a, b *labv1.PacketHop) int {
		switch {
		case a.TNs != b.TNs:
			return int(min(max(a.TNs-b.TNs, -1), 1))
		case a.Out == b.Out:
			return 0
		case b.Out:
			return -1
		}
		return 1
	})
	return out
}

// path is where a file of the lab's run directory lies.
func (l *lab) path(name string) string { return l.files.dir.Path() + "/" + name }

// ListRunFiles implements the service.
func (w *Worker) ListRunFiles(ctx context.Context, req *workerv1.ListRunFilesRequest) (*workerv1.ListRunFilesResponse, error) {
	dir, err := w.runDir(ctx, req.GetLabId())
	if err != nil {
		return nil, grpcError(err)
	}
	resp := &workerv1.ListRunFilesResponse{}
	err = fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".tmp") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		resp.Files = append(resp.Files, &workerv1.RunFile{Path: path, SizeBytes: uint64(info.Size())})
		return nil
	})
	return resp, grpcError(err)
}

// ReadRunFile implements the service.
func (w *Worker) ReadRunFile(req *workerv1.ReadRunFileRequest, s grpc.ServerStreamingServer[workerv1.ReadRunFileResponse]) error {
	return grpcError(w.stream(s.Context(), req.GetLabId(), req.GetPath(), func(b []byte) error {
		return s.Send(&workerv1.ReadRunFileResponse{Data: b})
	}))
}

// ReadSaved implements the service.
func (w *Worker) ReadSaved(req *workerv1.ReadSavedRequest, s grpc.ServerStreamingServer[workerv1.ReadSavedResponse]) error {
	if !idName.MatchString(req.GetTransfer()) {
		return grpcError(fmt.Errorf("%w: transfer id %q", errBadRequest, req.GetTransfer()))
	}
	return grpcError(w.stream(s.Context(), req.GetLabId(), savedDir+"/"+req.GetTransfer(), func(b []byte) error {
		return s.Send(&workerv1.ReadSavedResponse{Data: b})
	}))
}

// stream sends a file of a lab's run directory, and nothing from outside it.
func (w *Worker) stream(ctx context.Context, id, path string, send func([]byte) error) error {
	dir, err := w.runDir(ctx, id)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := root.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: the lab has no %s", errNotFound, path)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errBadRequest, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return errors.Join(fmt.Errorf("%w: %s is not a file", errBadRequest, path), err)
	}
	buf := make([]byte, streamBlock)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			if err := send(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
