package app

import (
	"testing"

	labv1 "labd.dev/proto/lab/v1"
)

// A lab file's rates are in bits a second, the stack's in bytes.
func TestPacingRateIsInBytes(t *testing.T) {
	bits := uint64(4_000_000)
	if got := TCPConfig(&labv1.TcpSettings{MaxPacingRateBps: &bits}).MaxPacingRate; got == nil || *got != 500_000 {
		t.Errorf("4 Mbit/s is %v bytes/s", got)
	}
}
