package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
	h, err := w.held(req.GetLabId())
	if err != nil {
		return grpcError(err)
	}
	t, err := h.openTrace(s.Context())
	if err != nil {
		return grpcError(err)
	}
	defer t.close()
	keeps := func(*sim.Record) bool { return true }
	if req.GetConn() != "" {
		conn, err := t.names.ParseConn(req.GetConn())
		if err != nil {
			return grpcError(fmt.Errorf("%w: %w", errNotFound, err))
		}
		f := trace.NewFilter(conn)
		if err := t.scan(func(r *sim.Record) error { f.Learn(r); return nil }); err != nil {
			return grpcError(err)
		}
		keeps = f.Keeps
	}
	out := recordStream{s: s}
	out.resp.NodeNames, out.resp.DirectionNames = t.names.Nodes, t.names.Directions
	err = t.scan(func(r *sim.Record) error {
		if !keeps(r) {
			return nil
		}
		return out.add(r)
	})
	if err == nil && req.GetConn() != "" && out.sent == 0 && len(out.resp.Records) == 0 {
		err = fmt.Errorf("%w: the trace holds nothing of connection %s", errNotFound, req.GetConn())
	}
	if err == nil {
		err = out.send()
	}
	return grpcError(err)
}

// recordStream sends records in messages of a moderate size.
type recordStream struct {
	s    grpc.ServerStreamingServer[workerv1.ReadTraceResponse]
	resp workerv1.ReadTraceResponse
	sent int // messages
}

func (r *recordStream) add(rec *sim.Record) error {
	r.resp.Records = trace.AppendRecord(r.resp.Records, rec)
	if len(r.resp.Records) < streamBlock {
		return nil
	}
	return r.send()
}

func (r *recordStream) send() error {
	err := r.s.Send(&r.resp)
	r.resp.NodeNames, r.resp.DirectionNames, r.resp.Records = nil, nil, r.resp.Records[:0]
	r.sent++
	return err
}

// labTrace is a lab's records up to now, to be read more than once.
type labTrace struct {
	names *trace.Names
	kept  []sim.Record // a standing lab's
	file  *os.File     // else
}

func (h held) openTrace(ctx context.Context) (*labTrace, error) {
	t := &labTrace{}
	if err := h.flush(ctx); err != nil {
		return nil, err
	}
	if h.lab != nil && h.lab.files.retained != nil {
		return t, h.lab.do(ctx, func() error {
			t.names, t.kept = h.lab.files.names, slices.Clone(h.lab.files.retained.recs)
			return nil
		})
	}
	var err error
	if t.file, err = os.Open(filepath.Join(h.dir, trace.EventsFile)); err != nil {
		return nil, err
	}
	r, err := trace.NewReader(t.file)
	if err != nil {
		return nil, errors.Join(err, t.file.Close())
	}
	t.names = r.Names()
	return t, nil
}

func (t *labTrace) close() {
	if t.file != nil {
		t.file.Close()
	}
}

// scan visits all records.
func (t *labTrace) scan(visit func(*sim.Record) error) error {
	for i := range t.kept {
		if err := visit(&t.kept[i]); err != nil {
			return err
		}
	}
	if t.file == nil {
		return nil
	}
	if _, err := t.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r, err := trace.NewReader(t.file)
	if err != nil {
		return err
	}
	for {
		rec, err := r.Next()
		// A run that goes on may just have written half a record.
		if errors.Is(err, io.EOF) || errors.Is(err, trace.ErrTruncated) {
			return nil
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
	h, err := w.held(req.GetLabId())
	if err != nil {
		return nil, grpcError(err)
	}
	resp := &workerv1.ReadPacketResponse{}
	if h.lab != nil {
		resp.Hops, err = h.lab.findPacket(ctx, req.GetPacket())
	} else if run, e := trace.Open(h.dir); e == nil {
		resp.Hops, err = run.Packet(req.GetPacket())
		if err != nil {
			err = fmt.Errorf("%w: %w", errNotFound, err)
		}
	} else {
		err = fmt.Errorf("%w: %w", errNotFound, e)
	}
	if err != nil {
		return nil, grpcError(err)
	}
	return resp, nil
}

// findPacket tells of a packet on every interface that it has lately crossed.
func (l *lab) findPacket(ctx context.Context, packet string) (hops []*labv1.PacketHop, err error) {
	err = l.do(ctx, func() error {
		pkt, err := l.files.names.ParsePacket(packet)
		if err != nil {
			return fmt.Errorf("%w: %w", errNotFound, err)
		}
		hops = l.files.taps.find(pkt)
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(hops) == 0 {
		return nil, fmt.Errorf("%w: packet %s has not been seen, or not lately", errNotFound, packet)
	}
	return hops, nil
}

// find tells of a packet on every interface that it has lately crossed, in the order of its way.
func (t *taps) find(pkt sim.PacketID) []*labv1.PacketHop {
	var out []*labv1.PacketHop
	t.each(func(p *portTap) error {
		for k := range p.ring.n {
			h := p.ring.at(k)
			if h.pkt != pkt {
				continue
			}
			out = append(out, &labv1.PacketHop{
				TNs: int64(h.t), Node: p.node, Interface: p.ifc, Out: h.out,
				Data: slices.Clone(h.header[:h.n]), Length: h.length, State: h.state,
			})
		}
		return nil
	})
	slices.SortStableFunc(out, func(a, b *labv1.PacketHop) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.Interface, b.Interface))
	})
	trace.SortHops(out)
	return out
}

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
