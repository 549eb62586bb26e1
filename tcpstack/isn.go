package tcpstack

import "labd.dev/sim"

// isnTick is the initial sequence number's clock. RFC 9293 3.4.1: "a new ISN is selected roughly every 4 microseconds".
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
	return m + seqNum(uint32(t.keyed(s.tcp.isnKey)))
}

// keyed is a keyed pseudorandom function of the tuple: SipHash-2-4 of its 36 bytes.
// RFC 6528 3: "It is vital that F not be computable from the outside".
func (t *tuple) keyed(key [2]uint64) uint64 {
	ports := uint64(t.localPort)<<16 | uint64(t.remotePort)
	return sipHash(key, ports|36<<56, t.local.hi, t.local.lo, t.remote.hi, t.remote.lo)
}
