package link

import (
	"testing"

	"labd.dev/sim"
)

// dqlOf makes limits whose bounds are Linux's (dql_init), with a hold time.
func dqlOf(hold sim.Time) dynamicQueueLimits {
	return newDynamicQueueLimits(&ByteQueueLimits{LimitMax: MaxBQLLimit, HoldTime: hold}, 0)
}

// lib/dynamic_queue_limits.c, "Queue considered starved": over the limit in the last interval, and nothing left of it; or
// over the limit in the interval before, and all that was queued then is done. The limit grows by what was both queued and
// completed since, and by the excess.
func TestDynamicQueueLimitsGrowWhenStarved(t *testing.T) {
	q := dqlOf(sim.Second)
	if q.available() != 0 {
		t.Fatalf("%d available at first, want 0: one frame may go", q.available())
	}
	q.enqueue(1000)
	if q.available() >= 0 {
		t.Error("a frame past the limit does not stop the queue")
	}
	q.complete(1000, 1)
	if q.limit != 1000 || q.available() != 1000 {
		t.Errorf("starved at limit 0: limit %d, %d available, want 1000", q.limit, q.available())
	}
	// 3000 queued against 1000; one done and more in progress: the excess of 2000 is noted.
	for range 3 {
		q.enqueue(1000)
	}
	q.complete(1000, 2)
	if q.limit != 1000 || q.prevOverLimit != 2000 {
		t.Errorf("limit %d, over it %d, want 1000 and 2000", q.limit, q.prevOverLimit)
	}
	// The rest of what was queued then is done, whatever has come since.
	q.enqueue(500)
	q.complete(2000, 3)
	if q.limit != 3000 {
		t.Errorf("starved since the interval before: limit %d, want 1000 + 2000", q.limit)
	}
}

// "Queue was not starved, check if the limit can be decreased": in a busy queue slack is the limit and the excess less twice
// what was completed, and the least slack of a hold time is taken off at its end.
func TestDynamicQueueLimitsShrinkBySlack(t *testing.T) {
	const hold = 10 * ms
	q := dqlOf(hold)
	q.limit, q.adjusted = 9000, 9000
	for range 9 {
		q.enqueue(1000)
	}
	for now := ms; now <= hold; now += ms { // one more for each that is done
		q.complete(1000, now)
		q.enqueue(1000)
		if q.limit != 9000 {
			t.Fatalf("limit %d at %v, within the hold time", q.limit, now)
		}
	}
	q.complete(1000, hold+1)
	if q.limit != 2000 {
		t.Errorf("limit %d after the hold time, want 9000 less the slack of 9000 - 2*1000", q.limit)
	}
	if q.slackStart != hold+1 {
		t.Errorf("a new hold time begins at %v", q.slackStart)
	}
}

// limit_min and limit_max bound the limit.
func TestDynamicQueueLimitsBounds(t *testing.T) {
	q := newDynamicQueueLimits(&ByteQueueLimits{LimitMin: 3000, LimitMax: 4000, HoldTime: 1}, 0)
	q.enqueue(100)
	q.complete(100, 1)
	if q.limit != 3000 {
		t.Errorf("limit %d, want limit_min", q.limit)
	}
	for now := sim.Time(2); now < 10; now++ {
		q.enqueue(9000)
		q.complete(9000, now)
	}
	if q.limit != 4000 {
		t.Errorf("limit %d, want limit_max", q.limit)
	}
}
