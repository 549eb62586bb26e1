package orchestrator

import (
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	labv1 "labd.dev/proto/lab/v1"
)

// A stream that is open when an apply takes effect follows it: of all nodes it tells of the new one, and of one node it
// tells that its sockets are gone with it, and here again when the node is. Who listens is told only to who asks.
func TestWatchFollowsAnApply(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	narrow, wide := testSpec("x"), testSpec("x")
	wide.Nodes = append(wide.Nodes, &labv1.NodeSpec{Name: "c"})
	apply := func(id string, spec *labv1.LabSpec) {
		t.Helper()
		if _, err := s.labs.ApplyLab(t.Context(), &labv1.ApplyLabRequest{RequestId: id, Spec: spec}); err != nil {
			t.Fatal(err)
		}
	}
	open := func(req *labv1.WatchStatusRequest) grpc.ServerStreamingClient[labv1.WatchStatusResponse] {
		t.Helper()
		req.IntervalMs = 50
		stream, err := s.watches.WatchStatus(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return stream
	}
	next := func(stream grpc.ServerStreamingClient[labv1.WatchStatusResponse], want ...string) {
		t.Helper()
		var got []string
		// The clock of a lab changes too: what is told of may come a message later.
		for range 100 {
			m, err := stream.Recv()
			if err != nil {
				t.Fatalf("want %q: %v", want, err)
			}
			got = nil
			for _, n := range m.GetNodes() {
				got = append(got, n.GetName())
			}
			for _, c := range m.GetConns() {
				got = append(got, c.GetNode()+" "+c.GetState())
			}
			if slices.Equal(got, want) {
				return
			}
		}
		t.Fatalf("told %q, want %q", got, want)
	}
	const conns = labv1.StatusKind_STATUS_KIND_CONNS

	apply("r1", narrow)
	nodes := open(&labv1.WatchStatusRequest{Lab: "x", Kind: labv1.StatusKind_STATUS_KIND_NODES})
	all := open(&labv1.WatchStatusRequest{Lab: "x", Kind: conns, Listening: true})
	next(nodes, "a", "b")
	next(all, "a LISTEN", "b LISTEN")
	_, err := open(&labv1.WatchStatusRequest{Lab: "x", Kind: conns, Node: "c"}).Recv()
	wantReason(t, err, codes.NotFound, "NODE_NOT_FOUND")

	apply("r2", wide)
	next(nodes, "a", "b", "c")
	next(all, "a LISTEN", "b LISTEN", "c LISTEN")
	one := open(&labv1.WatchStatusRequest{Lab: "x", Kind: conns, Node: "c", Listening: true})
	next(one, "c LISTEN")
	next(open(&labv1.WatchStatusRequest{Lab: "x", Kind: conns, Node: "c"}))

	apply("r3", narrow)
	next(one)
	apply("r4", wide)
	next(one, "c LISTEN")

	if _, err := s.labs.DeleteLab(t.Context(), &labv1.DeleteLabRequest{RequestId: "r5", Lab: "x"}); err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		_, err = one.Recv()
	}
	wantReason(t, err, codes.NotFound, "LAB_NOT_FOUND")
}
