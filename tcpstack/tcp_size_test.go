package tcpstack

import (
	"testing"
	"unsafe"
)

// The allocator's size classes go from 576 bytes to 640, and it puts a word before an object of more than 512 bytes that has
// pointers: a field more makes each idle pair 128 bytes larger. What only few connections need belongs into oddities.
func TestConnSize(t *testing.T) {
	const most = 576 - 8
	if n := unsafe.Sizeof(Conn{}); n > most {
		t.Errorf("a Conn takes %d bytes, %d would do", n, most)
	}
}
