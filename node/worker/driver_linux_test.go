package worker

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel prefers other threads to the background's, and to no others.
func TestBackgroundYields(t *testing.T) {
	nice := func() int32 {
		attr, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return attr.Nice
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := nice()
	b := newBackground(1)
	var there int32
	b.run(func() { there = nice() })
	b.close()
	if there != max(before, backgroundNice) || nice() != before {
		t.Errorf("the background's thread is at %d, the caller's was at %d and is at %d", there, before, nice())
	}
}
