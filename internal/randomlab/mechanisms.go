package randomlab

import (
	"math/rand/v2"

	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
)

// mechanismShare of the labs use mechanisms that are off unless somebody asks for them, or do without some that are on.
const mechanismShare = 0.3

// mechanisms draws, for part of the labs, what their hosts' TCP does differently. It has dice of its own, so that what else
// a seed draws stays. What each host has it keeps over all live changes.
func (g *generator) mechanisms() {
	if g.lab.Seed%alikeEvery == 0 {
		return // their links are all the same
	}
	m := &generator{Rand: rand.New(rand.NewPCG(g.lab.Seed, 0x6d656368))}
	ecn, given := false, map[string]*labv1.TcpSettings{}
	if m.chance(mechanismShare) {
		ecn = m.chance(0.5)
		for _, n := range g.lab.Spec.Nodes {
			if n.Tcp != nil {
				given[n.Name] = m.mechanismsOf(ecn)
			}
		}
	}
	for name, t := range g.fastOpeners() {
		if given[name] == nil {
			given[name] = &labv1.TcpSettings{}
		}
		proto.Merge(given[name], t)
	}
	device := drawDevice(m)
	for _, s := range g.lab.specs() {
		for _, n := range s.Nodes {
			if t := given[n.Name]; t != nil && n.Tcp != nil {
				n.Tcp = proto.Clone(n.Tcp).(*labv1.TcpSettings)
				proto.Merge(n.Tcp, t)
			}
		}
		for _, l := range s.Links {
			if ecn {
				marking(l.Forward, device)
				marking(l.Reverse, device)
			}
		}
	}
}

// uses reports whether a node's congestion control is the one of that name. No live change replaces it.
func (l *Lab) uses(node, name string) bool {
	for _, n := range l.Spec.Nodes {
		if n.Name == node {
			return n.GetTcp().GetCongestion() == name
		}
	}
	return false
}

func (l *Lab) usesBBR(node string) bool { return l.uses(node, "bbr") || l.uses(node, "bbr3") }

// drawDevice draws what is behind a queue; nil: nothing.
func drawDevice(m *generator) *labv1.QueueDevice {
	if !m.chance(0.5) {
		return nil
	}
	v := &labv1.QueueDevice{RingPackets: uint32(m.between(1, 10))}
	if m.chance(0.7) {
		v.Bql = &labv1.ByteQueueLimits{HoldTimeNs: pick(m, int64(ms), 100*ms)}
	}
	return v
}

// marking makes a direction's queue mark what waits long, so that ECN has something to tell.
func marking(d *labv1.DirectionSpec, device *labv1.QueueDevice) {
	if d.Queue == nil {
		d.Queue = &labv1.Queue{Kind: labv1.QueueKind_QUEUE_KIND_DROPTAIL, LimitPackets: 1000}
	}
	d.Queue.Mark, d.Queue.Device = &labv1.QueueMark{SojournNs: 5 * ms}, device
}

func (g *generator) mechanismsOf(ecn bool) *labv1.TcpSettings {
	t := &labv1.TcpSettings{}
	if ecn {
		t.Ecn = proto.String("on")
	}
	if g.chance(0.5) {
		t.Congestion = proto.String(pick(g, "bbr", "bbr3", "dctcp"))
	}
	for _, b := range []**bool{&t.Rack, &t.Tlp, &t.Prr, &t.Frto, &t.Eifel, &t.Dsack, &t.LimitedTransmit, &t.CwndValidation} {
		if g.chance(0.15) {
			*b = proto.Bool(false)
		}
	}
	if g.chance(0.15) {
		t.Sack = proto.Bool(false)
	}
	if g.chance(0.4) {
		t.Pacing = proto.Bool(true)
	}
	if g.chance(0.4) {
		t.FastOpen = proto.String(pick(g, "off", "client"))
	}
	if g.chance(0.3) {
		t.SynCookies = proto.String("always")
	}
	if g.chance(0.3) {
		t.MtuProbing = proto.String(pick(g, "blackhole", "always"))
	}
	if g.chance(0.3) {
		t.KeepAlive, t.KeepAliveTimeNs = proto.Bool(true), proto.Int64(g.between(200, 3000)*ms)
		t.KeepAliveIntervalNs, t.KeepAliveProbes = proto.Int64(g.between(200, 2000)*ms), proto.Uint32(uint32(g.between(2, 5)))
	}
	if g.chance(0.2) {
		t.MemoryLimitBytes = proto.Uint64(uint64(g.between(32, 256)) << 10)
	}
	return t
}
