//go:build !amd64

package wire

// vectorBytes is 0: sums are made without vectors here.
const vectorBytes = 0

func sumVectors(*byte, int) uint64 { panic("wire: no vectors") }
