package tcpstack

import (
	"bytes"
	"slices"
	"testing"

	"labd.dev/sim"
)

// However a frame is cut, and wherever in the frame its header region begins, gather and split give the same bytes with
// the header region asked for.
func TestGatherAndSplit(t *testing.T) {
	data := make([]byte, 200)
	for i := range data {
		data[i] = byte(i)
	}
	loop := sim.NewLoop(sim.LoopConfig{})
	x := &ipBench{t: t, loop: loop}
	for _, total := range []int{0, 1, 60, 119, 120, 200} {
		for _, strip := range []int{0, 14, 28} { // as an Ethernet header, and a made-up longer one, are stripped
			for cut := strip; cut < min(total, sim.HeaderRoom-18); cut++ {
				for _, n := range []int{0, 20, 52, 120} {
					for _, exact := range []bool{false, true} {
						x.cut = cut
						f := x.frame(data[:total])
						f.Sum, f.SumKnown = 1, true
						f.Strip(strip)
						ok := false
						if exact {
							ok = split(loop, f, n)
						} else {
							ok = gather(f, n)
						}
						got := slices.Concat(f.Header(), f.Payload)
						if !bytes.Equal(got, data[strip:total]) || ok != (n <= total-strip) {
							t.Fatalf("total %d, strip %d, cut %d, want %d: %v %x", total, strip, cut, n, ok, got)
						}
						if h := len(f.Header()); ok && (h < n || (exact && h != n)) {
							t.Fatalf("total %d, strip %d, cut %d, want %d: header region of %d", total, strip, cut, n, h)
						}
						if moved := len(f.Header()) != cut-strip; moved && f.SumKnown {
							t.Fatalf("total %d, strip %d, cut %d, want %d: the payload changed but its sum is known", total, strip, cut, n)
						}
						f.Prepend(14) // room for a link header is left in any case
						f.Release()
					}
				}
			}
		}
	}
	if loop.LiveFrames() != 0 || loop.LiveChunks() != 0 {
		t.Errorf("%d frames, %d chunks", loop.LiveFrames(), loop.LiveChunks())
	}
}
