package tcpstack

import "testing"

// Two thousand flows both ways through one router are all remembered, whatever their hashes, and those of a routing table
// that has changed make room.
func TestForwardCacheHoldsManyFlows(t *testing.T) {
	var c forwardCache[uint32]
	flow := func(i uint32) uint32 { return i * 0x9e3779b1 >> 3 }
	for gen := uint32(1); gen <= 2; gen++ {
		for i := range uint32(4000) {
			c.put(forwardEntry[uint32]{dst: i, flow: flow(i), gen: gen})
		}
		missed := 0
		for i := range uint32(4000) {
			if e := c.find(i, flow(i)); e == nil || e.gen != gen {
				missed++
			}
		}
		if missed > 40 {
			t.Errorf("generation %d: %d of 4000 flows are not in the cache", gen, missed)
		}
	}
	if len(c.slots) > maxForwardSlots {
		t.Errorf("%d slots", len(c.slots))
	}
}

// Flows that collide displace each other and never find what is another's.
func TestForwardCacheOfCollidingFlows(t *testing.T) {
	var c forwardCache[uint32]
	for i := range uint32(100) {
		c.put(forwardEntry[uint32]{dst: i, flow: i * maxForwardSlots, gen: 1})
		if e := c.find(i, i*maxForwardSlots); e == nil || e.dst != i {
			t.Fatalf("flow %d is not found right after it was put", i)
		}
	}
	for i := range uint32(100) {
		if e := c.find(i, i*maxForwardSlots); e != nil && e.dst != i {
			t.Errorf("flow %d finds the entry of %d", i, e.dst)
		}
	}
	if len(c.slots) != maxForwardSlots {
		t.Errorf("%d slots, want the bound", len(c.slots))
	}
}
