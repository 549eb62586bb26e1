package tcpstack

import "math/bits"

// sipState is SipHash-2-4 (Aumasson and Bernstein, 2012) under way: its v0 to v3.
type sipState struct{ v0, v1, v2, v3 uint64 }

// sipHash is the hash of whole words of 8 bytes, least significant byte first, and a last block: what is left of the
// message, with the message's length in bytes, modulo 256, in its top byte.
func sipHash(key [2]uint64, last uint64, words ...uint64) uint64 {
	s := sipStart(key)
	for _, m := range words {
		s = s.take(m)
	}
	return s.end(last)
}

func sipStart(key [2]uint64) sipState {
	return sipState{key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573}
}

// take hashes one word.
func (s sipState) take(m uint64) sipState {
	v0, v1, v2, v3 := sipRound(s.v0, s.v1, s.v2, s.v3^m)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	return sipState{v0 ^ m, v1, v2, v3}
}

// end is the hash, after the last block.
func (s sipState) end(last uint64) uint64 {
	s = s.take(last)
	v0, v1, v2, v3 := sipRound(s.v0, s.v1, s.v2^0xff, s.v3)
	for range 3 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return v0 ^ v1 ^ v2 ^ v3
}

// sipRound is small enough to be put in place, so that the state stays in registers.
func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 = bits.RotateLeft64(v0, 32) + v3
	v2 += v1
	return v0, bits.RotateLeft64(v1, 17) ^ v2, bits.RotateLeft64(v2, 32), bits.RotateLeft64(v3, 21) ^ v0
}
