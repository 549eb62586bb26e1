package sight

import (
	"slices"

	labv1 "labd.dev/proto/lab/v1"
)

// How a lab stands, as the person sees it. Lists are cut in place.

// Nodes keeps the nodes in view.
func (p *Place) Nodes(list []*labv1.NodeStatus) []*labv1.NodeStatus {
	return keep(p, list, func(n *labv1.NodeStatus) bool { return p.Views(n.GetName()) })
}

// Links keeps the links with an end in view.
func (p *Place) Links(spec *labv1.LabSpec, list []*labv1.LinkStatus) []*labv1.LinkStatus {
	if p.SeesAll() {
		return list
	}
	view := p.linksInView(spec)
	return keep(p, list, func(l *labv1.LinkStatus) bool { return view[l.GetName()] })
}

// Conns keeps the ends of connections at nodes in view.
func (p *Place) Conns(list []*labv1.ConnStatus) []*labv1.ConnStatus {
	return keep(p, list, func(c *labv1.ConnStatus) bool { return p.Views(c.GetNode()) })
}

// Transfers keeps those with an end in view.
func (p *Place) Transfers(list []*labv1.TransferStatus) []*labv1.TransferStatus {
	return keep(p, list, func(t *labv1.TransferStatus) bool { return p.Views(t.GetFrom()) || p.Views(t.GetTo()) })
}

// Execs keeps those that run on nodes in view.
func (p *Place) Execs(list []*labv1.ExecStatus) []*labv1.ExecStatus {
	return keep(p, list, func(e *labv1.ExecStatus) bool { return p.Views(e.GetNode()) })
}

// Faults keeps those of nodes and links in view.
func (p *Place) Faults(spec *labv1.LabSpec, list []*labv1.FaultStatus) []*labv1.FaultStatus {
	return keep(p, list, func(f *labv1.FaultStatus) bool { return p.ViewsFault(spec, f.GetFault()) })
}

// Hops keeps those at nodes in view.
func (p *Place) Hops(list []*labv1.PacketHop) []*labv1.PacketHop {
	return keep(p, list, func(h *labv1.PacketHop) bool { return p.Views(h.GetNode()) })
}

func keep[T any](p *Place, list []T, in func(T) bool) []T {
	if p.SeesAll() {
		return list
	}
	return slices.DeleteFunc(list, func(v T) bool { return !in(v) })
}
