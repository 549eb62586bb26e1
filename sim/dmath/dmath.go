// Package dmath is the few transcendental functions that labs need, with the same bits on every CPU. The functions of
// package math are written in assembly on some architectures, and a compiler may fuse x*y + z into one rounding on
// others; here every product is rounded by an explicit float64 conversion, which the language specification says
// prevents fusing, and nothing but + - * / and the correctly rounded square root is used.
package dmath

import "math"

// ln2 in two parts: the first has 21 trailing zero bits, so that an exponent times it is exact.
const (
	ln2Hi = 6.93147180369123816490e-01
	ln2Lo = 1.90821492927058770002e-10
	ln2   = math.Ln2
)

// mul is x*y rounded, never part of a fused multiply-add.
func mul(x, y float64) float64 { return float64(x * y) }

// Sqrt is the square root of x; IEEE 754 fixes its bits.
func Sqrt(x float64) float64 { return math.Sqrt(x) }

// Log is the natural logarithm of x.
func Log(x float64) float64 {
	m, e, special := split(x)
	if special {
		return m
	}
	return mul(float64(e), ln2Hi) + (logMantissa(m) + mul(float64(e), ln2Lo))
}

// Log2 is the binary logarithm of x, exact for powers of two.
func Log2(x float64) float64 {
	m, e, special := split(x)
	if special {
		return m
	}
	return float64(e) + logMantissa(m)/ln2
}

// split writes a positive finite x as m * 2^e with m in [sqrt(1/2), sqrt(2)). For any other x it is special, and m is the
// value of the logarithm.
func split(x float64) (m float64, e int, special bool) {
	switch {
	case x != x || x > math.MaxFloat64:
		return x, 0, true
	case x < 0:
		return math.NaN(), 0, true
	case x == 0:
		return math.Inf(-1), 0, true
	}
	if x < 0x1p-1022 { // subnormal
		x, e = mul(x, 0x1p54), -54
	}
	b := math.Float64bits(x)
	e += int(b>>52) - 1022
	m = math.Float64frombits(b&(1<<52-1) | 1022<<52) // [1/2, 1)
	if m < math.Sqrt2/2 {
		m, e = m*2, e-1
	}
	return m, e, false
}

// logMantissa is log(m) = 2 artanh(s), s = (m-1)/(m+1), by its power series: |s| < 0.172, so that the eleventh term is
// below the last bit.
func logMantissa(m float64) float64 {
	s := (m - 1) / (m + 1)
	z := mul(s, s)
	p := 1.0 / 23
	for n := 21; n >= 3; n -= 2 {
		p = mul(p, z) + 1/float64(n)
	}
	return 2*s + mul(mul(2*s, z), p)
}

// Exp is e to the power x.
func Exp(x float64) float64 {
	switch {
	case x != x:
		return x
	case x > 709.79:
		return math.Inf(1)
	case x < -745.2:
		return 0
	}
	k := math.Floor(mul(x, 1/ln2) + 0.5)
	r := (x - mul(k, ln2Hi)) - mul(k, ln2Lo)
	// Taylor's series: |r| < 0.347, so that the fourteenth term is below the last bit.
	p := 1.0
	for n := 13; n >= 1; n-- {
		p = 1 + mul(r, p)/float64(n)
	}
	return scale(p, int(k))
}

// scale is x * 2^k, through two steps where 2^k alone is out of range.
func scale(x float64, k int) float64 {
	switch {
	case k > 1023:
		return mul(mul(x, 0x1p1023), pow2(k-1023))
	case k < -1022:
		return mul(mul(x, 0x1p-1000), pow2(k+1000))
	}
	return mul(x, pow2(k))
}

func pow2(k int) float64 { return math.Float64frombits(uint64(k+1023) << 52) }

// Cbrt is the cube root of x.
func Cbrt(x float64) float64 {
	if x == 0 || x != x || x > math.MaxFloat64 || x < -math.MaxFloat64 {
		return x
	}
	a := math.Abs(x)
	// x = m * 2^(3q), m in [1/8, 1) or so: the root of m by Newton's iteration, then scaled.
	up := 0
	if a < 0x1p-1022 {
		a, up = mul(a, 0x1p54), 18
	}
	q := (int(math.Float64bits(a)>>52) - 1022 + 3072) / 3
	q -= 1024
	m := scale(a, -3*q)
	y := 0.5 + mul(m, 0.25)
	for range 6 {
		y -= (y - m/mul(y, y)) / 3
	}
	return math.Copysign(scale(y, q-up), x)
}

// Pow is x to the power y. Whole exponents up to 64 in size go by repeated squaring, others by Exp(y Log(x)), which is
// good to about |y Log(x)| units in the last place. A negative x with another exponent has no real power: NaN.
func Pow(x, y float64) float64 {
	const wholeMax = 64
	if n := math.Floor(y); n == y && n >= -wholeMax && n <= wholeMax {
		p := powWhole(x, int(math.Abs(n)))
		if n < 0 {
			return 1 / p
		}
		return p
	}
	if x == 0 {
		if y < 0 {
			return math.Inf(1)
		}
		return 0
	}
	return Exp(mul(y, Log(x)))
}

func powWhole(x float64, n int) float64 {
	p := 1.0
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			p = mul(p, x)
		}
		x = mul(x, x)
	}
	return p
}
