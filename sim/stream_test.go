package sim

import (
	"math"
	"math/bits"
	"testing"
)

// The dice of a lab never change between versions: every recorded run depends on these bits.
func TestStreamGolden(t *testing.T) {
	for _, c := range []struct {
		seed uint64
		name string
		i    uint64
		want uint64
	}{
		{1, "link r1->r2 loss", 0, 0x71f6dea3e6ad1165},
		{1, "link r1->r2 loss", 1, 0xf6655d2c38d29bdc},
		{1, "link r1->r2 loss", 1 << 63, 0xac6b0cec44a8493d},
		{2, "link r1->r2 loss", 1, 0x3eedec6e2e0383dc},
		{1, "link r2->r1 loss", 1, 0x5ee3ae90d1ea98},
		{1, "", 1, 0x359d695b9083cd44},
	} {
		if got := NewStream(c.seed, c.name).Uint64(c.i); got != c.want {
			t.Errorf("seed %d, %q, draw %d: %#x, want %#x", c.seed, c.name, c.i, got, c.want)
		}
	}
}

// chiSquare is the statistic of counts against equal shares, as standard deviations from its mean.
func chiSquare(counts []int, n int) float64 {
	want, x := float64(n)/float64(len(counts)), 0.0
	for _, c := range counts {
		x += (float64(c) - want) * (float64(c) - want) / want
	}
	df := float64(len(counts) - 1)
	return (x - df) / math.Sqrt(2*df)
}

// Draws of successive frames, of one frame under successive seeds, of similar names, and with the copies' high bit: all
// uniform in every byte, and no two neighbours alike.
func TestStreamsAreUniform(t *testing.T) {
	const n = 1 << 16
	one := NewStream(1, "link a->b loss")
	for _, c := range []struct {
		name string
		draw func(i uint64) uint64
	}{
		{"frames", one.Uint64},
		{"every 1024th frame", func(i uint64) uint64 { return one.Uint64(i << 10) }},
		{"copies", func(i uint64) uint64 { return one.Uint64(i | 1<<63) }},
		{"seeds", func(i uint64) uint64 { return NewStream(i, "link a->b loss").Uint64(1) }},
		{"names", func(i uint64) uint64 { return NewStream(1, string(rune('0'+i%64))+string(rune('0'+i/64))).Uint64(1) }},
	} {
		var counts [8][256]int
		pairs := make([]int, 256) // the top bits of neighbours together
		flips, last := 0, c.draw(n)
		for i := range uint64(n) {
			x := c.draw(i)
			for b := range 8 {
				counts[b][byte(x>>(8*b))]++
			}
			pairs[x>>60<<4|last>>60]++
			flips += bits.OnesCount64(x ^ last)
			last = x
		}
		for b := range counts {
			if z := chiSquare(counts[b][:], n); math.Abs(z) > 5 {
				t.Errorf("%s: byte %d is %.1f sigma from uniform", c.name, b, z)
			}
		}
		if z := chiSquare(pairs, n); math.Abs(z) > 5 {
			t.Errorf("%s: neighbours are %.1f sigma from independent", c.name, z)
		}
		// Half of 64 bits differ, with standard deviation 4.
		if z := (float64(flips)/n - 32) / (4 / math.Sqrt(n)); math.Abs(z) > 5 {
			t.Errorf("%s: bits that differ are %.1f sigma from half", c.name, z)
		}
	}
}

// Two knobs' dice are independent at the same frame.
func TestStreamsAreIndependent(t *testing.T) {
	const n = 1 << 16
	a, b := NewStream(1, "link a->b loss"), NewStream(1, "link a->b corrupt")
	counts := make([]int, 256)
	for i := range uint64(n) {
		counts[a.Uint64(i)>>60<<4|b.Uint64(i)>>60]++
	}
	if z := chiSquare(counts, n); math.Abs(z) > 5 {
		t.Errorf("%.1f sigma from independent", z)
	}
}

func TestBelow(t *testing.T) {
	s := NewStream(3, "below")
	for _, n := range []uint64{1, 2, 7, 1000, 1<<63 + 1, math.MaxUint64} {
		for i := range uint64(1000) {
			if v := s.Below(i, n); v >= n {
				t.Fatalf("draw %d below %d is %d", i, n, v)
			}
		}
	}
	counts := make([]int, 7)
	for i := range uint64(70_000) {
		counts[s.Below(i, 7)]++
	}
	if z := chiSquare(counts, 70_000); math.Abs(z) > 5 {
		t.Errorf("%.1f sigma from uniform", z)
	}
}

// moments checks a distribution's mean and standard deviation over even quantiles, and its bounds.
func moments(t *testing.T, name string, f func(float64) float64, mean, sigma, lo, hi float64) {
	t.Helper()
	const n = 1 << 18
	var sum, squares float64
	last := math.Inf(-1)
	for i := range n {
		x := f((float64(i) + 0.5) / n)
		if x < last || x < lo || x > hi {
			t.Fatalf("%s: %v after %v, bounds %v to %v", name, x, last, lo, hi)
		}
		last = x
		sum += x
		squares += x * x
	}
	m := sum / n
	s := math.Sqrt(squares/n - m*m)
	if math.Abs(m-mean) > 1e-3 || math.Abs(s-sigma) > 1e-3 {
		t.Errorf("%s: mean %.5f, sigma %.5f, want %.5f and %.5f", name, m, s, mean, sigma)
	}
	for _, u := range []float64{0, 1 - 0x1p-53} {
		if x := f(u); x < lo || x > hi {
			t.Errorf("%s: %v at %v, bounds %v to %v", name, x, u, lo, hi)
		}
	}
}

func TestDistributions(t *testing.T) {
	moments(t, "uniform", Uniform, 0, 1/math.Sqrt(3), -1, 1)
	moments(t, "normal", Normal, 0, 0.99946, -TruncateSigma, TruncateSigma)
	// Cut at 4 sigma, the long tail loses much of its variance and a little of its mean: with M = 1.5 + 4 sqrt(3)/2 the
	// mean is 3/2 (1-M^-2) / (1-M^-3), before it is shifted and scaled.
	moments(t, "pareto", Pareto, -0.05659, 0.64294, ParetoMin, TruncateSigma)
}

func TestNormalQuantile(t *testing.T) {
	for p := 0.0005; p < 1; p += 0.0005 {
		if got, want := normalQuantile(p), math.Sqrt2*math.Erfinv(2*p-1); math.Abs(got-want) > 3e-9*max(1, math.Abs(want)) {
			t.Errorf("quantile %v: %v, want %v", p, got, want)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	s := NewStream(1, "bench")
	var x uint64
	for i := range b.N {
		x ^= s.Uint64(uint64(i))
	}
	_ = x
}

func BenchmarkNormal(b *testing.B) {
	s := NewStream(1, "bench")
	var x float64
	for i := range b.N {
		x += Normal(s.Float64(uint64(i)))
	}
	_ = x
}
