package daemon

import (
	"context"
	"strings"
	"testing"

	"labd.dev/client"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/trace"
)

// A member of a lab that is split over workers sees the nodes of the share, whichever worker has them, and of the others' records
// and packets none: those of the trace that is kept, of the one that is followed, and of captures.
func TestMembersOfASplitLab(t *testing.T) {
	c := newCampus(t)
	second, err := StartWorker(WorkerConfig{DataDir: t.TempDir(), Name: "w2", Listen: "127.0.0.1:0", Servers: []string{c.d.Addr()}, Security: c.p.security(c.p.daemon)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { second.Stop(context.Background()) })
	eventually(t, "two workers", func() bool {
		r, err := c.admin.Workers.ListWorkers(t.Context(), &labv1.ListWorkersRequest{})
		return err == nil && len(r.GetWorkers()) == 2
	})
	ann, opi := c.as("ann"), c.as("opi")
	spec := twoHosts("split", labv1.Clock_CLOCK_REAL)
	spec.Placement = &labv1.Placement{Workers: 2}
	apply(t, ann, spec)
	var workers string
	eventually(t, "the split lab runs", func() bool {
		r, err := ann.Labs.GetLab(t.Context(), &labv1.GetLabRequest{Lab: "split"})
		workers = r.GetLab().GetWorker()
		return err == nil && r.GetLab().GetState() == labv1.LabState_LAB_STATE_RUNNING
	})
	if len(strings.Split(workers, ",")) != 2 {
		t.Fatalf("split over %q", workers)
	}
	nodes, err := ann.Nodes.ListNodes(t.Context(), &labv1.ListNodesRequest{Lab: "split"})
	if err != nil || len(nodes.GetNodes()) != 2 {
		t.Fatal(nodes, err)
	}
	ids := make(map[string]uint32)
	for _, n := range nodes.GetNodes() {
		ids[n.GetName()] = n.GetId()
	}
	for i, own := range []string{"a", "b"} { // one on each worker
		if _, err := ann.Sharing.UnshareLab(t.Context(), &labv1.UnshareLabRequest{RequestId: client.RequestID(), Lab: "split", Person: "opi"}); i > 0 && err != nil {
			t.Fatal(err)
		}
		if _, err := ann.Sharing.ShareLab(t.Context(), &labv1.ShareLabRequest{RequestId: client.RequestID(), Lab: "split",
			Member: &labv1.LabMember{Person: "opi", Role: labv1.LabRole_LAB_ROLE_OPERATOR, Nodes: []string{own}}}); err != nil {
			t.Fatal(err)
		}
		s := &shareOfSplit{t: t, ann: ann, opi: opi, own: own, id: ids[own]}
		s.check(string("ba"[i]))
	}
}

// shareOfSplit is what opi sees of ann's split lab, of which one node is shared.
type shareOfSplit struct {
	t        *testing.T
	ann, opi *client.Client
	own      string
	id       uint32
}

func (s *shareOfSplit) check(other string) {
	t, ctx, lab := s.t, s.t.Context(), "ann/split"
	t.Helper()
	seen, err := s.opi.Nodes.ListNodes(ctx, &labv1.ListNodesRequest{Lab: lab})
	if err != nil || len(seen.GetNodes()) != 1 || seen.GetNodes()[0].GetName() != s.own {
		t.Errorf("of %s opi sees %v, %v", s.own, seen.GetNodes(), err)
	}
	_, err = s.opi.Nodes.GetNode(ctx, &labv1.GetNodeRequest{Lab: lab, Node: other})
	wantReason(t, "the other node", err, labv1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND)
	hidden, err := s.opi.Captures.WatchCapture(ctx, &labv1.WatchCaptureRequest{Lab: lab, Node: other})
	if err == nil {
		_, err = hidden.Recv()
	}
	wantReason(t, "a capture of the other node", err, labv1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND)
	followed, err := s.opi.Traces.WatchRecords(ctx, &labv1.WatchRecordsRequest{Lab: lab})
	if err != nil {
		t.Fatal(err)
	}
	capture, err := s.opi.Captures.WatchCapture(ctx, &labv1.WatchCaptureRequest{Lab: lab, Node: s.own})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.ann.Execs.CreateExec(ctx, &labv1.CreateExecRequest{RequestId: client.RequestID(), Lab: "split",
		Command: &labv1.CreateExecRequest_Ping{Ping: &labv1.Ping{From: other, To: s.own, Count: 2, IntervalNs: 1e6}}}); err != nil {
		t.Fatal(err)
	}
	for packets := uint64(0); packets == 0; { // an own node's capture goes on
		m, err := capture.Recv()
		if err != nil {
			t.Fatal(err)
		}
		packets = m.GetPackets()
	}
	for got := 0; got == 0; {
		m, err := followed.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got = s.wantOwn("followed", m.GetRecords())
	}
	a := &arena{school: &school{t: t}}
	if s.wantOwn("kept", a.records(s.opi, lab)) == 0 {
		t.Errorf("opi reads no records of %s", s.own)
	}
}

// wantOwn counts the records of the own node, and wants none of another.
func (s *shareOfSplit) wantOwn(what string, b []byte) (own int) {
	s.t.Helper()
	records, err := trace.DecodeRecords(b)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, r := range records {
		switch {
		case r.Kind == sim.KindMore || r.Node == 0:
		case r.Node == s.id:
			own++
		default:
			s.t.Fatalf("%s: a record of node %d is told to who sees %s alone", what, r.Node, s.own)
		}
	}
	return own
}
