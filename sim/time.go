// Package sim is the discrete-event clock every lab runs on: virtual time, events in one total order, timers on a
// wheel, frames, trace records, random streams, and the windows that let one lab run over several loops with the same
// result. Nothing here reads a wall clock, starts a goroutine or takes a lock; the pacer (pacer.go) is the one edge.
package sim

import (
	"fmt"
	"time"
)

// Time is nanoseconds of lab time since the lab began. Durations are Times too.
type Time int64

const (
	Nanosecond  Time = 1
	Microsecond      = 1000 * Nanosecond
	Millisecond      = 1000 * Microsecond
	Second           = 1000 * Millisecond

	// Never is later than every event of a lab.
	Never Time = 1<<63 - 1
)

// Duration converts lab time to a time.Duration, for printing and for pacing.
func (t Time) Duration() time.Duration { return time.Duration(t) }

// String prints seconds with nanosecond digits: "12.345678901s".
func (t Time) String() string {
	if t == Never {
		return "never"
	}
	sign := ""
	if t < 0 {
		sign, t = "-", -t
	}
	return fmt.Sprintf("%s%d.%09ds", sign, t/Second, t%Second)
}

// Origin is the stable id of what makes an event: a node or one direction of a link. 0 is the journal of inputs, which
// sorts before everything else at its instant.
type Origin uint32

// InputOrigin is the origin of journaled inputs; their sequence is the journal index.
const InputOrigin Origin = 0

// Key is an event's place in the total order of a lab: by time, then origin, then sequence. It is fixed when the event
// is made (for a timer: when it was last armed) and does not depend on how the lab is split over loops.
type Key struct {
	At     Time
	Seq    uint64
	Origin Origin
}

// Before reports whether k runs before o.
func (k Key) Before(o Key) bool {
	if k.At != o.At {
		return k.At < o.At
	}
	if k.Origin != o.Origin {
		return k.Origin < o.Origin
	}
	return k.Seq < o.Seq
}

// Source numbers the events of one origin. Its sequence never goes back, not even when its node reboots. An origin lives
// in exactly one loop, so a Source has one owner.
type Source struct {
	ID  Origin
	Seq uint64
}

// Next takes the origin's next sequence number.
func (s *Source) Next() uint64 {
	s.Seq++
	return s.Seq
}
