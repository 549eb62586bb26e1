package shards_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"labd.dev/node/worker"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/trace"
)

// standing is a lab that takes inputs.
func standing(spec *labv1.LabSpec) *workerv1.StartLabRequest {
	return &workerv1.StartLabRequest{LabId: "live", Epoch: 1, Spec: spec, Mode: workerv1.Mode_MODE_STANDING, Capture: true}
}

// settled waits until a transfer or a command has ended.
func (c *cluster) settled(client workerv1.WorkerServiceClient, ids ...string) *workerv1.GetLabResponse {
	c.t.Helper()
	return c.until(client, "live", "the end of "+strings.Join(ids, ", "), func(got *workerv1.GetLabResponse) bool {
		ended := 0
		for _, t := range got.Transfers {
			if t.Ended && slices.Contains(ids, t.Id) {
				ended++
			}
		}
		for _, e := range got.Execs {
			if e.Done && slices.Contains(ids, e.Id) {
				ended++
			}
		}
		return ended == len(ids)
	})
}

// kept stops a lab, collects what it has recorded, and replays it in one piece.
func (c *cluster) kept(client workerv1.WorkerServiceClient, all []workerv1.WorkerServiceClient, epoch uint64) {
	c.t.Helper()
	_, err := client.StopLab(c.t.Context(), &workerv1.StopLabRequest{LabId: "live", Epoch: epoch, KeepFiles: true})
	if err != nil {
		c.t.Fatal(err)
	}
	dir := c.collect(all, "live")
	d, err := worker.Replay(c.t.Context(), dir, 1, filepath.Join(c.t.TempDir(), "again"))
	if err != nil || d != nil {
		c.t.Errorf("replayed in one piece: %v %v", d, err)
	}
}

// Live inputs of every kind, whose ends are in different shards: what is told of them is true, and the journal in one
// piece gives the same bytes.
func TestLiveInputsAcrossShards(t *testing.T) {
	c := newCluster(t, 3, false)
	client := c.start(standing(path()))
	c.give(client, "live", transfer("t1", "client", "server", 400_000))
	got := c.settled(client, "t1")
	if s := got.Transfers[0]; !s.Match || s.Bytes != 400_000 || s.GoodputBps == 0 || s.SrttUs == 0 || s.Conn != "client/1" || s.From != "client" {
		t.Errorf("t1: %v", s)
	}
	c.give(client, "live", fault(&labv1.Fault{Id: "f1", Link: "r1--r2", Effect: &labv1.Fault_DelayNs{DelayNs: 20 * ms}}))
	c.give(client, "live", transfer("t2", "server", "client", 200_000))
	c.give(client, "live", ping("p1", "client", "server"))
	c.settled(client, "t2", "p1")
	c.give(client, "live", &labv1.Input{Kind: &labv1.Input_ClearFault{ClearFault: &labv1.ClearFault{Id: "f1"}}})
	c.give(client, "live", &labv1.Input{Kind: &labv1.Input_LinkSet{LinkSet: &labv1.LinkSet{
		Link: "r1--r2", Patch: &labv1.DirectionPatch{DelayNs: proto.Int64(3 * ms)}}}})
	c.give(client, "live", fault(&labv1.Fault{Id: "f2", Node: "server", Effect: &labv1.Fault_Reboot{Reboot: &labv1.Reboot{}}}))
	wider := proto.Clone(path()).(*labv1.LabSpec)
	wider.Nodes = append(wider.Nodes, host("late"))
	wider.Links = append(wider.Links, joined("late", "r2", &labv1.DirectionSpec{RateBps: 10e6, DelayNs: ms}))
	c.give(client, "live", &labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{Spec: wider}}})
	c.give(client, "live", transfer("t3", "late", "client", 50_000))
	c.give(client, "live", &labv1.Input{Kind: &labv1.Input_Ping{Ping: &labv1.Ping{Id: "p2", From: "client", To: "late", Count: 2, IntervalNs: 50 * ms}}})
	got = c.settled(client, "t3", "p2")
	if names := len(got.Nodes); names != 5 || len(got.Links) != 4 || len(got.Faults) != 2 || got.Faults[0].Active {
		t.Errorf("%d nodes, %d links, faults %v", names, len(got.Links), got.Faults)
	}
	for _, s := range got.Transfers {
		if !s.Match || s.Error != "" {
			t.Errorf("%v", s)
		}
	}
	c.kept(client, client, 1)
}

// A transfer to a port on which nobody takes transfers has failed, whichever shard knows that.
func TestTransferThatNobodyTakes(t *testing.T) {
	c := newCluster(t, 2, false)
	spec := path()
	spec.Nodes[3].Apps = []*labv1.AppSpec{{App: &labv1.AppSpec_Http{Http: &labv1.HttpServerApp{Port: 80}}}}
	client := c.start(standing(spec))
	in := transfer("t1", "client", "server", 5)
	in.GetTransfer().Port = 4444
	c.give(client, "live", in)
	got := c.settled(client, "t1")
	if s := got.Transfers[0]; s.State != labv1.TransferState_TRANSFER_STATE_FAILED || !strings.Contains(s.Error, "refused") {
		t.Errorf("%v", s)
	}
}

// Inputs and orders for the clock are the head's.
func TestOnlyTheHeadTakesInputs(t *testing.T) {
	c := newCluster(t, 2, false)
	client := c.start(standing(path()))
	_, err := client[1].StampInput(t.Context(), &workerv1.StampInputRequest{LabId: "live", Turn: c.turn(), Epoch: 1, Input: ping("p", "client", "server")})
	if status.Code(err) != codes.FailedPrecondition {
		t.Error(err)
	}
	_, err = client[1].ControlClock(t.Context(), &workerv1.ControlClockRequest{LabId: "live", Epoch: 1,
		Action: &workerv1.ControlClockRequest_Pause{Pause: &labv1.PauseClock{}}})
	if status.Code(err) != codes.FailedPrecondition {
		t.Error(err)
	}
}

// The real clock, its pace, pauses and steps hold in all shards, and change nothing.
func TestClockOfASplitLab(t *testing.T) {
	c := newCluster(t, 3, true)
	spec := path()
	spec.Clock, spec.Pace = labv1.Clock_CLOCK_REAL, 50
	client := c.start(standing(spec))
	order := func(req *workerv1.ControlClockRequest) *workerv1.ControlClockResponse {
		t.Helper()
		req.LabId, req.Epoch = "live", 1
		r, err := client.ControlClock(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	c.give(client, "live", transfer("t1", "client", "server", 300_000))
	order(&workerv1.ControlClockRequest{Action: &workerv1.ControlClockRequest_Pause{Pause: &labv1.PauseClock{}}})
	step := func(s *labv1.StepClock) *workerv1.ControlClockResponse {
		return order(&workerv1.ControlClockRequest{Action: &workerv1.ControlClockRequest_Step{Step: s}})
	}
	first := step(&labv1.StepClock{Size: &labv1.StepClock_ForNs{ForNs: 7 * ms}})
	second := step(&labv1.StepClock{Size: &labv1.StepClock_ForNs{ForNs: 7 * ms}})
	if d := second.Progress.NowNs - first.Progress.NowNs; d != 7*ms || !second.Progress.Paused {
		t.Errorf("a step of 7 ms went %d ns: %v", d, second.Progress)
	}
	c.give(client, "live", ping("p1", "client", "server")) // at the time at which the lab stands
	if r := step(&labv1.StepClock{Size: &labv1.StepClock_Events{Events: 5}}); r.Events < 5 {
		t.Errorf("a step of 5 events ran %d", r.Events)
	}
	order(&workerv1.ControlClockRequest{Action: &workerv1.ControlClockRequest_Resume{Resume: &labv1.ResumeClock{}}})
	order(&workerv1.ControlClockRequest{Action: &workerv1.ControlClockRequest_Pace{Pace: &labv1.PaceClock{Pace: 1000}}})
	if got := c.settled(client, "t1", "p1"); !got.Transfers[0].Match {
		t.Errorf("%v", got.Transfers[0])
	}
	c.kept(client, client, 1)
}

// Who follows a split lab gets every record once, in the order of the whole, also where a connection alone is asked for.
func TestFollowASplitLab(t *testing.T) {
	c := newCluster(t, 3, false)
	client := c.start(standing(path()))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	whole, err := client.FollowTrace(ctx, &workerv1.FollowTraceRequest{LabId: "live"})
	if err != nil {
		t.Fatal(err)
	}
	c.give(client, "live", transfer("t1", "client", "server", 100_000))
	c.give(client, "live", ping("p1", "server", "client"))
	c.settled(client, "t1", "p1")
	want := c.records(client, "")
	var got []byte
	var after *labv1.RecordPosition
	for len(got) < len(want) {
		m, err := whole.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, m.Records...); m.Position != nil {
			after = m.Position
		}
		if len(got) > len(want)/2 && after != nil && ctx.Err() == nil { // broken off, and resumed
			cancel()
			if whole, err = client.FollowTrace(t.Context(), &workerv1.FollowTraceRequest{LabId: "live", After: after}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if string(got) != string(want) {
		t.Errorf("%d bytes of records were followed, and are not the %d that are kept", len(got), len(want))
	}
	conn := c.records(client, "client/1")
	recs, err := trace.DecodeRecords(conn)
	if err != nil || len(recs) == 0 || len(conn) >= len(want) {
		t.Fatalf("%d of %d bytes are of client/1: %v", len(conn), len(want), err)
	}
	if _, err := client.ReadPacket(t.Context(), &workerv1.ReadPacketRequest{LabId: "live", Packet: "client:3"}); err != nil {
		t.Error(err)
	}
	if conns, err := client.ListConns(t.Context(), &workerv1.ListConnsRequest{LabId: "live", Listening: true}); err != nil || len(conns.Conns) < 2 {
		t.Errorf("%v %v", conns, err)
	}
}

// records reads a lab's records.
func (c *cluster) records(client workerv1.WorkerServiceClient, conn string) (all []byte) {
	c.t.Helper()
	s, err := client.ReadTrace(c.t.Context(), &workerv1.ReadTraceRequest{LabId: "live", Conn: conn})
	for err == nil {
		var m *workerv1.ReadTraceResponse
		if m, err = s.Recv(); err == nil {
			all = append(all, m.Records...)
		}
	}
	if !errors.Is(err, io.EOF) {
		c.t.Fatal(err)
	}
	return all
}
