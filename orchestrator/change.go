package orchestrator

import (
	"context"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// presentSpec is a lab's specification as inputs have made it by now.
func presentSpec(lab *controlv1.LabState) *labv1.LabSpec {
	if s := lab.GetChangedSpec(); s != nil {
		return s
	}
	return lab.GetSpec()
}

// specAfter is a lab's specification once an input has taken effect, and whether that changes it.
func specAfter(lab *controlv1.LabState, in *labv1.Input) (*labv1.LabSpec, bool) {
	switch k := in.GetKind().(type) {
	case *labv1.Input_Apply:
		return k.Apply.GetSpec(), true
	case *labv1.Input_LinkSet:
		if k.LinkSet.GetDurationNs() != 0 {
			return nil, false
		}
		spec := proto.CloneOf(presentSpec(lab))
		forward, reverse := findLink(spec, k.LinkSet.GetLink())
		for _, d := range []**labv1.DirectionSpec{forward, reverse} {
			if d != nil {
				*d = patched(*d, k.LinkSet.GetPatch())
			}
		}
		return spec, forward != nil || reverse != nil
	}
	return nil, false
}

// findLink finds where the directions lie that a name means: "r1--r2" both, "r1->r2" one, with interfaces or without.
// Of several links between two nodes one without interfaces in its name is the one that was there first.
func findLink(spec *labv1.LabSpec, name string) (forward, reverse **labv1.DirectionSpec) {
	a, b, oneWay := strings.Cut(name, "->")
	if !oneWay {
		a, b, _ = strings.Cut(name, "--")
	}
	is := func(text string, e *labv1.Endpoint) bool {
		return text == e.GetNode() || text == e.GetNode()+":"+e.GetInterface()
	}
	for _, l := range spec.GetLinks() {
		switch {
		case is(a, l.GetA()) && is(b, l.GetB()):
			if oneWay {
				return &l.Forward, nil
			}
			return &l.Forward, &l.Reverse
		case is(a, l.GetB()) && is(b, l.GetA()):
			if oneWay {
				return &l.Reverse, nil
			}
			return &l.Forward, &l.Reverse
		}
	}
	return nil, nil
}

// patched is a direction's settings with what a patch names changed.
func patched(d *labv1.DirectionSpec, p *labv1.DirectionPatch) *labv1.DirectionSpec {
	out := proto.CloneOf(d)
	if out == nil {
		out = &labv1.DirectionSpec{}
	}
	from, to := p.ProtoReflect(), out.ProtoReflect()
	fields := from.Descriptor().Fields()
	for i := range fields.Len() {
		if fd := fields.Get(i); from.Has(fd) {
			// A patch's fields are named as the settings that they change.
			to.Set(to.Descriptor().Fields().ByName(fd.Name()), from.Get(fd))
		}
	}
	// A setting of none is written by leaving it out.
	if l, ok := out.GetLoss().GetModel().(*labv1.Loss_Random); ok && l.Random == 0 {
		out.Loss = nil
	}
	if out.GetJitter().GetAmountNs() == 0 {
		out.Jitter = nil
	}
	if out.GetDuplicate().GetChance() == 0 {
		out.Duplicate = nil
	}
	return out
}

// fixed lists the differences in what a running lab is made with once and for all.
func fixed(diffs []*labv1.Difference) []*labv1.Difference {
	return slices.DeleteFunc(slices.Clone(diffs), func(d *labv1.Difference) bool {
		return strings.HasPrefix(d.GetPath(), "nodes[") || strings.HasPrefix(d.GetPath(), "links[")
	})
}

// change gives a running lab another specification, as one input.
func (s *labService) change(ctx context.Context, l *leadership, g *grant, requestID string, spec *labv1.LabSpec, resp *labv1.ApplyLabResponse) error {
	name := spec.GetName()
	if f := fixed(resp.GetDifferences()); len(f) > 0 {
		return refuse(labv1.ErrorReason_ERROR_REASON_LAB_DIFFERS,
			"lab %q runs and differs from the file in %s, which does not change while a lab runs; delete it and apply again "+
				"(labctl delete lab %s), or see what differs with --dry-run", name, firstPaths(f), name)
	}
	in := &labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{Spec: spec}}}
	if err := l.runs(g); err != nil {
		return err
	}
	outcome, err := s.c.giveTo(ctx, l, g, requestID, in)
	if err != nil {
		return err
	}
	resp.Stamp = outcome.GetStamp()
	return nil
}

// SetLink implements the service.
func (s *linkService) SetLink(ctx context.Context, req *labv1.SetLinkRequest) (*labv1.SetLinkResponse, error) {
	if req.GetSet() == nil {
		return nil, invalid("set", "say which link, and what to change")
	}
	in := &labv1.Input{Kind: &labv1.Input_LinkSet{LinkSet: req.GetSet()}}
	g, outcome, err := s.c.labInput(ctx, req.GetRequestId(), in)
	if err != nil {
		return nil, err
	}
	return &labv1.SetLinkResponse{Lab: g.called(g.lab), Stamp: outcome.GetStamp()}, nil
}
