package node

import (
	"net/netip"
	"slices"
	"strconv"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
	"labd.dev/tcpstack/congestion"
)

// Bounds of the lists of routes in the status of nodes: in a large lab each node has a route to every network, and the
// lists of all nodes together must fit a message.
const (
	maxStatusRoutes = 1000   // of a node
	maxLabRoutes    = 20_000 // of all nodes: 1 MB
	minStatusRoutes = 16     // of a node, in the largest lab
)

// Status tells how the node stands.
func (n *Node) Status() *labv1.NodeStatus {
	s := &labv1.NodeStatus{
		Name: n.plan.Name, Id: uint32(n.plan.ID), Kind: labv1.NodeKind_NODE_KIND_HOST, Up: n.Up(), Boots: n.id.Boots,
	}
	if n.forwards() {
		s.Kind = labv1.NodeKind_NODE_KIND_ROUTER
	}
	if n.plan.switches() {
		s.Kind = labv1.NodeKind_NODE_KIND_SWITCH
	}
	for _, p := range n.ports {
		s.Interfaces = append(s.Interfaces, p.status())
	}
	s.Routes = n.routeStatus()
	if n.learner != nil {
		s.Counters = n.learner.counters()
	}
	for _, a := range n.services {
		s.Apps = append(s.Apps, a.Name())
	}
	for _, t := range n.work {
		if !t.app.Done() {
			s.Apps = append(s.Apps, t.app.Name())
		}
	}
	if n.stack != nil {
		for _, c := range n.stack.Counters() {
			s.Counters = append(s.Counters, &labv1.Counter{Name: c.Name, Value: c.Value})
		}
	}
	return s
}

func (p *Port) status() *labv1.InterfaceStatus {
	var six []*labv1.AddressStatus
	if p.Node.stack != nil {
		for _, a := range p.ifc.Addresses() {
			six = append(six, &labv1.AddressStatus{Address: a.Prefix.String(), State: a.State.String(), Slaac: a.Auto})
		}
	}
	return &labv1.InterfaceStatus{
		Addresses6: six,
		Name:       p.Plan.Name, Mac: p.Plan.MAC.String(), Address: p.address(),
		Link: p.Node.net.cfg.Plan.Links[p.Plan.Link].Name, MtuBytes: uint32(p.out.base.MTU),
		Up:        p.Node.Up() && !p.out.link.Config().Down,
		RxPackets: p.rxPackets, RxBytes: p.rxBytes, TxPackets: p.txPackets, TxBytes: p.txBytes,
	}
}

// address is the port's own; a switch's has none.
func (p *Port) address() string {
	if !p.Plan.Prefix.IsValid() {
		return ""
	}
	return p.Plan.Prefix.String()
}

// counters are what a switch has counted.
func (l *learner) counters() []*labv1.Counter {
	return []*labv1.Counter{
		{Name: "switch.filtered", Value: l.filtered}, {Name: "switch.flooded", Value: l.flooded},
		{Name: "switch.forwarded", Value: l.forwarded}, {Name: "switch.learned", Value: uint64(len(l.table))},
	}
}

// routeStatus lists the routing table as the stack uses it: connected, static, then the shortest paths to all other
// networks, each of several of equal cost; for IPv4, then for IPv6.
func (n *Node) routeStatus() []*labv1.RouteStatus {
	if n.plan.switches() {
		return nil
	}
	var out []*labv1.RouteStatus
	bound := max(min(maxStatusRoutes, maxLabRoutes/len(n.net.nodes)), minStatusRoutes)
	at := n.net.loopOf(n.index)
	for _, v := range []struct {
		family labv1.Family
		ways   *routes
	}{{labv1.Family_FAMILY_IPV4, n.net.routes[at]}, {labv1.Family_FAMILY_IPV6, n.net.routes6[at]}} {
		if n.plan.speaks(v.family) {
			out = n.appendRoutes(out, v.family, v.ways, bound)
		}
	}
	return out
}

// appendRoutes appends the routes of one version of IP.
func (n *Node) appendRoutes(out []*labv1.RouteStatus, family labv1.Family, ways *routes, bound int) []*labv1.RouteStatus {
	six := family == labv1.Family_FAMILY_IPV6
	network := func(segment int) netip.Prefix {
		if six {
			return n.net.cfg.Plan.Segments[segment].Subnet6
		}
		return n.net.cfg.Plan.Segments[segment].Subnet
	}
	own := map[int]bool{}
	for _, p := range n.ports {
		own[p.Plan.Segment] = true
		if net := network(p.Plan.Segment); net.IsValid() {
			out = append(out, &labv1.RouteStatus{Destination: net.String(), Interface: p.Plan.Name, Origin: "connected"})
		}
	}
	for _, r := range n.plan.Spec.GetRoutes() {
		via, err := netip.ParseAddr(r.GetVia())
		if p := n.portTo(via); err == nil && p != nil && via.Is6() == six {
			out = append(out, &labv1.RouteStatus{Destination: r.GetDestination(), Via: r.GetVia(), Interface: p.Plan.Name, Origin: "static"})
		}
	}
	if six && n.plan.slaac() {
		return out // its way on is the router that it hears
	}
	for i := range n.net.cfg.Plan.Segments {
		if len(out) >= bound {
			break
		}
		if own[i] || !network(i).IsValid() {
			continue
		}
		n.hops = ways.hops(n.hops[:0], n.index, int32(i))
		for _, h := range n.hops {
			via := n.net.cfg.Plan.station(h.via)
			next := via.Prefix.Addr()
			if six {
				next = tcpstack.LinkLocal(via.MAC)
			}
			out = append(out, &labv1.RouteStatus{
				Destination: network(i).String(), Via: next.String(), Interface: n.ports[h.ifc].Plan.Name, Origin: "automatic",
			})
		}
	}
	return out
}

// LinkStatus tells how all links stand, in name order. Of one that leads to another shard each tells what it knows: who
// sends, all but what was delivered; who receives, that alone.
func (w *Network) LinkStatus() []*labv1.LinkStatus {
	out := make([]*labv1.LinkStatus, 0, len(w.cfg.Plan.Links))
	for i := range w.cfg.Plan.Links {
		l := &w.cfg.Plan.Links[i]
		f := &w.cfg.Plan.Directions[l.Forward]
		if w.nodes[f.From] == nil && w.nodes[f.To] == nil {
			continue
		}
		out = append(out, &labv1.LinkStatus{
			Name: l.Name, Forward: w.directionStatus(l.Forward), Reverse: w.directionStatus(l.Reverse),
		})
	}
	return out
}

func (w *Network) directionStatus(i int) *labv1.DirectionStatus {
	if d := w.directions[i]; d != nil {
		return d.status()
	}
	p := &w.cfg.Plan.Directions[i]
	s := &labv1.DirectionStatus{Name: p.Name}
	if in := w.inwardBy[p.ID]; in != nil {
		s.DeliveredPackets, s.DeliveredBytes = in.receiver.Delivered()
	}
	return s
}

func (d *direction) status() *labv1.DirectionStatus {
	s := d.link.Stats()
	return &labv1.DirectionStatus{
		Name: d.plan.Name, Spec: directionSpec(d.link.Config()), QueuePackets: uint32(s.QueuePackets), QueueBytes: uint64(s.QueueBytes),
		SentPackets: s.Sent, DeliveredPackets: s.Delivered, DeliveredBytes: s.DeliveredBytes, DroppedPackets: s.Dropped(),
		CorruptedPackets: s.Corrupted, DuplicatedPackets: s.Duplicated, MarkedPackets: s.Marked,
		RingPackets: uint32(s.Device.RingPackets), RingBytes: uint64(s.Device.RingBytes), BqlLimitBytes: uint64(s.Device.BQLLimit),
	}
}

// Conns tells of the connections that the node's stack holds, in the order they were made; those half
// open and those of which only TIME-WAIT is left follow, in the order in which they came there.
func (n *Node) Conns() []*labv1.ConnStatus {
	if n.stack == nil {
		return nil
	}
	conns, waiting := n.stack.Conns(), n.stack.TimeWaits()
	out := make([]*labv1.ConnStatus, 0, len(conns)+len(waiting))
	for _, c := range conns {
		out = append(out, &labv1.ConnStatus{
			Conn: n.net.ConnName(c.ID()), Node: n.plan.Name, Local: c.LocalAddr().String(), Remote: c.RemoteAddr().String(),
			State: c.State().String(), RecvQ: uint64(c.Buffered()), SendQ: uint64(c.Unacked()), Initiator: c.Initiator(),
			Info: tcpInfo(c.Info(), c.Figures()),
		})
	}
	for _, h := range n.stack.HalfOpens() {
		out = append(out, &labv1.ConnStatus{
			Conn: n.net.ConnName(h.ID), Node: n.plan.Name, Local: h.Local.String(), Remote: h.Remote.String(),
			State: tcpstack.StateSynRcvd.String(),
		})
	}
	for _, w := range waiting {
		out = append(out, &labv1.ConnStatus{
			Conn: n.net.ConnName(w.ID), Node: n.plan.Name, Local: w.Local.String(), Remote: w.Remote.String(),
			State: tcpstack.StateTimeWait.String(), Initiator: w.Initiator,
		})
	}
	return out
}

// Listeners tells of the sockets that listen, by port, as ss does: what waits in RecvQ is half open, SendQ is the backlog.
func (n *Node) Listeners() []*labv1.ConnStatus {
	if n.stack == nil {
		return nil
	}
	var out []*labv1.ConnStatus
	for _, l := range n.stack.Listeners() {
		local := l.Addr()
		if !local.Addr().IsValid() {
			local = netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port())
		}
		out = append(out, &labv1.ConnStatus{Node: n.plan.Name, Local: local.String(), Remote: "0.0.0.0:0",
			State: tcpstack.StateListen.String(), RecvQ: uint64(l.HalfOpen()), SendQ: uint64(l.Backlog())})
	}
	return out
}

// ConnName prints a connection's id: "client/3"; empty for none.
func (w *Network) ConnName(id sim.ConnID) string {
	i, ok := slices.BinarySearchFunc(w.cfg.Plan.Nodes, sim.Origin(id.Node()), func(n NodePlan, o sim.Origin) int { return int(n.ID) - int(o) })
	if id == 0 {
		return ""
	}
	if was := w.former.nodes[sim.Origin(id.Node())]; !ok && was != nil {
		return was.Name + "/" + strconv.FormatUint(id.Counter(), 10)
	}
	if !ok {
		return ""
	}
	return w.cfg.Plan.Nodes[i].Name + "/" + strconv.FormatUint(id.Counter(), 10)
}

// tcpInfo is a connection's Info, every field of it, and what its congestion control tells of itself.
func tcpInfo(i tcpstack.Info, cc []congestion.Figure) *labv1.TcpInfo {
	m := &labv1.TcpInfo{
		CaName: i.CAName, CaState: i.CAState, Retransmits: i.Retransmits, Backoff: i.Backoff,
		TsOk: i.TSOK, SackOk: i.SackOK, WscaleOk: i.WscaleOK, SndWscale: i.SndWscale, RcvWscale: i.RcvWscale,
		RtoUs: i.RTOUs, AtoUs: i.ATOUs, SndMss: i.SndMSS, RcvMss: i.RcvMSS, Advmss: i.AdvMSS, Pmtu: i.PMTU,
		Unacked: i.Unacked, Sacked: i.Sacked, Lost: i.Lost, Retrans: i.Retrans,
		RttUs: i.RTTUs, RttvarUs: i.RTTVarUs, MinRttUs: i.MinRTTUs,
		SndCwnd: i.SndCwnd, SndSsthresh: i.SndSSThresh, SndWnd: i.SndWnd, RcvWnd: i.RcvWnd, RcvSpace: i.RcvSpace,
		TotalRetrans: i.TotalRetrans, BytesSent: i.BytesSent, BytesAcked: i.BytesAcked, BytesReceived: i.BytesReceived,
		BytesRetrans: i.BytesRetrans, SegsOut: i.SegsOut, SegsIn: i.SegsIn, DataSegsOut: i.DataSegsOut, DataSegsIn: i.DataSegsIn,
		DeliveryRate: i.DeliveryRate, PacingRate: i.PacingRate, NotsentBytes: i.NotsentBytes,
		LastDataSentMs: i.LastDataSentMs, LastDataRecvMs: i.LastDataRecvMs, LastAckRecvMs: i.LastAckRecvMs,
		Probes: i.Probes, RcvSsthresh: i.RcvSSThresh, RcvRttUs: i.RcvRTTUs, Reordering: i.Reordering, MaxPacingRate: i.MaxPacingRate,
		DeliveryRateAppLimited: i.DeliveryRateAppLimited, BusyTimeUs: i.BusyTimeUs, RwndLimitedUs: i.RwndLimitedUs,
		SndbufLimitedUs: i.SndbufLimitedUs, Delivered: i.Delivered, DeliveredCe: i.DeliveredCE, DsackDups: i.DSACKDups,
		ReordSeen: i.ReordSeen, RcvOoopack: i.RcvOOOPack, TotalRto: i.TotalRTO, TotalRtoRecoveries: i.TotalRTORecoveries,
		TotalRtoTimeMs: i.TotalRTOTimeMs, Ecn: i.ECN, EcnSeen: i.ECNSeen, SynData: i.SYNData, FastopenClientFail: i.FastOpenClientFail,
	}
	for _, f := range cc {
		m.Congestion = append(m.Congestion, &labv1.CongestionFigure{Name: f.Name, Value: f.Value})
	}
	return m
}
