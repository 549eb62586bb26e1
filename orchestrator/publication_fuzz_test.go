package orchestrator

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// Whatever is published, it is refused with what is wrong, or becomes a template that can be started; neither panics.
func FuzzPublication(f *testing.F) {
	host := func(name string) *labv1.NodeSpec { return &labv1.NodeSpec{Name: name} }
	for _, req := range []*labv1.PublishTemplateRequest{
		{RequestId: "r", Name: "lab1", Spec: &labv1.LabSpec{Name: "lab1", Nodes: []*labv1.NodeSpec{host("a"), host("b")},
			Links: []*labv1.LinkSpec{{A: &labv1.Endpoint{Node: "a", Interface: "eth0"}, B: &labv1.Endpoint{Node: "b", Interface: "eth0"},
				Forward: &labv1.DirectionSpec{DelayNs: 1}, Reverse: &labv1.DirectionSpec{DelayNs: 1}}}},
			DueAt: timestamppb.Now(), LateDays: 2, LatePenalty: .1, Sections: []string{"tue"}, Checks: []*labv1.Check{
				{Id: "c", Points: 1, Hidden: true, Verb: &labv1.Check_Count{Count: &labv1.EventCount{Of: &labv1.EventSelector{Event: "tcp:segment_sent", Where: "len > 0"}}}},
				{Id: "d", Verb: &labv1.Check_Answer{Answer: &labv1.AnswerCheck{Of: &labv1.EventSelector{Event: "tcp:segment_sent"}, Field: "seq"}}}}},
		{RequestId: "r", Name: "../x", Spec: &labv1.LabSpec{Name: "x", Nodes: []*labv1.NodeSpec{host("/etc")}}, LatePenalty: 2},
	} {
		b, err := proto.Marshal(req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		req := &labv1.PublishTemplateRequest{}
		if proto.Unmarshal(b, req) != nil || checkPublication(req) != nil {
			return
		}
		m := newMachine(t)
		spec := proto.CloneOf(req.GetSpec())
		spec.Name = req.GetName()
		m.want("", &controlv1.PublishTemplate{Template: &controlv1.TemplateState{Name: req.GetName(), Spec: spec, Checks: req.GetChecks(),
			Secret: []byte{1}, Sections: req.GetSections()}})
		if err := checkLab("spec", spec); err != nil {
			t.Errorf("nobody could start it: %v", err)
		}
	})
}
