package sim

import (
	"testing"
	"unsafe"
)

// The layout that Frame promises: whole cache lines, and in the first two of them all that a data segment with timestamps
// needs: Ethernet (14), IPv4 (20) and TCP (32).
func TestFrameLiesInCacheLines(t *testing.T) {
	const line = 64
	var f Frame
	if size := unsafe.Sizeof(f); size%line != 0 {
		t.Errorf("a frame has %d bytes, not whole lines", size)
	}
	if end := unsafe.Offsetof(f.hdr) + frameFront + 20 + 32; end > 2*line {
		t.Errorf("the headers of a segment end at byte %d", end)
	}
}
