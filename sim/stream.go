package sim

// Stream is one knob's dice: draw i is a function of (lab seed, stream name, i) and of nothing else, so that switching
// another knob on or adding a link shifts no dice here. The zero Stream is not usable; make one with NewStream.
type Stream struct{ hi, lo uint64 }

// NewStream derives the stream of a name ("link r1->r2 loss", "node client boot 2 isn") from the lab's seed.
func NewStream(seed uint64, name string) Stream {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return Stream{hi: mix(seed ^ 0x9e3779b97f4a7c15), lo: mix(h ^ seed)}
}

// Uint64 is draw i: 64 uniform bits.
func (s Stream) Uint64(i uint64) uint64 { return mix(mix(s.lo+i*0x9e3779b97f4a7c15) ^ s.hi) }

func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// Float64 is draw i, uniform in [0, 1) with 53 bits.
func (s Stream) Float64(i uint64) float64 { return float64(s.Uint64(i)>>11) * (1.0 / (1 << 53)) }

// Below is draw i, uniform in [0, n); n must be positive.
func (s Stream) Below(i, n uint64) uint64 {
	return uint64(s.Float64(i) * float64(n))
}
