package worker

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
	"labd.dev/trace"
)

// busy is a standing lab whose frames wait in a queue while its link changes.
func busy(id string) *workerv1.StartLabRequest {
	r := standing(id, labv1.Clock_CLOCK_VIRTUAL)
	r.Journal = journalOf(
		timed{0, transfer("t1", 400_000)}, timed{0, ping("p1")},
		timed{60 * ms, fault(&labv1.Fault{Id: "f1", Link: "r1--r2", DurationNs: 80 * ms, Effect: &labv1.Fault_RateBps{RateBps: 2e6}})},
		timed{90 * ms, fault(&labv1.Fault{Id: "f2", Link: "client--r1", DurationNs: 30 * ms, Effect: &labv1.Fault_Down{Down: &labv1.Down{}}})},
	)
	return r
}

// allEvents reads a lab's events as they are listed, once it has nothing more to do.
func (b *bench) allEvents(c workerv1.WorkerServiceClient, id string) []trace.Event {
	b.t.Helper()
	b.until(id, "all ended", settled)
	s, err := c.ReadTrace(b.t.Context(), &workerv1.ReadTraceRequest{LabId: id})
	if err != nil {
		b.t.Fatal(err)
	}
	t := &trace.Trace{}
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return t.Events()
		}
		if err != nil {
			b.t.Fatal(err)
		}
		if m.NodeNames != nil {
			t.Names = trace.Names{Nodes: m.NodeNames, Directions: m.DirectionNames}
		}
		recs, err := trace.DecodeRecords(m.Records)
		if err != nil {
			b.t.Fatal(err)
		}
		t.Records = append(t.Records, recs...)
	}
}

// Who follows a lab, however often the connection breaks and the stream is resumed, gets each event once, in order, as
// they are listed at the end: also those of frames whose link changed while they waited.
func TestFollowIsTheListing(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	b.start(busy("l"))
	out := trace.NewStream()
	var got []trace.Event
	var at *labv1.RecordPosition
	for finished := false; !finished; {
		ctx, cancel := context.WithCancel(t.Context())
		s, err := c.FollowTrace(ctx, &workerv1.FollowTraceRequest{LabId: "l", After: at})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 { // then the connection breaks
			m, err := s.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if m.NodeNames != nil {
				out.SetNames(trace.Names{Nodes: m.NodeNames, Directions: m.DirectionNames})
			}
			if err := out.Add(m.Records); err != nil {
				t.Fatal(err)
			}
			got = append(got, out.Before(m.NowNs)...)
			at = m.Position
			r := b.get("l")
			if finished = settled(r) && m.NowNs >= r.Progress.NowNs; finished {
				break
			}
		}
		cancel()
	}
	got = append(got, out.Rest()...)
	sameEvents(t, got, b.allEvents(c, "l"))
}

func sameEvents(t *testing.T, got, want []trace.Event) {
	t.Helper()
	text := func(e trace.Event) string {
		b, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for i := range min(len(got), len(want)) {
		if g, w := text(got[i]), text(want[i]); g != w {
			t.Fatalf("event %d:\n got %s\nwant %s", i, g, w)
		}
	}
	if len(got) != len(want) || len(want) < 1000 {
		t.Fatalf("%d events followed, %d listed", len(got), len(want))
	}
}

// A stream of one connection holds its records and no others.
func TestFollowOneConnection(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	b.start(busy("l"))
	b.until("l", "all ended", settled)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := c.FollowTrace(ctx, &workerv1.FollowTraceRequest{LabId: "l", Conn: "client/1"})
	if err != nil {
		t.Fatal(err)
	}
	out := trace.NewStream()
	now := b.get("l").Progress.NowNs
	for done := false; !done; {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.NodeNames != nil {
			out.SetNames(trace.Names{Nodes: m.NodeNames, Directions: m.DirectionNames})
		}
		if err := out.Add(m.Records); err != nil {
			t.Fatal(err)
		}
		done = m.NowNs >= now
	}
	want := slices.DeleteFunc(b.allEvents(c, "l"), func(e trace.Event) bool { return e.Conn != "client/1" })
	sameEvents(t, out.Rest(), want)

	s, err = c.FollowTrace(t.Context(), &workerv1.FollowTraceRequest{LabId: "l", Conn: "nobody/1"})
	if err == nil {
		_, err = s.Recv()
	}
	if status.Code(err) != codes.NotFound {
		t.Fatalf("a connection that cannot be: %v", err)
	}
}

// "A slow reader is cut off with a reason, never holds a lab up": a client that reads nothing delays nothing, and when it
// reads again it is told what became of it.
func TestStuckFollowerDelaysNobody(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	req := busy("l")
	req.Spec.RetentionRecords = 2000
	b.start(req)
	b.until("l", "all ended", settled)
	s, err := c.FollowTrace(t.Context(), &workerv1.FollowTraceRequest{LabId: "l"})
	if err == nil {
		_, err = s.Recv() // it follows from a record on
	}
	if err != nil {
		t.Fatal(err)
	}
	b.input("l", transfer("t2", 20_000_000))
	b.until("l", "all ended", settled)
	for {
		_, err := s.Recv()
		if err == nil {
			continue
		}
		if status.Code(err) != codes.OutOfRange {
			t.Fatalf("the stuck client is told %v", err)
		}
		break
	}
}

// "Too old an index is OUT_OF_RANGE: relist."
func TestFollowTooOld(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	req := busy("l")
	req.Spec.RetentionRecords = 500
	b.start(req)
	b.until("l", "all ended", settled)
	s, err := c.FollowTrace(t.Context(), &workerv1.FollowTraceRequest{LabId: "l", After: &labv1.RecordPosition{TNs: 1, Node: 1, Eseq: 1}})
	if err == nil {
		_, err = s.Recv()
	}
	if status.Code(err) != codes.OutOfRange {
		t.Fatalf("resumed at the beginning of a lab that has dropped it: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if s, err = c.FollowTrace(ctx, &workerv1.FollowTraceRequest{LabId: "l"}); err == nil {
		_, err = s.Recv()
	}
	if err != nil {
		t.Fatalf("listed again: %v", err)
	}
}

// A follower's stream ends when its lab does.
func TestFollowEnds(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	l := b.start(busy("l"))
	s, err := c.FollowTrace(t.Context(), &workerv1.FollowTraceRequest{LabId: "l"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := l.do(t.Context(), func() error { l.fail(errors.New("for the test")); return nil }); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = s.Recv()
	}
	if !errors.Is(err, io.EOF) {
		t.Fatalf("the lab has ended: %v", err)
	}
}

// In real time a follower hears of an input as soon as its instant is over, though nothing happens in the lab after it.
func TestFollowersHearOfTheLastInput(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	b.start(standing("l", labv1.Clock_CLOCK_REAL))
	s, err := c.FollowTrace(t.Context(), &workerv1.FollowTraceRequest{LabId: "l"})
	if err != nil {
		t.Fatal(err)
	}
	in := &labv1.Input{Kind: &labv1.Input_LinkSet{LinkSet: &labv1.LinkSet{Link: "r1--r2", Patch: &labv1.DirectionPatch{DelayNs: new(int64(2 * ms))}}}}
	for at, heard := b.input("l", in).GetTNs(), false; !heard; {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		recs, err := trace.DecodeRecords(m.GetRecords())
		if err != nil {
			t.Fatal(err)
		}
		heard = slices.ContainsFunc(recs, func(r sim.Record) bool { return int64(r.T) == at })
	}
}
