package worker

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
	"labd.dev/trace"
)

const (
	// followEvery is how late a follower hears of records at most: what a person takes for at once.
	followEvery = 20 * time.Millisecond
	// followBlock is how many records are copied out of a lab at a time, some 30 us in its goroutine.
	followBlock = 4096
)

// follower reads a standing lab's records behind a position. It pulls them out of what the lab keeps anyway: that is the
// buffer, and its bound. The lab does nothing for a follower, so that one that reads slowly, or not at all, holds up
// nobody; when what it has not read is gone, it is cut off.
type follower struct {
	l       *lab
	after   *sim.Record // nil: from the oldest record
	filter  *trace.Filter
	conn    string
	nodes   int // names that were sent
	dirs    int
	through sim.Time // what was sent reaches to here
	first   bool
}

// FollowTrace implements the service.
func (w *Worker) FollowTrace(req *workerv1.FollowTraceRequest, s grpc.ServerStreamingServer[workerv1.FollowTraceResponse]) error {
	l, err := w.lab(req.GetLabId())
	if err == nil && l.files.retained == nil {
		err = fmt.Errorf("%w: a run is not followed; its trace can be read", errRefused)
	}
	if err != nil {
		return grpcError(err)
	}
	f := &follower{l: l, conn: req.GetConn(), first: true}
	if p := req.GetAfter(); p != nil {
		f.after = &sim.Record{T: sim.Time(p.GetTNs()), Node: p.GetNode(), ESeq: p.GetEseq()}
	}
	return grpcError(f.follow(s))
}

func (f *follower) follow(s grpc.ServerStreamingServer[workerv1.FollowTraceResponse]) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		var p pulled
		if err := f.l.do(s.Context(), func() (err error) { p, err = f.pull(); return err }); err != nil {
			return err
		}
		if m := f.message(&p); m != nil {
			if err := s.Send(m); err != nil {
				return err
			}
		}
		if p.more {
			continue
		}
		if p.ended {
			return nil
		}
		for waiting := true; waiting; waiting = f.l.files.through.Load() == int64(p.through) {
			select {
			case <-tick.C:
				continue
			case <-f.l.overC:
			case <-f.l.done:
			case <-s.Context().Done():
				return s.Context().Err()
			}
			break
		}
	}
}

// pulled is what a follower has taken out of a lab.
type pulled struct {
	recs       []sim.Record
	more       bool     // there are more
	ended      bool     // the lab has ended
	through    sim.Time // every record before this is in here, or was before
	nodes      []string // names, where they have changed
	directions []string
}

// pull takes the next records. It runs in the lab's goroutine.
func (f *follower) pull() (p pulled, err error) {
	kept := f.l.files.retained
	start := 0
	if f.after != nil {
		if kept.lostBehind(f.after) {
			return p, fmt.Errorf("%w: the records behind %d ns are no longer all kept: this lab keeps %d of them; read faster, or give the lab a larger `retention`",
				errTooOld, int64(f.after.T), kept.limit)
		}
		start = kept.behind(f.after)
	}
	names := f.l.files.names
	if f.first {
		f.first = false
		if err := f.prepare(names, kept.recs); err != nil {
			return p, err
		}
	}
	if len(names.Nodes) != f.nodes || len(names.Directions) != f.dirs {
		f.nodes, f.dirs = len(names.Nodes), len(names.Directions)
		p.nodes, p.directions = slices.Clone(names.Nodes), slices.Clone(names.Directions)
	}
	end := min(start+followBlock, len(kept.recs))
	for end < len(kept.recs) && kept.recs[end].Kind == sim.KindMore {
		end++
	}
	p.recs = slices.Clone(kept.recs[start:end])
	p.more, p.ended, p.through = end < len(kept.recs), f.l.ended, sim.Time(f.l.files.through.Load())
	switch {
	case p.more:
		p.through = kept.recs[end].T
	case p.ended:
		p.through = sim.Never
	}
	return p, nil
}

// prepare finds the connection to be followed, and its second name if it has one.
func (f *follower) prepare(names *trace.Names, kept []sim.Record) error {
	if f.conn == "" {
		return nil
	}
	conn, err := names.ParseConn(f.conn)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotFound, err)
	}
	f.filter = trace.NewFilter(conn)
	for i := range kept {
		f.filter.Learn(&kept[i])
	}
	return nil
}

// message is what is to be sent of what was pulled; nil for nothing.
func (f *follower) message(p *pulled) *workerv1.FollowTraceResponse {
	if len(p.recs) == 0 && p.through <= f.through && p.nodes == nil {
		return nil
	}
	f.through = max(f.through, p.through)
	m := &workerv1.FollowTraceResponse{NodeNames: p.nodes, DirectionNames: p.directions, NowNs: int64(f.through)}
	for i := range p.recs {
		r := &p.recs[i]
		if f.filter != nil {
			f.filter.Learn(r)
			if !f.filter.Keeps(r) {
				continue
			}
		}
		m.Records = trace.AppendRecord(m.Records, r)
	}
	if n := len(p.recs); n > 0 {
		f.after = &p.recs[n-1]
	}
	if f.after != nil {
		m.Position = &labv1.RecordPosition{TNs: int64(f.after.T), Node: f.after.Node, Eseq: f.after.ESeq}
	}
	return m
}
