package sim

import "labd.dev/sim/dmath"

// The distributions below map a uniform draw u in [0, 1) to a value with mean 0 by the inverse of the distribution
// function, so that one draw makes one value. None uses a rejection loop: draw i of a stream stays draw i.

// TruncateSigma is where the unbounded distributions are cut, in standard deviations: it bounds how early a frame may
// arrive, and with it the lookahead between loops.
const TruncateSigma = 4

// Uniform maps u to [-1, 1).
func Uniform(u float64) float64 { return float64(2*u) - 1 }

// normalTail is the part of the normal distribution beyond -TruncateSigma.
const normalTail = 3.167124183311986e-05

// Normal maps u to a standard normal value, cut at TruncateSigma on both sides (the distribution given that |x| is not
// beyond; no weight piles up at the cut).
func Normal(u float64) float64 {
	x := normalQuantile(normalTail + float64(u*(1-2*normalTail)))
	return min(max(x, -TruncateSigma), TruncateSigma)
}

// normalQuantile is P. J. Acklam's rational approximation of the inverse normal distribution, good to 1.2e-9.
func normalQuantile(p float64) float64 {
	const low = 0.02425
	switch {
	case p < low:
		return normalTailQuantile(dmath.Sqrt(float64(-2 * dmath.Log(p))))
	case p > 1-low:
		return -normalTailQuantile(dmath.Sqrt(float64(-2 * dmath.Log(1-p))))
	}
	q := p - 0.5
	r := float64(q * q)
	num := horner(r, -3.969683028665376e+01, 2.209460984245205e+02, -2.759285104469687e+02, 1.383577518672690e+02,
		-3.066479806614716e+01, 2.506628277459239e+00)
	den := horner5(r, -5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01,
		-1.328068155288572e+01)
	return float64(num*q) / (float64(den*r) + 1)
}

func normalTailQuantile(q float64) float64 {
	num := horner(q, -7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00, -2.549732539343734e+00,
		4.374664141464968e+00, 2.938163982698783e+00)
	den := horner5(q, 0, 7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00)
	return num / (float64(den*q) + 1)
}

// horner is the polynomial a x^5 + b x^4 + ... + f, each product rounded.
func horner(x, a, b, c, d, e, f float64) float64 { return float64(horner5(x, a, b, c, d, e)*x) + f }

func horner5(x, a, b, c, d, e float64) float64 {
	y := float64(a*x) + b
	y = float64(y*x) + c
	y = float64(y*x) + d
	return float64(y*x) + e
}

// A Pareto distribution of shape 3 and scale 1 has mean 3/2 and variance 3/4; its value at u is (1-u)^(-1/3).
const (
	paretoMean  = 1.5
	paretoSigma = 0.8660254037844386

	// ParetoMin is the least value of Pareto: its scale, 1, in standard deviations from the mean.
	ParetoMin = -0.5773502691896258
)

// paretoTail is the part of the distribution beyond TruncateSigma: x^-3 at x = mean + 4 sigma.
const paretoTail = 1 / ((paretoMean + TruncateSigma*paretoSigma) * (paretoMean + TruncateSigma*paretoSigma) *
	(paretoMean + TruncateSigma*paretoSigma))

// Pareto maps u to a value with Pareto's long tail to the right: shape 3, shifted and scaled to mean 0 and standard
// deviation 1, then cut at TruncateSigma (which takes the mean to -0.057 and the deviation to 0.64).
func Pareto(u float64) float64 {
	v := 1 - float64(u*(1-paretoTail)) // (paretoTail, 1]
	x := (1/dmath.Cbrt(v) - paretoMean) / paretoSigma
	return min(max(x, ParetoMin), TruncateSigma)
}
