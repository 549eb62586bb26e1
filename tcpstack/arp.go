package tcpstack

import (
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// NeighbourState says what is known of a neighbour's hardware address (RFC 4861's words, which Linux uses for ARP too).
type NeighbourState uint8

// States of a neighbour.
const (
	NeighbourIncomplete NeighbourState = iota // asked for, by broadcast
	NeighbourReachable                        // known
	NeighbourProbe                            // known, but long ago: being asked again, by unicast
	NeighbourFailed                           // did not answer; the next datagram asks again
)

var neighbourStateNames = [...]string{"incomplete", "reachable", "probe", "failed"}

func (n NeighbourState) String() string { return nameOf(neighbourStateNames[:], uint8(n)) }

const (
	// arpTries is how many requests go out before a neighbour counts as unreachable (Linux: mcast_solicit and
	// ucast_solicit, 3 each).
	arpTries = 3
	// maxPendingPerNeighbour bounds the datagrams that wait for one neighbour's address (Linux: unres_qlen, 101 packets).
	// RFC 1122 2.3.2.2: "The link layer SHOULD save (rather than discard) at least one (the latest) packet".
	maxPendingPerNeighbour = 101
	// maxNeighbours bounds the table, so that a sweep over a network's addresses fills no memory (Linux: gc_thresh3).
	maxNeighbours = 1024
)

// neighbour is one address on an interface's link.
type neighbour struct {
	ifc     *Interface
	addr    uint32
	until   sim.Time               // believed to here, if reachable; else when it was last believed
	eth     [wire.EthernetLen]byte // the header of datagrams to it
	state   NeighbourState
	tries   uint8
	pending []*sim.Frame
	timer   sim.Timer
}

// neighbour finds the table's entry for addr, or makes it. It returns nil if the table is full of entries that are still
// being resolved.
func (i *Interface) neighbour(addr uint32) *neighbour {
	if n := i.neighbours[addr]; n != nil {
		return n
	}
	s := i.stack
	if len(s.neighbours) >= maxNeighbours && !s.evictNeighbour() {
		return nil
	}
	n := &neighbour{ifc: i, addr: addr, state: NeighbourFailed}
	n.timer.H = n
	copy(n.eth[6:], i.cfg.MAC[:])
	n.eth[12], n.eth[13] = uint8(wire.EtherTypeIPv4>>8), uint8(wire.EtherTypeIPv4&0xff)
	i.neighbours[addr] = n
	s.neighbours = append(s.neighbours, n)
	return n
}

// evictNeighbour makes room for one entry: the one that was confirmed longest ago.
func (s *Stack) evictNeighbour() bool {
	oldest := -1
	for k, n := range s.neighbours {
		if n.state != NeighbourIncomplete && (oldest < 0 || n.until < s.neighbours[oldest].until) {
			oldest = k
		}
	}
	if oldest < 0 {
		return false
	}
	n := s.neighbours[oldest]
	s.loop.Stop(&n.timer)
	delete(n.ifc.neighbours, n.addr)
	last := len(s.neighbours) - 1
	s.neighbours[oldest] = s.neighbours[last]
	s.neighbours = s.neighbours[:last]
	s.gen++ // cached routes hold it
	s.count[cARPEvicted]++
	return true
}

// send hands a datagram to the neighbour, now or when its address is known.
func (n *neighbour) send(f *sim.Frame) {
	s := n.ifc.stack
	switch n.state {
	case NeighbourReachable:
		if s.loop.Now() >= n.until {
			// RFC 1122 2.3.2.1 (2): "Unicast Poll -- Actively poll the remote host by periodically sending a
			// point-to-point ARP Request to it".
			n.setState(NeighbourProbe)
			n.tries = 0
			n.request()
		}
		n.transmit(f)
	case NeighbourProbe:
		n.transmit(f)
	case NeighbourFailed:
		n.setState(NeighbourIncomplete)
		n.tries = 0
		n.request()
		fallthrough
	case NeighbourIncomplete:
		if len(n.pending) == maxPendingPerNeighbour {
			s.drop(n.pending[0], dropNeighbourQueue) // the oldest, as Linux does
			copy(n.pending, n.pending[1:])
			n.pending = n.pending[:maxPendingPerNeighbour-1]
		}
		n.pending = append(n.pending, f)
	}
}

// request sends a request and waits for the answer.
func (n *neighbour) request() {
	s := n.ifc.stack
	dst := wire.Broadcast
	if n.state == NeighbourProbe {
		dst = wire.MAC(n.eth[:6])
	}
	n.tries++
	s.count[cARPRequestsSent]++
	// RFC 1122 2.3.2.1: "The recommended maximum rate is 1 per second per destination."
	s.loop.Arm(&n.timer, &s.id.Src, s.loop.Now()+s.cfg.ARPRetry)
	n.ifc.sendARP(dst, wire.ARP{
		Op: wire.ARPRequest, SenderMAC: n.ifc.cfg.MAC, SenderIP: addr4(n.ifc.addr), TargetIP: addr4(n.addr),
	})
}

// Fire is the end of the wait for an answer.
func (n *neighbour) Fire(sim.Time) {
	if n.tries < arpTries {
		n.request()
		return
	}
	s := n.ifc.stack
	s.count[cARPFailed]++
	n.setState(NeighbourFailed)
	s.gen++ // so that a router asks its table again before it comes back here
	// RFC 1122 2.3.2.2 leaves what then becomes of the packets open; Linux reports each as host unreachable.
	pending := n.pending
	n.pending = nil
	for _, f := range pending {
		if s.stopped {
			f.Release()
			continue
		}
		s.hostUnreachable(f)
	}
}

// learn takes in the hardware address that the neighbour has just told.
func (n *neighbour) learn(mac wire.MAC) {
	s := n.ifc.stack
	changed := n.state != NeighbourReachable || wire.MAC(n.eth[:6]) != mac
	copy(n.eth[:6], mac[:])
	n.until = s.loop.Now() + s.cfg.ARPTimeout
	s.loop.Stop(&n.timer)
	if changed {
		n.setState(NeighbourReachable)
	}
	pending := n.pending
	n.pending = nil
	for _, f := range pending {
		n.transmit(f)
	}
}

// SetNeighbour makes a neighbour's hardware address known for good, as an entry that an administrator makes does (Linux:
// NUD_PERMANENT). ip must be an address of the interface's network.
func (i *Interface) SetNeighbour(ip netip.Addr, mac wire.MAC) {
	if n := i.neighbour(num4(ip)); n != nil {
		n.learn(mac)
		n.until = sim.Never
	}
}

func (n *neighbour) setState(to NeighbourState) {
	n.state = to
	n.ifc.stack.recordNeighbour(n)
}

// release is the crash of the node.
func (n *neighbour) release() {
	n.ifc.stack.loop.Stop(&n.timer)
	for _, f := range n.pending {
		f.Release()
	}
	n.pending = nil
}

// sendARP sends an ARP packet to a hardware address.
func (i *Interface) sendARP(dst wire.MAC, a wire.ARP) {
	s := i.stack
	f := s.loop.NewFrame()
	f.Pkt, f.Verified = s.id.NextPacket(), true
	a.Put(f.Append(wire.ARPLen))
	wire.Ethernet{Dst: dst, Src: i.cfg.MAC, Type: wire.EtherTypeARP}.Put(f.Prepend(wire.EthernetLen))
	i.tx(f)
}

// arpInput receives an ARP packet that came from hardware address src. It follows RFC 826 "Packet Reception", with two
// departures. A sender's hardware address must be the one its frame came from: our links flip bits above where real
// Ethernet checks its FCS, and a mapping learned from a flipped bit would last a minute. And an address that is not of
// the interface's own network is not learned, so that strangers fill no table.
func (s *Stack) arpInput(ifc *Interface, f *sim.Frame, src wire.MAC) {
	if !gather(f, wire.ARPLen) {
		s.drop(f, dropARP)
		return
	}
	a, err := wire.ParseARP(f.Header())
	if err != nil || a.SenderMAC != src || src.IsGroup() || (a.Op != wire.ARPRequest && a.Op != wire.ARPReply) {
		s.drop(f, dropARP)
		return
	}
	f.Release()
	if a.Op == wire.ARPRequest {
		s.count[cARPRequestsReceived]++
	} else {
		s.count[cARPRepliesReceived]++
	}
	sender, target := num4(a.SenderIP), num4(a.TargetIP)
	if sender == ifc.addr {
		s.count[cARPConflicts]++ // RFC 5227 2.4; we keep our address, case (c)
		return
	}
	forUs := target == ifc.addr
	if sender != 0 && ifc.onLink(sender) {
		// RFC 826: "If the pair <protocol type, sender protocol address> is already in my translation table, update the
		// sender hardware address field of the entry" - that is what a gratuitous packet does, and no more than that.
		n := ifc.neighbours[sender]
		if n == nil && forUs {
			n = ifc.neighbour(sender)
		}
		if n != nil {
			n.learn(a.SenderMAC)
		}
	}
	if forUs && a.Op == wire.ARPRequest {
		s.count[cARPRepliesSent]++
		ifc.sendARP(a.SenderMAC, wire.ARP{
			Op: wire.ARPReply, SenderMAC: ifc.cfg.MAC, SenderIP: a.TargetIP, TargetMAC: a.SenderMAC, TargetIP: a.SenderIP,
		})
	}
}
