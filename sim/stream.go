package sim

import "math/bits"

// Stream is one knob's dice: draw i is a function of (lab seed, stream name, i) and of nothing else, so that switching
// another knob on or adding a link shifts no dice here. The zero Stream is not usable; make one with NewStream.
//
// The generator is PCG's (M. O'Neill, 2014), 128 bits of state with the DXSM output function: draw i takes the state
// that i names (the stream's key plus i times an odd constant, so that any two draws start from different states), makes
// a step of the linear congruential generator, and permutes. There is no state to keep, and no draw depends on how many
// were made before.
type Stream struct{ hi, lo uint64 }

const (
	// PCG's default multiplier and increment of 128 bits, and DXSM's multiplier of 64.
	pcgMulHi, pcgMulLo = 2549297995355413924, 4865540595714422341
	pcgIncHi, pcgIncLo = 6364136223846793005, 1442695040888963407
	dxsmMul            = 0xda942042e4dd58b5

	// The fraction of the golden ratio in 128 bits, made odd: multiples of it are spread evenly.
	weylHi, weylLo = 0x9e3779b97f4a7c15, 0xf39cc0605cedc835
)

// NewStream derives the stream of a name ("link r1->r2 loss", "node client boot 2 isn") from the lab's seed.
func NewStream(seed uint64, name string) Stream {
	// Two hashes of the name by FNV-1a, from different bases, and the seed, each run through the generator once.
	a, b := uint64(14695981039346656037), uint64(7809847782465536322)
	for i := range len(name) {
		a = (a ^ uint64(name[i])) * 1099511628211
		b = (b ^ uint64(name[i])) * 1099511628211
	}
	by := Stream{hi: seed, lo: a}
	hi := by.Uint64(b)
	return Stream{hi: hi, lo: Stream{hi: hi ^ seed, lo: b}.Uint64(a)}
}

// Uint64 is draw i: 64 uniform bits.
func (s Stream) Uint64(i uint64) uint64 {
	// state = key + i * weyl
	hi, lo := bits.Mul64(i, weylLo)
	lo, carry := bits.Add64(lo, s.lo, 0)
	hi += i*weylHi + s.hi + carry
	// state = state * multiplier + increment
	h, l := bits.Mul64(lo, pcgMulLo)
	h += hi*pcgMulLo + lo*pcgMulHi
	l, carry = bits.Add64(l, pcgIncLo, 0)
	h += pcgIncHi + carry
	// DXSM: double xorshift multiply
	l |= 1
	h ^= h >> 32
	h *= dxsmMul
	h ^= h >> 48
	return h * l
}

// Float64 is draw i, uniform in [0, 1) with 53 bits.
func (s Stream) Float64(i uint64) float64 { return float64(s.Uint64(i)>>11) * (1.0 / (1 << 53)) }

// Below is draw i, uniform in [0, n) but for a bias of at most n in 2^64; n must be positive.
func (s Stream) Below(i, n uint64) uint64 {
	hi, _ := bits.Mul64(s.Uint64(i), n)
	return hi
}
