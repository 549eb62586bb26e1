package tcpstack

import "labd.dev/sim"

// portOffsets chooses the local ports of connections (RFC 6056 3.3.4, Algorithm 4, double-hash port selection; Linux:
// __inet_hash_connect).
//
// One keyed hash of both addresses and the remote port says where in the range to begin, another one which entry of a table
// of counters is added to that, and counts on: ports to one peer go round without coming back soon, and say nothing of the
// ports to another.
type portOffsets struct {
	hash  tupleHash // of both addresses and the remote port
	dice  sim.Stream
	draws uint64
	table []uint32 // made on first use
	next  uint32   // with portRandomization off
}

// portTable is the table's length. RFC 6056 3.3.4 leaves its size open; Linux's 65536 entries would outweigh
// the rest of a node.
const portTable = 256

// portStep: Linux looks for a port among the even ones first, and leaves the odd ones to bind.
const portStep = 2

// choose finds a port for a connection to t.remote, one after the other until free says that one is; false if none is.
func (p *portOffsets) choose(t *tuple, random bool, free func(port uint16) bool) bool {
	if !random {
		// The ports count up, whoever is called: the "traditional" selection of RFC 6056 2.2.
		for range uint32(ephemeralCount) {
			p.next++
			if t.localPort = ephemeralPort(p.next - 1); free(t.localPort) {
				return true
			}
		}
		return false
	}
	if p.table == nil {
		p.table = make([]uint32, portTable)
		for i := range p.table {
			p.table[i] = uint32(p.draw(1 << 32))
		}
	}
	h := p.hash.ending(t, uint64(t.remotePort)|34<<56)
	slot := &p.table[h%portTable]
	start := (uint32(h>>32) + *slot) % ephemeralCount &^ 1
	for parity := range uint32(portStep) {
		for i := uint32(0); i < ephemeralCount; i += portStep {
			t.localPort = ephemeralPort(start + parity + i)
			if !free(t.localPort) {
				continue
			}
			// A little chance in how far the next one is, while ports are plenty.
			if i = max(i, uint32(p.draw(8))*portStep); parity == 0 {
				*slot += i + portStep
			}
			return true
		}
	}
	return false
}

// draw is a number below n.
func (p *portOffsets) draw(n uint64) uint64 {
	p.draws++
	return p.dice.Below(p.draws-1, n)
}
