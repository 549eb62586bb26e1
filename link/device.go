package link

import "labd.dev/sim"

// device is the transmit ring behind a queue. A frame leaves the queue when the ring has room and byte queue limits let it,
// and the ring when it goes on the wire. That is never later than without a device: an empty ring always takes a frame.
//
// All is decided when a frame is offered, so the ring has two states. One is ahead: as it will be when the last frame that
// waits leaves the queue. The other follows lab time, for what is shown and for what a live change starts from.
type device struct {
	ring  int  // frames
	bql   bool // else only the ring's size counts
	ahead deviceState
	now   deviceState
}

// deviceState is a device's at some time. Frames are named by their index in waiting.
type deviceState struct {
	limits dynamicQueueLimits
	done   int      // the first that is not on the wire
	next   int      // the first that has not left the queue
	left   sim.Time // when the one before it did
}

func newDevice(cfg *Device, q *waiting, now sim.Time) *device {
	s := deviceState{limits: newDynamicQueueLimits(&cfg.BQL, now), done: q.head, next: q.head, left: now}
	for s.next != q.tail && q.at(s.next).left < now { // another device's ring has been handed over
		s.enqueue(q.at(s.next).size, now)
	}
	return &device{ring: cfg.RingPackets, bql: cfg.BQL.On, ahead: s, now: s}
}

// offer finds when a frame that is offered now leaves the queue. One that need not wait for the wire finds the ring empty.
func (v *device) offer(q *waiting, size int, waits bool, now sim.Time) (left sim.Time) {
	left = v.take(q, size, now)
	if !waits {
		v.ahead.limits.complete(int64(size), now)
		v.ahead.done, v.ahead.next = q.tail, q.tail
		v.now = v.ahead
	}
	return left
}

// take finds when the next frame, of some size and in the queue from a time on, leaves it. All before it have their times.
func (v *device) take(q *waiting, size int, from sim.Time) (left sim.Time) {
	s := &v.ahead
	left = max(from, s.left)
	for {
		for s.done != s.next && q.at(s.done).start <= left {
			s.complete(q)
		}
		if s.done == s.next || s.next-s.done < v.ring && (!v.bql || s.limits.available() >= 0) {
			break
		}
		left = q.at(s.done).start
	}
	s.enqueue(size, left)
	return left
}

// advance lets what happens before a time happen. It comes before frames are let go from waiting.
func (v *device) advance(q *waiting, before sim.Time) {
	v.now.advance(q, before)
	if v.now.next == v.ahead.next {
		v.ahead = v.now // nothing waits: it has seen no less
	}
}

func (s *deviceState) advance(q *waiting, before sim.Time) {
	for s.next != q.tail || s.done != s.next {
		queued, done := sim.Never, sim.Never
		if s.next != q.tail {
			queued = q.at(s.next).left
		}
		if s.done != s.next {
			done = q.at(s.done).start
		}
		switch {
		case min(queued, done) >= before:
			return
		case done <= queued: // the order that take has
			s.complete(q)
		default:
			s.enqueue(q.at(s.next).size, queued)
		}
	}
}

func (s *deviceState) enqueue(size int, left sim.Time) {
	s.limits.enqueue(int64(size))
	s.next++
	s.left = left
}

func (s *deviceState) complete(q *waiting) {
	w := q.at(s.done)
	s.limits.complete(int64(w.size), w.start)
	s.done++
}

// DeviceStats tells how the device behind a queue stands; zero without one.
type DeviceStats struct {
	RingPackets, RingBytes int
	BQLLimit               int // bytes: byte_queue_limits/limit in sysfs
}

func (v *device) stats() DeviceStats {
	s := &v.now
	return DeviceStats{RingPackets: s.next - s.done, RingBytes: int(s.limits.inFlight()), BQLLimit: int(s.limits.limit)}
}

// depart lets go the frames that went on the wire before a time.
func (d *Direction) depart(before sim.Time) {
	if d.device != nil {
		d.device.advance(&d.queue, before)
	}
	d.queue.depart(before)
}

// backlog is what waits in the queue, before the device.
func (d *Direction) backlog() (packets, bytes int) {
	q := &d.queue
	if v := d.device; v != nil {
		return q.tail - v.now.next, q.bytes - int(v.now.limits.inFlight())
	}
	packets, bytes = q.packets(), q.bytes
	for i := q.head; i < d.ringEnd; i++ {
		packets--
		bytes -= q.at(i).size
	}
	return packets, bytes
}

// changeDevice follows a live change. A device that stays as it was keeps what it has learnt. Another takes over what is in the
// ring; where there is none any more, that goes on the wire as it would have.
func (d *Direction) changeDevice(before Device, now sim.Time) {
	switch {
	case d.cfg.Queue.Device != before:
		d.resetDevice(now)
		if q := &d.queue; d.device == nil {
			for d.ringEnd = q.head; d.ringEnd != q.tail && q.at(d.ringEnd).left < now; {
				d.ringEnd++
			}
		}
	case d.device != nil:
		d.device.ahead = d.device.now
	}
}

// resetDevice makes the device anew: what byte queue limits have learnt is gone (netdev_reset_queue).
func (d *Direction) resetDevice(now sim.Time) {
	d.device = nil
	if cfg := &d.cfg.Queue.Device; cfg.RingPackets > 0 {
		d.device = newDevice(cfg, &d.queue, now)
	}
}
