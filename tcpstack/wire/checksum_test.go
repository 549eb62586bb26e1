package wire

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// slowSum is RFC 1071 section 4.1's loop.
func slowSum(b []byte) uint16 {
	var s uint32
	for i := 0; i+1 < len(b); i += 2 {
		s += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		s += uint32(b[len(b)-1]) << 8
	}
	for s>>16 != 0 {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// RFC 1071 section 3: the numerical example's eight bytes sum to ddf2.
func TestSumRFC1071(t *testing.T) {
	b := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}
	if got := Sum(b); got != 0xddf2 {
		t.Errorf("sum %04x, want ddf2", got)
	}
	if got := AddSums(Sum(b[:4]), Sum(b[4:])); got != 0xddf2 {
		t.Errorf("sum of sums %04x, want ddf2", got)
	}
	// the same bytes cut at an odd place: the second group's sum is swapped
	if got := AddSums(Sum(b[:3]), SumAt(Sum(b[3:]), 3)); got != 0xddf2 {
		t.Errorf("sum of odd parts %04x, want ddf2", got)
	}
}

// The fast sum is the plain one, for every length and alignment, and for the bytes that make the most carries.
func TestSumIsTheSlowSum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	buf := make([]byte, 1600)
	for round := range 3 {
		for i := range buf {
			buf[i] = [3]byte{byte(r.Uint32()), 0xff, 0}[round]
		}
		for n := range 300 {
			for off := range 9 {
				if b := buf[off : off+n]; Sum(b) != slowSum(b) {
					t.Fatalf("round %d, length %d: %04x, want %04x", round, n, Sum(b), slowSum(b))
				}
			}
		}
		for n := range buf {
			if b := buf[n/7 : n]; Sum(b) != slowSum(b) || sumWords(b) != slowSum(b) {
				t.Fatalf("round %d, length %d: %04x, in words %04x, want %04x", round, len(b), Sum(b), sumWords(b), slowSum(b))
			}
		}
	}
}

// The most that is summed in vectors overflows none of their lanes, whatever the bytes are.
func TestSumOfTheMost(t *testing.T) {
	b := make([]byte, mostVectors)
	for _, v := range []byte{0, 0x7f, 0x80, 0xff} {
		for i := range b {
			b[i] = v
		}
		if got, want := Sum(b), sumWords(b); got != want {
			t.Errorf("bytes of %02x: %04x, want %04x", v, got, want)
		}
	}
}

// RFC 1071 section 2: a sum of parts is the sum of the whole, wherever it was cut.
func TestSumOfParts(t *testing.T) {
	b := make([]byte, 101)
	for i := range b {
		b[i] = byte(i * 37)
	}
	for cut := range b {
		if got := AddSums(Sum(b[:cut]), SumAt(Sum(b[cut:]), cut)); got != Sum(b) {
			t.Fatalf("cut at %d: %04x, want %04x", cut, got, Sum(b))
		}
	}
}

// RFC 1624 section 4: the example where the older equation 2 gives FFFF, and equation 3 the right 0000.
func TestUpdateChecksumRFC1624(t *testing.T) {
	if got := UpdateChecksum(0xdd2f, 0x5555, 0x3285); got != 0x0000 {
		t.Errorf("HC' is %04x, want 0000", got)
	}
}

// An update is as good as a new computation: a receiver that sums the header finds all ones.
func TestUpdateChecksumVerifies(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 20000 {
		h := make([]byte, 20)
		for k := range h {
			h[k] = byte(r.Uint32())
		}
		SetIPv4Checksum(h)
		old := binary.BigEndian.Uint16(h[8:])
		h[8]--
		c := UpdateChecksum(binary.BigEndian.Uint16(h[10:]), old, binary.BigEndian.Uint16(h[8:]))
		binary.BigEndian.PutUint16(h[10:], c)
		if Sum(h) != 0xffff {
			t.Fatalf("header %d: %x does not verify", i, h)
		}
	}
}

func FuzzSum(f *testing.F) {
	f.Add([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}, 3)
	f.Add(make([]byte, 65), 64)
	f.Fuzz(func(t *testing.T, b []byte, cut int) {
		if Sum(b) != slowSum(b) {
			t.Errorf("%04x, want %04x", Sum(b), slowSum(b))
		}
		if cut >= 0 && cut <= len(b) && AddSums(Sum(b[:cut]), SumAt(Sum(b[cut:]), cut)) != Sum(b) {
			t.Errorf("parts cut at %d", cut)
		}
	})
}

// However a sum is made, with vectors or in words, it is RFC 1071's.
func FuzzSumLong(f *testing.F) {
	f.Add([]byte{0xff}, uint16(2000), uint8(3))
	f.Add([]byte{0xff, 0xfe, 0x01}, uint16(1448), uint8(0))
	f.Fuzz(func(t *testing.T, pattern []byte, length uint16, skip uint8) {
		if len(pattern) == 0 {
			return
		}
		b := bytes.Repeat(pattern, int(length)/len(pattern)+1)
		b = b[min(int(skip), len(b)):]
		want := slowSum(b)
		if got, words := Sum(b), sumWords(b); got != want || words != want {
			t.Errorf("%d bytes: %04x, in words %04x, want %04x", len(b), got, words, want)
		}
	})
}

// A header's sum does not depend on how it is made: RFC 1071 1: "As long as the even/odd assignment of bytes is respected,
// the sum can be done in any order", and "The sum of 16-bit integers can be computed in either byte order."
func TestHeaderSumIsSum(t *testing.T) {
	const seed = 3
	r := rand.New(rand.NewPCG(seed, 0))
	for n := 0; n <= 60; n += 4 {
		for range 100 {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(r.Uint32())
				if r.IntN(2) == 0 {
					b[i] = 0xff // many carries
				}
			}
			if got, want := SwapFold(HeaderSum(b)), Sum(b); got != want {
				t.Fatalf("seed %d: %x: %04x, want %04x", seed, b, got, want)
			}
		}
	}
}

func TestFoldKeepsEndAroundCarries(t *testing.T) {
	for _, c := range []struct {
		sum  uint64
		want uint16
	}{
		{0, 0}, {1, 1}, {0xffff, 0xffff}, {0x10000, 1}, {0xffffffff, 0xffff}, {0x1ffff, 1}, {^uint64(0), 0xffff},
		{0xffff_0000_0000_0001, 1}, {0x1_0000_0000, 1}, {0xffff_ffff_0000_0001, 1}, {0x8000_8000_8000_8000, 2},
	} {
		if got := Fold(c.sum); got != c.want {
			t.Errorf("Fold(%#x) = %#x, want %#x", c.sum, got, c.want)
		}
	}
}

func BenchmarkSum1448(b *testing.B) {
	p := make([]byte, 1448)
	b.SetBytes(int64(len(p)))
	var s uint16
	for b.Loop() {
		s += Sum(p)
	}
	_ = s
}

func BenchmarkSumWords1448(b *testing.B) {
	p := make([]byte, 1448)
	b.SetBytes(int64(len(p)))
	var s uint16
	for b.Loop() {
		s += sumWords(p)
	}
	_ = s
}

func BenchmarkSum20(b *testing.B) {
	p := make([]byte, 20)
	var s uint16
	for b.Loop() {
		s += Sum(p)
	}
	_ = s
}
