package orchestrator

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
)

// "Each is one journaled input": a changed file and changed settings of a link, and what an apply is then held against.
func TestLabChangesWhileItRuns(t *testing.T) {
	s := startServer(t, newFakeWorker(), "")
	if _, err := s.labs.ApplyLab(t.Context(), &labv1.ApplyLabRequest{RequestId: "r1", Spec: testSpec("x")}); err != nil {
		t.Fatal(err)
	}
	wider := testSpec("x")
	wider.Nodes = append(wider.Nodes, &labv1.NodeSpec{Name: "c"})
	wider.Links = append(wider.Links, &labv1.LinkSpec{A: &labv1.Endpoint{Node: "c", Interface: "eth0"}, B: &labv1.Endpoint{Node: "b", Interface: "eth1"}})
	for range 2 { // the second is the same request again
		r, err := s.labs.ApplyLab(t.Context(), &labv1.ApplyLabRequest{RequestId: "r2", Spec: wider})
		if err != nil || r.GetOutcome() != labv1.ApplyLabResponse_OUTCOME_CHANGED || r.GetStamp().GetIndex() != 1 || !proto.Equal(r.GetLab().GetSpec(), wider) {
			t.Fatalf("apply of a change: %v %v", r, err)
		}
	}
	links := s.links
	slower := &labv1.LinkSet{Link: "b->a", Patch: &labv1.DirectionPatch{DelayNs: proto.Int64(7)}}
	if r, err := links.SetLink(t.Context(), &labv1.SetLinkRequest{RequestId: "r3", Set: slower}); err != nil || r.GetStamp().GetIndex() != 2 || r.GetLab() != "x" {
		t.Fatalf("set link: %v %v", r, err)
	}
	shortly := proto.CloneOf(slower)
	shortly.DurationNs, shortly.Patch.RateBps = 5, proto.Uint64(9)
	if _, err := links.SetLink(t.Context(), &labv1.SetLinkRequest{RequestId: "r4", Set: shortly}); err != nil {
		t.Fatal(err)
	}
	// What was set for good is what differs from the file; what ends by itself is not.
	r, err := s.labs.ApplyLab(t.Context(), &labv1.ApplyLabRequest{Spec: wider, DryRun: true})
	if err != nil || len(r.GetDifferences()) != 1 || r.GetDifferences()[0].GetPath() != "links[a:eth0--b:eth0].reverse.delay_ns" ||
		r.GetDifferences()[0].GetOldValue() != "7" {
		t.Fatalf("dry run after a link was set: %v %v", r, err)
	}
	_, err = links.SetLink(t.Context(), &labv1.SetLinkRequest{RequestId: "r5", Set: &labv1.LinkSet{Link: "a--q", Patch: slower.Patch}})
	wantReason(t, err, codes.NotFound, "LINK_NOT_FOUND")
	_, err = links.SetLink(t.Context(), &labv1.SetLinkRequest{RequestId: "r6", Set: &labv1.LinkSet{Link: "a--b"}})
	wantReason(t, err, codes.InvalidArgument, "INVALID")
}
