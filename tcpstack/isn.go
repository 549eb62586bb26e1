package tcpstack

import (
	"math/bits"

	"labd.dev/sim"
)

// isnTick is the initial sequence number's clock. RFC 9293 3.4.1: "a new ISN is selected roughly every 4 microseconds".
const isnTick = 4 * sim.Microsecond

// chooseISN: RFC 6528 3: "ISN = M + F(localip, localport, remoteip, remoteport, secretkey)".
func (s *Stack) chooseISN(t *tuple, set *settings) seqNum {
	if set.fixedISN {
		return seqNum(set.isn)
	}
	return seqNum(uint32(s.loop.Now()/isnTick)) + seqNum(uint32(t.keyed(s.tcp.isnKey)))
}

// keyed is a keyed pseudorandom function of the tuple: SipHash-2-4 of its 36 bytes.
// RFC 6528 3: "It is vital that F not be computable from the outside".
func (t *tuple) keyed(key [2]uint64) uint64 {
	v := [4]uint64{key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573}
	ports := uint64(t.localPort)<<16 | uint64(t.remotePort)
	for _, m := range [...]uint64{t.local.hi, t.local.lo, t.remote.hi, t.remote.lo, ports | 36<<56} {
		v[3] ^= m
		sipRound(&v)
		sipRound(&v)
		v[0] ^= m
	}
	v[2] ^= 0xff
	for range 4 {
		sipRound(&v)
	}
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

func sipRound(v *[4]uint64) {
	v[0] += v[1]
	v[1] = bits.RotateLeft64(v[1], 13) ^ v[0]
	v[0] = bits.RotateLeft64(v[0], 32)
	v[2] += v[3]
	v[3] = bits.RotateLeft64(v[3], 16) ^ v[2]
	v[0] += v[3]
	v[3] = bits.RotateLeft64(v[3], 21) ^ v[0]
	v[2] += v[1]
	v[1] = bits.RotateLeft64(v[1], 17) ^ v[2]
	v[2] = bits.RotateLeft64(v[2], 32)
}
