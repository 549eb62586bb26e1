package wire

import "golang.org/x/sys/cpu"

// vectorBytes is what sumVectors takes at a time, and at least; 0: this processor has no AVX2.
var vectorBytes = vectorWidth()

func vectorWidth() int {
	if cpu.X86.HasAVX2 {
		return 32
	}
	return 0
}

// sumVectors sums the little-endian 16-bit words of n bytes from p. n is even, at least vectorBytes and at most
// mostVectors.
//
//go:noescape
func sumVectors(p *byte, n int) uint64
