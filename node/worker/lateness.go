package worker

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// lateness counts by how much, in wall time, a lab's events ran late, in buckets whose bounds lie an eighth apart. The lab's
// goroutine writes it, any may read it.
type lateness struct {
	counts [lateBuckets]atomic.Uint64
}

const (
	lateSteps   = 8  // buckets in a power of two
	lateShift   = 10 // below 2^10 ns nothing is told apart: no clock that waits is as good
	lateBuckets = (63 - lateShift - 2) * lateSteps
)

func lateBucket(by time.Duration) int {
	n := uint64(max(by, 0)) >> lateShift
	if n < lateSteps {
		return int(n)
	}
	exp := bits.Len64(n) - bits.Len64(lateSteps)
	return min(exp*lateSteps+int(n>>exp), lateBuckets-1)
}

// lateBound is the least lateness that is above all of a bucket.
func lateBound(bucket int) time.Duration {
	n := uint64(bucket + 1)
	if bucket >= lateSteps {
		exp := (bucket - lateSteps) / lateSteps
		n = uint64((bucket-lateSteps)%lateSteps+lateSteps+1) << exp
	}
	return time.Duration(n << lateShift)
}

func (l *lateness) note(by time.Duration) {
	c := &l.counts[lateBucket(by)]
	c.Store(c.Load() + 1)
}

// quantile is a bound below which a part of the events ran late; 0 if there were none.
func (l *lateness) quantile(part float64) time.Duration {
	var total uint64
	for i := range l.counts {
		total += l.counts[i].Load()
	}
	rest := uint64(float64(total) * (1 - part)) // events that may be later
	for i := lateBuckets - 1; i >= 0 && total > 0; i-- {
		n := l.counts[i].Load()
		if n > rest {
			return lateBound(i)
		}
		rest -= n
	}
	return 0
}
