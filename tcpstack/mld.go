package tcpstack

import (
	"encoding/binary"
	"slices"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Multicast listener discovery, version 2 (RFC 3810), the listener's part: RFC 4861 7.2.1 has the groups of neighbour
// discovery joined by it. In a lab nobody routes groups, and switches flood them, so that what is reported changes nothing
// but what captures show; who speaks unasked (hosts with SLAAC, routers that advertise) reports as Linux does.

const (
	// mldRobustness and mldInterval are RFC 3810 9.1's and 9.11's (Linux: mld_qrv, mldv2_unsolicited_report_interval): each
	// change is told so often, the repetitions within that time.
	mldRobustness = 2
	mldInterval   = sim.Second
)

// allMLDRouters is where reports go (RFC 3810 5.2.14).
var allMLDRouters = ipAddr{0xff02 << 48, 0x16}

// mldGroup is a group that an interface has joined, or has left and still says so.
type mldGroup struct {
	group  ipAddr
	joined bool
	tell   uint8 // how often it is still to be told
}

// mldListener reports an interface's groups. Its timer tells of changes; the other one answers a query.
type mldListener struct {
	x      *interface6
	groups []mldGroup
	timer  sim.Timer
	answer mldAnswer
}

// mldAnswer is an answer under way.
type mldAnswer struct {
	l     *mldListener
	group ipAddr // asked for; zero: all
	timer sim.Timer
}

func newMLDListener(x *interface6) *mldListener {
	l := &mldListener{x: x}
	l.timer.H = l
	l.answer.l, l.answer.timer.H = l, &l.answer
	return l
}

func (l *mldListener) stop() {
	loop := l.x.ifc.stack.loop
	loop.Stop(&l.timer)
	loop.Stop(&l.answer.timer)
}

// wanted are the groups that are to be reported. RFC 3810 6: the all-nodes group is not, nor is anything that stays on the
// node.
func (l *mldListener) wanted() []ipAddr {
	s := l.x.ifc.stack
	var list []ipAddr
	if s.cfg.Forwarding {
		list = append(list, allRouters)
	}
	for _, a := range l.x.addrs {
		checked := a.state == AddressTentative && a.probes < s.cfg.DADTransmits
		if g := solicitedNode(a.addr); (a.usable() || checked) && !slices.Contains(list, g) {
			list = append(list, g)
		}
	}
	return list
}

// refresh joins and leaves groups as the interface's addresses have changed. What is new is told soon, or by flush.
//
// RFC 4861 7.2.1: "a node MUST NOT leave the solicited-node multicast group until all assigned addresses corresponding to
// that multicast address have been removed."
func (l *mldListener) refresh() {
	list, changed := l.wanted(), false
	for i := range l.groups {
		if g := &l.groups[i]; g.joined != slices.Contains(list, g.group) {
			g.joined, g.tell, changed = !g.joined, mldRobustness, true
		}
	}
	for _, w := range list {
		if !slices.ContainsFunc(l.groups, func(g mldGroup) bool { return g.group == w }) {
			l.groups, changed = append(l.groups, mldGroup{w, true, mldRobustness}), true
		}
	}
	if changed {
		l.arm()
	}
}

// again tells of all groups once more: the link-local address may be used from now on, and what was told before came from
// the unspecified one, which routers pass over (RFC 3590; Linux: ipv6_mc_dad_complete).
func (l *mldListener) again() {
	for i := range l.groups {
		l.groups[i].tell = mldRobustness
	}
	l.Fire(l.x.ifc.stack.loop.Now())
}

// flush tells at once what is yet to be told for the first time.
func (l *mldListener) flush() {
	if slices.ContainsFunc(l.groups, func(g mldGroup) bool { return g.tell == mldRobustness }) {
		l.Fire(l.x.ifc.stack.loop.Now())
	}
}

// arm sets the timer for the next report.
func (l *mldListener) arm() {
	s := l.x.ifc.stack
	s.loop.Arm(&l.timer, &s.id.Src, s.loop.Now()+1+s.six.mldDelay(mldInterval))
}

// Fire tells of changes. RFC 3810 6.1: a report of a change is repeated, "at intervals chosen at random from the range (0,
// [Unsolicited Report Interval])".
func (l *mldListener) Fire(sim.Time) {
	var records []wire.MLDRecord
	more := false
	for i := range l.groups {
		g := &l.groups[i]
		if g.tell == 0 {
			continue
		}
		g.tell--
		more = more || g.tell > 0
		typ := uint8(wire.MLDChangeToExclude)
		if !g.joined {
			typ = wire.MLDChangeToInclude
		}
		records = append(records, wire.MLDRecord{Type: typ, Group: g.group.netip()})
	}
	l.groups = slices.DeleteFunc(l.groups, func(g mldGroup) bool { return !g.joined && g.tell == 0 })
	l.x.ifc.stack.loop.Stop(&l.timer)
	if more {
		l.arm()
	}
	l.report(records)
}

// report sends records to the link's multicast routers: with a hop limit of 1, and from the unspecified address as long as
// there is no other (RFC 3810 5.2.13).
func (l *mldListener) report(records []wire.MLDRecord) {
	if len(records) == 0 {
		return
	}
	i, s := l.x.ifc, l.x.ifc.stack
	src, ok := l.x.linkLocal()
	if !ok {
		src = ipAddr{}
	}
	f := s.loop.NewFrame()
	f.Pkt, f.Verified = s.id.NextPacket(), true
	rt := route{six: &route6{src: src, dst: allMLDRouters}}
	h := f.Append(wire.IPv6Len + wire.RouterAlertLen)
	s.putIPv6(h, &rt, wire.ProtoHopByHop, 0)
	copy(h[wire.IPv6Len:], wire.RouterAlert[:])
	c := s.loop.NewChunk(wire.MLDReportLen + wire.MLDRecordLen*len(records))
	b := c.Data
	wire.PutMLDReport(b, records)
	// Behind a hop-by-hop header nobody fills in a checksum later.
	from, to := src.netip().As16(), allMLDRouters.netip().As16()
	binary.BigEndian.PutUint16(b[wire.ICMPOffChecksum:], ^wire.AddSums(wire.PseudoSum6(from, to, wire.ProtoICMPv6, len(b)), wire.Sum(b)))
	f.SetPayload(c, 0, len(b))
	binary.BigEndian.PutUint16(h[wire.IPv6OffPayloadLen:], uint16(wire.RouterAlertLen+len(b)))
	h[wire.IPv6OffHopLimit] = 1
	s.count[cIP6Sent]++
	s.count[cMLDReportsSent]++
	if s.loop.Rec != nil {
		s.recordICMP(KindICMPSent, f, h, b)
	}
	c.Release()
	wire.Ethernet{Dst: groupMAC(allMLDRouters), Src: i.cfg.MAC, Type: wire.EtherTypeIPv6}.Put(f.Prepend(wire.EthernetLen))
	i.tx.Transmit(f)
}

// mldInput takes a message of multicast listener discovery, and owns f.
//
// RFC 3810 6.2: a query counts if its source is link-local and its hop limit 1. (That there was a router alert cannot be
// seen any more: extension headers are taken off before.)
func (s *Stack) mldInput(ifc *Interface, f *sim.Frame, h []byte) {
	defer f.Release()
	if h[wire.IPv6Len] != wire.ICMPv6MLDQuery {
		s.count[cMLDReportsReceived]++ // a router hears what others report; no group is routed
		return
	}
	s.count[cMLDQueriesReceived]++
	var room [wire.IPv6MinMTU]byte
	if ifc.six == nil || ifc.six.mld == nil || f.Len() > len(room) || h[wire.IPv6OffHopLimit] != 1 || !ipAddr6(h[wire.IPv6OffSrc:]).isLinkLocal() {
		return
	}
	if q, err := wire.ParseMLDQuery(flatten(room[:], f)[wire.IPv6Len:]); err == nil {
		ifc.six.mld.answer.ask(ipAddrOf(q.Group), sim.Time(q.MaxDelayMs)*sim.Millisecond)
	}
}

// ask has an answer sent within the time that a query leaves. Of queries that come meanwhile one answer is made that tells
// of all groups.
func (a *mldAnswer) ask(group ipAddr, within sim.Time) {
	s := a.l.x.ifc.stack
	at := s.loop.Now() + 1 + s.six.mldDelay(max(within, 1))
	if a.timer.Armed() {
		if group != a.group {
			a.group = ipAddr{}
		}
		at = min(at, a.timer.At())
	} else {
		a.group = group
	}
	s.loop.Arm(&a.timer, &s.id.Src, at)
}

// Fire answers.
func (a *mldAnswer) Fire(sim.Time) {
	var records []wire.MLDRecord
	for _, g := range a.l.groups {
		if g.joined && (a.group.isZero() || a.group == g.group) {
			records = append(records, wire.MLDRecord{Type: wire.MLDModeIsExclude, Group: g.group.netip()})
		}
	}
	a.l.report(records)
}
