package randomlab

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
)

// change is what an apply makes different at a time.
type change struct {
	t  int64
	do func(*labv1.LabSpec)
}

// live changes the lab while it runs: settings of links for a while and for good, a specification with other settings, a
// host that comes and perhaps goes, a link that is taken out and put back.
func (g *generator) live() {
	for range g.IntN(3) {
		g.linkSet()
	}
	var changes []change
	if g.chance(0.5) {
		changes = append(changes, g.otherSettings())
	}
	if g.chance(0.5) {
		changes = append(changes, g.newcomer()...)
	}
	if len(g.ring) > 0 && g.chance(0.5) {
		changes = append(changes, g.gap()...)
	}
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Compare(a.t, b.t) })
	spec := g.lab.Spec
	for _, c := range changes {
		spec = proto.Clone(spec).(*labv1.LabSpec)
		c.do(spec)
		g.at(c.t, &labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{Spec: spec}}})
	}
}

// linkSet patches a link that was there from the beginning, and stays.
func (g *generator) linkSet() {
	l := pick(g, g.fixed()...)
	in := &labv1.LinkSet{Link: l.A.Node + "--" + l.B.Node, Patch: &labv1.DirectionPatch{}}
	if g.chance(0.4) {
		in.Link = l.B.Node + "->" + l.A.Node
	}
	if g.chance(0.6) {
		in.DurationNs = g.between(20, 3000) * ms
	}
	p := in.Patch
	for range g.IntN(2) + 1 {
		switch g.IntN(7) {
		case 0:
			p.RateBps = proto.Uint64(uint64(g.between(500, 50_000)) * 1000)
		case 1:
			p.DelayNs = proto.Int64(g.between(0, 50) * ms)
		case 2:
			p.Loss = g.loss()
		case 3:
			p.Corrupt = proto.Float64(g.Float64() * 0.02)
		case 4:
			p.Queue = &labv1.Queue{Kind: labv1.QueueKind_QUEUE_KIND_DROPTAIL, LimitPackets: uint32(g.between(3, 50))}
		case 5:
			p.Duplicate = &labv1.Duplicate{Chance: g.Float64() * 0.1, DelayNs: g.between(0, 20) * ms}
		case 6:
			p.Jitter = &labv1.Jitter{AmountNs: g.between(1, 1000) * 1000, Reorder: g.chance(0.5)}
		}
	}
	g.at(g.between(50*ms, lastInput), &labv1.Input{Kind: &labv1.Input_LinkSet{LinkSet: in}})
}

// fixed are the links that no apply takes out.
func (g *generator) fixed() (list []*labv1.LinkSpec) {
	for _, l := range g.pairs {
		if !slices.Contains(g.ring, l) {
			list = append(list, l)
		}
	}
	return list
}

// otherSettings gives a link and a host's connections other settings.
func (g *generator) otherSettings() change {
	i, congestion := g.IntN(len(g.pairs)), pick(g, "reno", "cubic")
	to := g.direction()
	to.MtuBytes = g.pairs[i].Forward.MtuBytes
	host := pick(g, g.hosts...)
	return change{g.between(50*ms, lastInput), func(s *labv1.LabSpec) {
		for _, l := range s.Links {
			if proto.Equal(l.A, g.pairs[i].A) && proto.Equal(l.B, g.pairs[i].B) {
				l.Forward = to
			}
		}
		for _, n := range s.Nodes {
			if n.Name == host {
				n.Tcp.Congestion = proto.String(congestion)
			}
		}
	}}
}

// The host that comes while the lab runs.
const newcomer = "late"

// newcomer brings a host that sends and receives, and often takes it out in the midst of that.
func (g *generator) newcomer() []change {
	at := g.hosts[0]
	for _, n := range g.lab.Spec.Nodes {
		if n.Kind != labv1.NodeKind_NODE_KIND_HOST {
			at = n.Name
		}
	}
	other := g.hosts[0] // on a single link the only one that a third host reaches: hosts forward nothing
	if at != other {
		other = pick(g, g.hosts...)
	}
	node := g.newHost(newcomer)
	link := g.newLink(newcomer, at)
	come := g.between(50*ms, lastInput-sec)
	for i, ends := range [][2]string{{newcomer, other}, {other, newcomer}} {
		g.at(come+g.between(1, 300)*ms, &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{
			Id: fmt.Sprintf("n%d", i), From: ends[0], To: ends[1],
			Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: uint64(g.between(1, 100_000))},
		}}})
	}
	changes := []change{{come, func(s *labv1.LabSpec) {
		s.Nodes, s.Links = append(s.Nodes, node), append(s.Links, link)
	}}}
	if g.chance(0.6) {
		changes = append(changes, change{come + g.between(301, 1500)*ms, func(s *labv1.LabSpec) {
			s.Nodes = slices.DeleteFunc(s.Nodes, func(n *labv1.NodeSpec) bool { return n.Name == newcomer })
			s.Links = slices.DeleteFunc(s.Links, func(l *labv1.LinkSpec) bool { return l.A.Node == newcomer })
		}})
	}
	return changes
}

// gap takes a link of a ring out, so that traffic goes the other way round, and puts it back.
func (g *generator) gap() []change {
	l := pick(g, g.ring...)
	same := func(o *labv1.LinkSpec) bool { return proto.Equal(o.A, l.A) && proto.Equal(o.B, l.B) }
	out := g.between(50*ms, lastInput)
	for _, e := range g.lab.Journal { // faults of this link have to come while it is there
		switch e.Input.GetFault().GetLink() {
		case l.A.Node + "--" + l.B.Node, l.A.Node + "->" + l.B.Node:
			out = max(out, e.TNs+g.between(1, 200)*ms)
		}
	}
	return []change{
		{out, func(s *labv1.LabSpec) { s.Links = slices.DeleteFunc(s.Links, same) }},
		{out + g.between(50, 2000)*ms, func(s *labv1.LabSpec) { s.Links = append(s.Links, proto.Clone(l).(*labv1.LinkSpec)) }},
	}
}
