package tcpstack

import "labd.dev/sim"

const (
	// maxPathMTUs bounds the destinations whose path is known to take less than the first link: whoever forges errors fills
	// no memory. The one that was learned first makes room.
	maxPathMTUs = 256
	// pathMTULife is how long a smaller MTU is believed. RFC 8201 4: "An attempt to detect an increase ... must not be done
	// less than 5 minutes after a Packet Too Big message has been received"; 10 minutes are its recommendation and Linux's
	// (net.ipv6.route.mtu_expires).
	pathMTULife = 600 * sim.Second
)

// pathMTU is what a Packet Too Big message has told of the way to a destination.
type pathMTU struct {
	dst   ipAddr
	mtu   int
	until sim.Time
}

// pathMTUs are the paths that take less than their first link, in the order in which that was learned.
type pathMTUs struct{ list []pathMTU }

// lookup is the largest packet that the path to dst takes, as far as is known, and until when that holds.
func (t *pathMTUs) lookup(dst ipAddr, link int, now sim.Time) (mtu int, until sim.Time) {
	for i := range t.list {
		if e := &t.list[i]; e.dst == dst && now < e.until && e.mtu < link {
			return e.mtu, e.until
		}
	}
	return link, sim.Never
}

// set notes a path's MTU.
func (t *pathMTUs) set(dst ipAddr, mtu int, until sim.Time) {
	for i := range t.list {
		if t.list[i].dst == dst {
			t.list[i].mtu, t.list[i].until = mtu, until
			return
		}
	}
	if len(t.list) == maxPathMTUs {
		t.list = t.list[:copy(t.list, t.list[1:])]
	}
	t.list = append(t.list, pathMTU{dst, mtu, until})
}

// FlushPathMTUs forgets what paths take (net.ipv4.route.flush, ip route flush cache). Connections keep what they have.
func (s *Stack) FlushPathMTUs() {
	s.tcp.paths.list, s.six.paths.list = nil, nil
	s.gen++ // routes keep it
}

// pathTooNarrow takes in a Packet Too Big message about a packet that this stack has sent to dst. It reports whether the
// path's MTU has become less.
//
// RFC 8201 4: "If a node receives a Packet Too Big message reporting a next-hop MTU that is less than the IPv6 minimum link
// MTU, it must discard it." "A node must not increase its estimate of the Path MTU in response to the contents of a Packet
// Too Big message."
func (s *Stack) pathTooNarrow(dst ipAddr, mtu int) bool {
	rt, err := s.route6(ipAddr{}, dst, nil, 0)
	if err != nil || mtu < minPathMTU || mtu >= rt.six.mtu {
		return false
	}
	s.six.paths.set(dst, mtu, s.loop.Now()+pathMTULife)
	s.gen++ // routes keep it
	return true
}
