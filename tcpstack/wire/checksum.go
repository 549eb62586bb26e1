package wire

import (
	"encoding/binary"
	"math/bits"
)

// Sum is the ones'-complement sum of b as big-endian 16-bit words, folded to 16 bits, not inverted; an odd last byte
// counts as the high byte of a word (RFC 1071 section 1). The checksum that goes on the wire is ^Sum.
//
// Whichever way it is made it is the same number: a sum with its carries brought round is zero only if every byte is.
func Sum(b []byte) uint16 {
	if vectorBytes == 0 || len(b) < leastVectors || len(b) > mostVectors {
		if len(b) == 0 { // of most ACKs
			return 0
		}
		return sumWords(b)
	}
	s := sumVectors(&b[0], len(b)&^1)
	if len(b)&1 != 0 {
		s += uint64(b[len(b)-1])
	}
	return SwapFold(s)
}

const (
	leastVectors = 96      // bytes; fewer are summed in words as soon
	mostVectors  = 1 << 20 // bytes: the 32-bit lanes of sumVectors do not overflow
)

// sumWords is Sum in words.
//
// Ones'-complement addition does not mind in which byte order and word size the carries are made as long as they come
// round (RFC 1071 section 2, "Byte Order Independence" and "Parallel Summation"): two chains of 64-bit additions with
// carry run side by side, each over 64 bytes at a time so that its carry stays in the processor's flag. A chain that
// begins without a carry never ends with one and a sum of all ones, so its last carry can be added without another.
func sumWords(b []byte) uint16 {
	var s0, s1, c0, c1 uint64
	for len(b) >= 128 {
		p := (*[128]byte)(b)
		s0, c0 = bits.Add64(s0, binary.LittleEndian.Uint64(p[0:]), 0)
		s0, c0 = bits.Add64(s0, binary.LittleEndian.Uint64(p[8:]), c0)
		s0, c0 = bits.Add64(s0, binary.LittleEndian.Uint64(p[16:]), c0)
		s0, c0 = bits.Add64(s0, binary.LittleEndian.Uint64(p[24:]), c0)
		s0, c0 = bits.Add64(s0, binary.LittleEndian.Uint64(p[32:]), c0)
		s0, c0 = bits.Add64(s0, binary.LittleEndian.Uint64(p[40:]), c0)
		s0, c0 = bits.Add64(s0, binary.LittleEndian.Uint64(p[48:]), c0)
		s0, c0 = bits.Add64(s0, binary.LittleEndian.Uint64(p[56:]), c0)
		s0, _ = bits.Add64(s0, 0, c0)
		s1, c1 = bits.Add64(s1, binary.LittleEndian.Uint64(p[64:]), 0)
		s1, c1 = bits.Add64(s1, binary.LittleEndian.Uint64(p[72:]), c1)
		s1, c1 = bits.Add64(s1, binary.LittleEndian.Uint64(p[80:]), c1)
		s1, c1 = bits.Add64(s1, binary.LittleEndian.Uint64(p[88:]), c1)
		s1, c1 = bits.Add64(s1, binary.LittleEndian.Uint64(p[96:]), c1)
		s1, c1 = bits.Add64(s1, binary.LittleEndian.Uint64(p[104:]), c1)
		s1, c1 = bits.Add64(s1, binary.LittleEndian.Uint64(p[112:]), c1)
		s1, c1 = bits.Add64(s1, binary.LittleEndian.Uint64(p[120:]), c1)
		s1, _ = bits.Add64(s1, 0, c1)
		b = b[128:]
	}
	for len(b) >= 16 {
		s0, c0 = bits.Add64(s0, binary.LittleEndian.Uint64(b), 0)
		s0, c0 = bits.Add64(s0, binary.LittleEndian.Uint64(b[8:]), c0)
		s0, _ = bits.Add64(s0, 0, c0)
		b = b[16:]
	}
	s1, c1 = bits.Add64(s1, sumTail(b), 0)
	s0, c0 = bits.Add64(s0, s1, c1)
	s0, _ = bits.Add64(s0, 0, c0)
	return bits.ReverseBytes16(Fold(s0))
}

// sumTail sums fewer than 16 bytes as little-endian words, without a carry out of 64 bits.
func sumTail(b []byte) uint64 {
	var s uint64
	if len(b) >= 8 {
		w := binary.LittleEndian.Uint64(b)
		s = w>>32 + w&0xffffffff
		b = b[8:]
	}
	if len(b) >= 4 {
		s += uint64(binary.LittleEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		s += uint64(binary.LittleEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0])
	}
	return s
}

// HeaderSum is Sum's sum of a header, before it is folded and with the bytes of its words exchanged, so that several can
// be added first: SwapFold ends it. b has at most 64 KiB and a multiple of 4 bytes, as IP's and TCP's headers have; 20 of
// them, which nearly every header begins with, are read without a loop.
func HeaderSum(b []byte) (s uint64) {
	if len(b) >= 20 {
		h := (*[20]byte)(b)
		s = uint64(binary.LittleEndian.Uint32(h[0:])) + uint64(binary.LittleEndian.Uint32(h[4:])) +
			uint64(binary.LittleEndian.Uint32(h[8:])) + uint64(binary.LittleEndian.Uint32(h[12:])) +
			uint64(binary.LittleEndian.Uint32(h[16:]))
		b = b[20:]
	}
	for len(b) >= 4 {
		s += uint64(binary.LittleEndian.Uint32(b))
		b = b[4:]
	}
	return s
}

// SwapFold folds a sum of HeaderSums to the sum that Sum would give.
func SwapFold(s uint64) uint16 { return bits.ReverseBytes16(Fold(s)) }

// Fold reduces a sum of words to 16 bits, end-around carries included: the halves of 64 bits are added, and those of 32,
// each addition in the upper half of a register whose lower half hands it the carry.
func Fold(s uint64) uint16 {
	s += bits.RotateLeft64(s, 32)
	w := uint32(s >> 32)
	w += bits.RotateLeft32(w, 16)
	return uint16(w >> 16)
}

// AddSums adds two folded sums.
func AddSums(a, b uint16) uint16 {
	s, c := bits.Add32(uint32(a)<<16, uint32(b)<<16, 0)
	return uint16(s>>16) + uint16(c)
}

// SumAt is the sum of a part whose own sum is s when it begins at byte offset off of the whole: at an odd offset its
// bytes change places (RFC 1071 section 2 (B)).
func SumAt(s uint16, off int) uint16 {
	if off&1 != 0 {
		return bits.ReverseBytes16(s)
	}
	return s
}

// PseudoSum is the sum of the pseudo-header that TCP and UDP add to their own bytes (RFC 9293 3.1, RFC 768): addresses,
// protocol and the length of the segment.
func PseudoSum(src, dst [4]byte, p Protocol, length int) uint16 {
	s := uint64(binary.BigEndian.Uint32(src[:])) + uint64(binary.BigEndian.Uint32(dst[:])) + uint64(p) + uint64(length)
	return Fold(s)
}

// UpdateChecksum is the checksum (as on the wire, inverted) after one 16-bit word it covers has changed.
// RFC 1624 section 3, eqn. 3: "HC' = ~(~HC + ~m + m')".
func UpdateChecksum(check, old, new uint16) uint16 {
	return ^Fold(uint64(^check) + uint64(^old) + uint64(new))
}
