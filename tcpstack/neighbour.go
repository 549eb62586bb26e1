package tcpstack

import (
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// NeighbourState says what is known of a neighbour's hardware address (RFC 4861's words, which Linux uses
// for ARP too).
type NeighbourState uint8

// States of a neighbour.
const (
	NeighbourIncomplete NeighbourState = iota // asked for, by broadcast
	NeighbourReachable                        // known
	NeighbourProbe                            // known, but long ago: being asked again, by unicast
	NeighbourFailed                           // did not answer; the next datagram asks again
	NeighbourStale                            // known, but whether it can be reached is not (IPv6 only)
	NeighbourDelay                            // as stale, while the upper layer is given time to confirm it (IPv6 only)
)

var neighbourStateNames = [...]string{"incomplete", "reachable", "probe", "failed", "stale", "delay"}

func (n NeighbourState) String() string { return nameOf(neighbourStateNames[:], uint8(n)) }

const (
	// neighbourTries is how many requests go out before a neighbour counts as unreachable (Linux: mcast_solicit and
	// ucast_solicit, 3 each; RFC 4861 10: MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT).
	neighbourTries = 3
	// delayFirstProbe is how long the upper layer has to confirm a neighbour (RFC 4861 10: DELAY_FIRST_PROBE_TIME).
	delayFirstProbe = 5 * sim.Second
	// maxPendingPerNeighbour bounds the datagrams that wait for one neighbour's address (Linux: unres_qlen, 101 packets).
	// RFC 1122 2.3.2.2: "The link layer SHOULD save (rather than discard) at least one (the latest) packet".
	maxPendingPerNeighbour = 101
	// maxNeighbours bounds the table, so that a sweep over a network's addresses fills no memory (Linux: gc_thresh3).
	maxNeighbours = 1024
)

// neighbour is one address on an interface's link.
type neighbour struct {
	ifc     *Interface
	until   sim.Time               // believed to here, if reachable; else when it was last believed
	eth     [wire.EthernetLen]byte // the header of datagrams to it
	state   NeighbourState
	six     bool // IPv6: resolved by RFC 4861 and not by ARP
	router  bool // it has said so (IPv6)
	tries   uint8
	addr    ipAddr
	asker   ipAddr // whose datagram asked for its address (IPv6)
	pending []*sim.Frame
	timer   sim.Timer

	redirectAt sim.Time // when it was last told of a better first hop, or would have been
	redirects  uint8    // how often since it was silent

	_ [16]byte // to whole cache lines: the first holds what each packet needs
}

// neighbour finds the table's entry for an IPv4 address, or makes it.
func (i *Interface) neighbour(addr uint32) *neighbour { return i.neighbourAt(ipAddr4(addr)) }

// neighbourAt finds the table's entry for addr, or makes it. It returns nil if the table is full of entries that are still
// being resolved.
func (i *Interface) neighbourAt(addr ipAddr) *neighbour {
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
	typ := wire.EtherTypeIPv4
	if !addr.is4() {
		n.six, typ = true, wire.EtherTypeIPv6
	}
	n.eth[12], n.eth[13] = uint8(typ>>8), uint8(typ)
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
		switch {
		case s.loop.Now() < n.until:
		case n.six:
			n.delay()
		default:
			// RFC 1122 2.3.2.1 (2): "Unicast Poll -- Actively poll the remote host by periodically sending a
			// point-to-point ARP Request to it".
			n.setState(NeighbourProbe)
			n.tries = 0
			n.request()
		}
		n.transmit(f)
	case NeighbourStale:
		n.delay()
		n.transmit(f)
	case NeighbourProbe, NeighbourDelay:
		n.transmit(f)
	case NeighbourFailed:
		n.setState(NeighbourIncomplete)
		if n.six {
			n.asker = ipAddr6(f.Header()[wire.IPv6OffSrc:])
		}
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

// delay: RFC 4861 7.3.3: "The first time a node sends a packet to a neighbor whose entry is STALE, the sender changes the
// state to DELAY and sets a timer to expire in DELAY_FIRST_PROBE_TIME seconds."
func (n *neighbour) delay() {
	s := n.ifc.stack
	n.setState(NeighbourDelay)
	s.loop.Arm(&n.timer, &s.id.Src, s.loop.Now()+delayFirstProbe)
}

// request sends a request and waits for the answer.
func (n *neighbour) request() {
	s := n.ifc.stack
	n.tries++
	if n.six {
		s.loop.Arm(&n.timer, &s.id.Src, s.loop.Now()+n.ifc.six.retry)
		n.solicit()
		return
	}
	// RFC 1122 2.3.2.1: "The recommended maximum rate is 1 per second per destination."
	s.loop.Arm(&n.timer, &s.id.Src, s.loop.Now()+s.cfg.ARPRetry)
	n.requestARP()
}

// Fire is the end of the wait for an answer, or for the upper layer's word.
func (n *neighbour) Fire(sim.Time) {
	if n.state == NeighbourDelay {
		// RFC 4861 7.3.3: "If the entry is still in the DELAY state when the timer expires, the entry's state changes to
		// PROBE."
		n.setState(NeighbourProbe)
		n.tries, n.asker = 0, ipAddr{} // no packet waits: as Linux does, the probe comes from the link-local address
	}
	if n.tries < neighbourTries {
		n.request()
		return
	}
	s := n.ifc.stack
	if n.six {
		s.count[cNDPFailed]++
	} else {
		s.count[cARPFailed]++
	}
	n.setState(NeighbourFailed)
	s.redirects.gone(n)
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
	n.until = s.loop.Now() + n.believed()
	s.loop.Stop(&n.timer)
	if changed {
		n.setState(NeighbourReachable)
	}
	n.flush()
}

// believed is how long a confirmation holds.
func (n *neighbour) believed() sim.Time {
	if n.six {
		return n.ifc.six.reachable
	}
	return n.ifc.stack.cfg.ARPTimeout
}

// confirm takes the upper layer's word that the neighbour gets what it is sent.
//
// RFC 4861 7.3.1: "forward progress" is made if "recent packets sent to that peer are actually reaching it": "receipt
// of a (new) acknowledgment indicates that previously sent data reached the peer".
func (n *neighbour) confirm() {
	s := n.ifc.stack
	switch n.state {
	case NeighbourStale, NeighbourDelay, NeighbourProbe:
		s.loop.Stop(&n.timer)
		n.setState(NeighbourReachable)
		fallthrough
	case NeighbourReachable:
		if n.until != sim.Never { // SetNeighbour's is believed for good
			n.until = s.loop.Now() + n.believed()
		}
	}
}

// flush sends what waited for the neighbour's address.
func (n *neighbour) flush() {
	pending := n.pending
	n.pending = nil
	for _, f := range pending {
		n.transmit(f)
	}
}

// SetNeighbour makes a neighbour's hardware address known for good, as an entry that an administrator makes does (Linux:
// NUD_PERMANENT). ip must be an address of the interface's network.
func (i *Interface) SetNeighbour(ip netip.Addr, mac wire.MAC) {
	if n := i.neighbourAt(ipAddrOf(ip)); n != nil {
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
