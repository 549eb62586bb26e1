package tcpstack

import "labd.dev/sim"

// isnTick is the initial sequence number's clock. RFC 9293 3.4.1: "ISN = M + F(...)", "where M is the 4 microsecond
// timer".
const isnTick = 4 * sim.Microsecond

// chooseISN: RFC 6528 3: "ISN = M + F(localip, localport, remoteip, remoteport, secretkey)".
func (s *Stack) chooseISN(t *tuple, set *settings) seqNum {
	if set.fixedISN {
		return seqNum(set.isn)
	}
	m := seqNum(uint32(s.loop.Now() / isnTick))
	if set.isnGenerator == ISNRFC793 {
		// RFC 793 3.3: "The generator is bound to a (possibly fictitious) 32 bit clock whose low order bit is incremented
		// roughly every 4 microseconds": the same for all connections, for anyone who has opened one to read.
		return m
	}
	return m + seqNum(uint32(s.tcp.isnHash.of(t)))
}

// tupleHash is a keyed pseudorandom function of tuples: SipHash-2-4. It keeps what the addresses hashed last have led to:
// connections of one pair of hosts differ in their ports only, which come at the end.
//
// RFC 9293 3.4.1 (MUST-9): "F() MUST NOT be computable from the outside".
type tupleHash struct {
	key           [2]uint64
	local, remote ipAddr
	state         sipState // after them; the addresses of no connection are zero, as they are here at first
}

// of is the hash of a tuple's 36 bytes.
func (h *tupleHash) of(t *tuple) uint64 {
	return h.ending(t, uint64(t.localPort)<<16|uint64(t.remotePort)|36<<56)
}

// ending is the hash of a tuple's addresses and a last block.
func (h *tupleHash) ending(t *tuple, last uint64) uint64 {
	if h.remote != t.remote || h.local != t.local {
		h.local, h.remote = t.local, t.remote
		h.state = sipStart(h.key)
		for _, m := range [...]uint64{t.local.hi, t.local.lo, t.remote.hi, t.remote.lo} {
			h.state = h.state.take(m)
		}
	}
	return h.state.end(last)
}
