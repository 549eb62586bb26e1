package sight

import (
	"strings"

	"labd.dev/internal/validate"
	labv1 "labd.dev/proto/lab/v1"
)

// Spec is a lab's specification as the person sees it: the nodes in view, and each link with an end there. Of a link's other
// end it holds the name and the interface. The seed is left out: from it follows what others' nodes will throw.
func (p *Place) Spec(spec *labv1.LabSpec) *labv1.LabSpec {
	if p.SeesAll() || spec == nil {
		return spec
	}
	out := &labv1.LabSpec{Name: spec.GetName(), Clock: spec.GetClock(), Pace: spec.GetPace()}
	for _, n := range spec.GetNodes() {
		if p.Views(n.GetName()) {
			out.Nodes = append(out.Nodes, n)
		}
	}
	for _, l := range spec.GetLinks() {
		if p.viewsLink(l) {
			out.Links = append(out.Links, l)
		}
	}
	return out
}

// viewsLink: who sees an end of a link sees the link, both ways: what crosses it passes that end.
func (p *Place) viewsLink(l *labv1.LinkSpec) bool {
	return p.Views(l.GetA().GetNode()) || p.Views(l.GetB().GetNode())
}

// linkNamed finds the links that a name may mean, in both directions ("r1--r2") or in one ("r1->r2"), and which nodes send
// into what is meant.
func linkNamed(spec *labv1.LabSpec, name string) (links []*labv1.LinkSpec, senders []string) {
	a, b, oneWay := strings.Cut(name, "->")
	if !oneWay {
		a, b, _ = strings.Cut(name, "--")
	}
	for _, l := range spec.GetLinks() {
		switch {
		case isEnd(a, l.GetA()) && isEnd(b, l.GetB()):
			links, senders = append(links, l), append(senders, l.GetA().GetNode())
		case isEnd(a, l.GetB()) && isEnd(b, l.GetA()):
			links, senders = append(links, l), append(senders, l.GetB().GetNode())
		default:
			continue
		}
		if !oneWay {
			senders = append(senders, l.GetA().GetNode(), l.GetB().GetNode())
		}
	}
	return links, senders
}

func isEnd(text string, e *labv1.Endpoint) bool {
	return text == e.GetNode() || text == e.GetNode()+":"+e.GetInterface()
}

// ViewsLinkNamed tells whether a name means a link in view.
func (p *Place) ViewsLinkNamed(spec *labv1.LabSpec, name string) bool {
	if p.SeesAll() {
		return true
	}
	links, _ := linkNamed(spec, name)
	for _, l := range links {
		if !p.viewsLink(l) {
			return false
		}
	}
	return len(links) > 0
}

// OperatesLinkNamed tells whether the person may change what a name of a link or a direction means: all nodes that send into
// it are theirs to act on.
func (p *Place) OperatesLinkNamed(spec *labv1.LabSpec, name string) bool {
	if p.OperatesAll() {
		return true
	}
	_, senders := linkNamed(spec, name)
	for _, node := range senders {
		if !p.Operates(node) {
			return false
		}
	}
	return len(senders) > 0
}

// linksInView are the names of the links in view, as a lab's status has them. Where several have one name all are in view.
func (p *Place) linksInView(spec *labv1.LabSpec) map[string]bool {
	view := make(map[string]bool)
	for i, name := range validate.LinkNames(spec) {
		seen, twice := view[name]
		view[name] = p.viewsLink(spec.GetLinks()[i]) && (seen || !twice)
	}
	return view
}

// Input is an input as the person sees it; nil: not at all. One is in view if a node that it names is, or a link, or the fault
// that it clears, which faults finds.
func (p *Place) Input(spec *labv1.LabSpec, in *labv1.Input, faults func(id string) *labv1.Fault) *labv1.Input {
	if p.SeesAll() {
		return in
	}
	switch k := in.GetKind().(type) {
	case *labv1.Input_Apply:
		// Its sum is of all of the specification.
		return &labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{Spec: p.Spec(k.Apply.GetSpec())}}}
	case *labv1.Input_Transfer:
		return p.ifViewed(in, k.Transfer.GetFrom(), k.Transfer.GetTo())
	case *labv1.Input_HttpGet:
		return p.ifViewed(in, k.HttpGet.GetFrom())
	case *labv1.Input_Udp:
		return p.ifViewed(in, k.Udp.GetFrom(), k.Udp.GetTo())
	case *labv1.Input_Ping:
		return p.ifViewed(in, k.Ping.GetFrom())
	case *labv1.Input_Traceroute:
		return p.ifViewed(in, k.Traceroute.GetFrom())
	case *labv1.Input_Send:
		return p.ifViewed(in, k.Send.GetFrom())
	case *labv1.Input_Fault:
		if p.ViewsFault(spec, k.Fault) {
			return in
		}
	case *labv1.Input_ClearFault:
		if p.ViewsFault(spec, faults(k.ClearFault.GetId())) {
			return in
		}
	case *labv1.Input_LinkSet:
		if p.ViewsLinkNamed(spec, k.LinkSet.GetLink()) {
			return in
		}
	}
	return nil
}

// Entry is a journal's entry as the person sees it; nil: not at all.
func (p *Place) Entry(spec *labv1.LabSpec, e *labv1.JournalEntry, faults func(id string) *labv1.Fault) *labv1.JournalEntry {
	in := p.Input(spec, e.GetInput(), faults)
	switch {
	case in == nil:
		return nil
	case in == e.GetInput():
		return e
	}
	return &labv1.JournalEntry{Index: e.GetIndex(), TNs: e.GetTNs(), Input: in}
}

func (p *Place) ifViewed(in *labv1.Input, nodes ...string) *labv1.Input {
	for _, n := range nodes {
		if p.Views(n) {
			return in
		}
	}
	return nil
}

// ViewsFault tells whether a fault is of a node or a link in view.
func (p *Place) ViewsFault(spec *labv1.LabSpec, f *labv1.Fault) bool {
	if f.GetNode() != "" {
		return p.Views(f.GetNode())
	}
	return p.ViewsLinkNamed(spec, f.GetLink())
}

// OperatesFault tells whether a fault is the person's to make and to clear.
func (p *Place) OperatesFault(spec *labv1.LabSpec, f *labv1.Fault) bool {
	if f.GetNode() != "" {
		return p.Operates(f.GetNode())
	}
	return p.OperatesLinkNamed(spec, f.GetLink())
}
