package worker

import (
	"testing"
	"time"
)

// A bucket's bound is above all that is counted in it, by an eighth at most, and above the one before.
func TestLatenessBuckets(t *testing.T) {
	last := -1
	for by := time.Duration(0); by < 100*time.Second; by = by*33/32 + 100 {
		b := lateBucket(by)
		if b < last || b >= lateBuckets {
			t.Fatalf("%v in bucket %d after %d", by, b, last)
		}
		last = b
		if bound := lateBound(b); bound <= by || by > 10*time.Microsecond && bound > by+by/4 {
			t.Fatalf("%v is in a bucket up to %v", by, bound)
		}
	}
	if b := lateBucket(1<<63 - 1); b != lateBuckets-1 {
		t.Errorf("the longest wait is in bucket %d", b)
	}
}

func TestLatenessQuantiles(t *testing.T) {
	var l lateness
	if l.quantile(0.99) != 0 {
		t.Error("nothing ran, and late")
	}
	for range 990 {
		l.note(50 * time.Microsecond)
	}
	for range 10 {
		l.note(5 * time.Millisecond)
	}
	for part, want := range map[float64]time.Duration{0.5: 50 * time.Microsecond, 0.98: 50 * time.Microsecond, 0.995: 5 * time.Millisecond} {
		if got := l.quantile(part); got < want || got > want+want/4 {
			t.Errorf("%g: %v, want %v", part, got, want)
		}
	}
}
