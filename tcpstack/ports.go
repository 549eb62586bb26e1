package tcpstack

import "labd.dev/sim"

// The ephemeral ports (net.ipv4.ip_local_port_range).
const (
	ephemeralFirst = 32768
	ephemeralLast  = 60999
	ephemeralCount = ephemeralLast - ephemeralFirst + 1
)

// ephemeralPorts deals out starting points for the search of a free port to listen on, and of UDP. RFC 6056 3.3.1 (Algorithm 1): a random start,
// then one after the other until one is free:
//
//	start := s.ports.start()
//	for i := range uint32(ephemeralCount) { p := ephemeralPort(start + i); ... }
type ephemeralPorts struct {
	dice  sim.Stream
	draws uint64
}

func (e *ephemeralPorts) init(dice sim.Stream) { e.dice = dice }

// start draws where a search begins.
func (e *ephemeralPorts) start() uint32 {
	e.draws++
	return uint32(e.dice.Below(e.draws-1, ephemeralCount))
}

// ephemeralPort is the i-th port of the range, which it goes round.
func ephemeralPort(i uint32) uint16 { return uint16(ephemeralFirst + i%ephemeralCount) }
