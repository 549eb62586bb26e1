package dmath

import (
	"math"
	"testing"
)

// ulps is the distance of two floats in units in the last place.
func ulps(a, b float64) float64 {
	if a == b || a != a && b != b {
		return 0
	}
	u := math.Abs(math.Nextafter(b, math.Inf(1)) - b)
	return math.Abs(a-b) / u
}

func check(t *testing.T, name string, x, got, want, tolerance float64) {
	t.Helper()
	if d := ulps(got, want); !(d <= tolerance) {
		t.Errorf("%s(%v) = %v, want %v: %v ulp", name, x, got, want, d)
	}
}

// The functions agree with package math within a few units in the last place.
func TestAccuracy(t *testing.T) {
	x := 1e-300
	for i := 0; x < 1e300; i++ {
		check(t, "Log", x, Log(x), math.Log(x), 2)
		check(t, "Log2", x, Log2(x), math.Log(x)/math.Ln2, 3)
		check(t, "Cbrt", x, Cbrt(x), math.Cbrt(x), 1)
		check(t, "Cbrt", -x, Cbrt(-x), math.Cbrt(-x), 1)
		x *= 1.0371
	}
	for x := 0.5; x < 2; x += 0.000917 {
		check(t, "Log", x, Log(x), math.Log(x), 2)
		check(t, "Cbrt", x, Cbrt(x), math.Cbrt(x), 1)
		check(t, "Pow .75", x, Pow(x, 0.75), math.Pow(x, 0.75), 3)
		check(t, "Pow 12", x, Pow(x, 12), math.Pow(x, 12), 8)
		check(t, "Pow -3", x, Pow(x, -3), math.Pow(x, -3), 4)
	}
	for x := -700.0; x < 709; x += 0.0917 {
		check(t, "Exp", x, Exp(x), math.Exp(x), 2)
	}
}

func TestSpecialValues(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"Log(0)", Log(0), -inf}, {"Log(-1)", Log(-1), nan}, {"Log(inf)", Log(inf), inf}, {"Log(nan)", Log(nan), nan},
		{"Log(1)", Log(1), 0}, {"Log2(8)", Log2(8), 3}, {"Log2(2^-1074)", Log2(0x1p-1074), -1074},
		{"Exp(0)", Exp(0), 1}, {"Exp(inf)", Exp(inf), inf}, {"Exp(-inf)", Exp(-inf), 0}, {"Exp(nan)", Exp(nan), nan},
		{"Exp(-745)", Exp(-745), 5e-324}, {"Exp(710)", Exp(710), inf},
		{"Cbrt(0)", Cbrt(0), 0}, {"Cbrt(27)", Cbrt(27), 3}, {"Cbrt(-1000)", Cbrt(-1000), -10}, {"Cbrt(inf)", Cbrt(inf), inf},
		{"Cbrt(2^-1074)", Cbrt(0x1p-1074), 0x1p-358}, {"Cbrt(nan)", Cbrt(nan), nan},
		{"Pow(2,-1)", Pow(2, -1), 0.5}, {"Pow(0,0.5)", Pow(0, 0.5), 0}, {"Pow(0,-0.5)", Pow(0, -0.5), inf},
		{"Pow(-8,1/3)", Pow(-8, 1.0/3), nan}, {"Pow(5,0)", Pow(5, 0), 1}, {"Pow(-2,3)", Pow(-2, 3), -8},
		{"Sqrt(2)", Sqrt(2), math.Sqrt2},
	} {
		if c.got != c.want && !(c.got != c.got && c.want != c.want) {
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
}

// The same bits on every CPU: a hash over many values, and some of them in full.
func TestGoldenBits(t *testing.T) {
	h := uint64(14695981039346656037)
	add := func(x float64) { h = (h ^ math.Float64bits(x)) * 1099511628211 }
	x := 1e-10
	for range 20_000 {
		add(Log(x))
		add(Log2(x))
		add(Exp(x - 5))
		add(Cbrt(x))
		add(Pow(x, 0.3))
		add(Pow(x, 7))
		x *= 1.00231
	}
	if want := uint64(0xa5a83fa0e422cbc5); h != want {
		t.Errorf("hash %#x, want %#x", h, want)
	}
	for _, c := range []struct {
		name string
		got  float64
		want uint64
	}{
		{"Log(3)", Log(3), 0x3ff193ea7aad030b}, {"Exp(1)", Exp(1), 0x4005bf0a8b14576a}, {"Cbrt(2)", Cbrt(2), 0x3ff428a2f98d728b}, {"Pow(3,0.7)", Pow(3, 0.7), 0x400142e81c889914},
		{"Log2(10)", Log2(10), 0x400a934f0979a371},
	} {
		if got := math.Float64bits(c.got); got != c.want {
			t.Errorf("%s = %#x, want %#x", c.name, got, c.want)
		}
	}
}
