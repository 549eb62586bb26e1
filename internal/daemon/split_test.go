package daemon

import (
	"bytes"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"labd.dev/client"
	labv1 "labd.dev/proto/lab/v1"
)

// "A live change that would take a cut link there rebuilds the lab. It is never refused because of the split": first the cut
// moves to the link that is left, then nothing may be cut and the lab is on one worker. What it does is the same.
func TestLiveChangeMovesTheCut(t *testing.T) {
	t.Parallel()
	f := newFleet(t, "w1", "w2")
	hop := &labv1.DirectionSpec{RateBps: 10_000_000, DelayNs: 5_000_000}
	spec := twoHosts("split", labv1.Clock_CLOCK_REAL)
	a, b := spec.Nodes[0].Name, spec.Nodes[1].Name
	spec.Nodes = append(spec.Nodes, &labv1.NodeSpec{Name: "r", Kind: labv1.NodeKind_NODE_KIND_ROUTER})
	spec.Links = []*labv1.LinkSpec{
		{A: &labv1.Endpoint{Node: a, Interface: "eth0"}, B: &labv1.Endpoint{Node: "r", Interface: "eth0"}, Forward: hop, Reverse: hop},
		{A: &labv1.Endpoint{Node: "r", Interface: "eth1"}, B: &labv1.Endpoint{Node: b, Interface: "eth0"}, Forward: hop, Reverse: hop}}
	spec.Placement = &labv1.Placement{Workers: 2}
	apply(t, f.c, spec)
	if w := f.lab("split").GetWorker(); len(strings.Split(w, ",")) != 2 {
		t.Fatalf("split over %q", w)
	}
	f.transfer("split", "t1", 1_500_000)
	for _, link := range []string{a + "--r", "r--" + b} {
		eventually(t, "the delay of "+link, func() bool {
			_, err := f.c.Links.SetLink(t.Context(), &labv1.SetLinkRequest{RequestId: client.RequestID(), Lab: "split",
				Set: &labv1.LinkSet{Link: link, Patch: &labv1.DirectionPatch{DelayNs: proto.Int64(0)}}})
			return err == nil
		})
	}
	if tr := f.followed("split", "t1"); !tr.GetMatch() {
		t.Errorf("%v", tr)
	}
	eventually(t, "one worker has it", func() bool {
		lab := f.lab("split")
		return !strings.Contains(lab.GetWorker(), ",") && lab.GetEpoch() > 1 && lab.GetState() == labv1.LabState_LAB_STATE_RUNNING
	})
	trace := records(t, f.c, "split")
	inputs, err := f.c.Labs.ListInputs(t.Context(), &labv1.ListInputsRequest{Lab: "split"})
	if err != nil {
		t.Fatal(err)
	}
	// Of the file's specification, not of what the lab's is now.
	again := undisturbed(t, proto.Clone(spec).(*labv1.LabSpec), inputs.GetEntries(), f.lab("split").GetProgress().GetNowNs())
	if len(trace) == 0 || !bytes.HasPrefix(again, trace) {
		t.Errorf("its trace of %d bytes does not begin that of an undisturbed replay, of %d", len(trace), len(again))
	}
}
