package randomlab

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

const (
	defaultQueue   = 1000 // packets, where a link says nothing of its queue
	ethernetHeader = 14
	// rounding is what a link may lose of a frame's time on the wire: it counts whole picoseconds a byte.
	rounding = 3
)

// links: a link's direction loses and makes no frame but as it is told to; its queue is first in, first out and holds no
// more than its limit; one frame after the other goes on the wire, each for as long as the rate says, and without a pause
// while others wait; each arrives after the delay; none overtakes another where that is not allowed.
type links struct {
	lab  *Lab
	dirs map[string]*direction

	doubts []doubt
}

// doubt is what is wrong with an event unless settings changed at its instant. That is known when the instant is over:
// what becomes of a frame then sorts before the change, as it has the number of the frame's being sent.
type doubt struct {
	dir   *direction
	event *trace.Event
	why   string
}

// direction is what is known of one direction.
type direction struct {
	base   *labv1.DirectionSpec
	sets   []layer // in force, the later over the earlier
	faults []layer // over these
	spec   *labv1.DirectionSpec
	turns  []int64 // when settings changed
	queue  []*hop  // waiting, first in front
	ring   []*hop  // in the ring of the device behind the queue, likewise; in flying as well
	flying map[uint64]*hop
	last   *hop  // the last that went on the wire
	latest int64 // of the arrivals so far
	gone   bool  // taken out of the lab
	goneAt int64
	before *direction // the one of this name that was taken out before this came; nil: none

	end      int64 // of the run: what arrives later is recorded, but has not arrived
	delivers int64
}

// hop is a frame on its way over a direction.
type hop struct {
	eseq    uint64
	bytes   int64
	offered int64
	start   int64
	before  int // packets that were waiting when it came
	limit   int64
	spec    *labv1.DirectionSpec // in force when it went on the wire
	free    int64                // when the wire is free after it
	copies  int                  // made on the wire and not yet arrived
	arrived bool
}

func newLinks(lab *Lab) *links {
	r := &links{lab: lab, dirs: map[string]*direction{}}
	for _, l := range lab.Spec.Links {
		r.add(l.A, l.B, l.Forward)
		r.add(l.B, l.A, l.Reverse)
	}
	return r
}

func (r *links) add(a, b *labv1.Endpoint, spec *labv1.DirectionSpec) {
	r.dirs[a.Node+"->"+b.Node] = &direction{base: spec, spec: spec, flying: map[uint64]*hop{}, end: r.lab.EndNs}
}

func (r *links) event(c *Checker, e *trace.Event, _ *end) {
	if len(r.doubts) > 0 && e.TNs > r.doubts[0].event.TNs {
		r.settle(c)
	}
	switch e.Name {
	case "lab:fault_started", "lab:fault_ended", "lab:link_set", "lab:link_reverted":
		if d := r.dirs[text(e, "dir")]; d != nil {
			d.strike(r.lab, e)
		}
		return
	case "lab:input":
		if a := r.lab.input(num(e, "index")).GetApply(); a != nil {
			r.apply(a.Spec, e.TNs)
		}
		return
	}
	if !strings.HasPrefix(e.Name, "link:") {
		return
	}
	d := r.dirs[text(e, "dir")]
	if d == nil {
		c.problem(e, "there is no direction %s", text(e, "dir"))
		return
	}
	if e.Name == "link:dropped" && text(e, "cause") == "removed" {
		for !d.gone && d.before != nil {
			d = d.before
		}
		d.removed(c, e)
		return
	}
	if d.gone {
		c.problem(e, "%s has been taken out", text(e, "dir"))
		return
	}
	switch e.Name {
	case "link:enqueued":
		d.enqueued(c, e)
	case "link:dequeued":
		r.doubt(d, e, d.dequeued(c, e))
	case "link:transmitted":
		d.transmitted(c, e)
	case "link:delivered":
		d.delivered(c, e)
	case "link:dropped":
		r.doubt(d, e, d.dropped(c, e))
	case "link:corrupted", "link:duplicated":
		r.doubt(d, e, d.marked(e))
	}
}

func (r *links) doubt(d *direction, e *trace.Event, why string) {
	if why != "" {
		r.doubts = append(r.doubts, doubt{d, e, why})
	}
}

// settle closes an instant.
func (r *links) settle(c *Checker) {
	for _, x := range r.doubts {
		if !x.dir.turned(x.event.TNs, x.event.TNs) {
			c.problem(x.event, "%s: %s", text(x.event, "dir"), x.why)
		}
	}
	r.doubts = r.doubts[:0]
}

// turned says that settings changed between two times, both included: what holds for either is not known then.
func (d *direction) turned(from, to int64) bool {
	i, _ := slices.BinarySearch(d.turns, from)
	return i < len(d.turns) && d.turns[i] <= to
}

func (d *direction) limit() (packets, bytes int64) {
	packets, bytes = int64(d.spec.GetQueue().GetLimitPackets()), int64(d.spec.GetQueue().GetLimitBytes())
	if packets == 0 && bytes == 0 {
		packets = defaultQueue
	}
	return packets, bytes
}

func (d *direction) enqueued(c *Checker, e *trace.Event) {
	h := &hop{eseq: e.ESeq, bytes: num(e, "bytes"), offered: e.TNs, before: len(d.queue)}
	h.limit, _ = d.limit()
	switch {
	case d.spec.Down:
		c.problem(e, "%s is down", text(e, "dir"))
	case h.bytes > int64(d.spec.MtuBytes)+ethernetHeader:
		c.problem(e, "%d bytes, the MTU is %d", h.bytes, d.spec.MtuBytes)
	case num(e, "qpkts") != int64(h.before):
		c.problem(e, "says that %d packets wait, %d do", num(e, "qpkts"), h.before)
	}
	d.queue = append(d.queue, h)
}

func (d *direction) dequeued(c *Checker, e *trace.Event) (doubt string) {
	if len(d.queue) == 0 || d.queue[0].eseq != e.ESeq {
		c.problem(e, "%s: this frame is not the first of the %d that wait", text(e, "dir"), len(d.queue))
		return ""
	}
	h := d.queue[0]
	d.queue = d.queue[1:]
	if d.spec.Down {
		doubt = "it is down"
	}
	if h.limit > 0 && e.TNs > h.offered && int64(h.before) >= h.limit {
		c.problem(e, "%s: waited behind %d frames, the queue takes %d", text(e, "dir"), h.before, h.limit)
	}
	ring := d.spec.GetQueue().GetDevice().GetRingPackets()
	if ring == 0 || d.last == nil || d.last.free <= e.TNs {
		d.starts(c, e, h)
		return doubt
	}
	if len(d.ring) >= int(ring) && !d.turned(d.ring[0].offered, e.TNs) {
		c.problem(e, "%s: the device's ring takes %d frames", text(e, "dir"), ring)
	}
	d.ring = append(d.ring, h)
	h.start, h.spec, h.free = e.TNs, d.spec, e.TNs
	d.flying[h.eseq] = h
	return doubt
}

func (d *direction) transmitted(c *Checker, e *trace.Event) {
	h := d.flying[e.ESeq]
	if first := len(d.ring) > 0 && d.ring[0] == h; first {
		d.ring = d.ring[1:]
	} else if h == nil || e.TNs-h.start > rounding && !d.turned(h.offered, e.TNs) {
		c.problem(e, "%s: this frame is not the first of the %d in the device's ring", text(e, "dir"), len(d.ring))
		return
	}
	d.starts(c, e, h)
}

// starts: a frame goes on the wire.
func (d *direction) starts(c *Checker, e *trace.Event, h *hop) {
	h.start, h.spec = e.TNs, d.spec
	free := h.offered
	if l := d.last; l != nil {
		free = max(free, l.free)
		// A change of settings may have given either of them another time than these settings say.
		if !d.turned(l.start, h.start) {
			if h.start < free-rounding {
				c.problem(e, "%s: goes on the wire at %d ns, which is free at %d", text(e, "dir"), h.start, free)
			}
			if h.start > free+rounding {
				c.problem(e, "%s: waits until %d ns although the wire is free at %d", text(e, "dir"), h.start, free)
			}
		}
	}
	h.free = h.start
	if h.spec.RateBps > 0 {
		h.free += h.bytes * 8e9 / int64(h.spec.RateBps)
	}
	d.last = h
	d.flying[h.eseq] = h
}

func (d *direction) delivered(c *Checker, e *trace.Event) {
	if e.TNs < d.end {
		d.delivers++
	}
	if truth(e, "copy") {
		if h := d.flying[e.Cause]; h == nil || h.copies == 0 {
			c.problem(e, "a copy of a frame that was not duplicated")
		} else {
			h.copies--
			d.land(h)
		}
		return
	}
	h := d.flying[e.ESeq]
	if h == nil || h.arrived {
		c.problem(e, "%s: a frame that is not on the wire", text(e, "dir"))
		return
	}
	h.arrived = true
	d.land(h)
	if slices.Contains(d.ring, h) && !d.turned(h.offered, e.TNs) {
		c.problem(e, "%s: a frame that has not left the device's ring", text(e, "dir"))
	}
	d.ring = slices.DeleteFunc(d.ring, func(o *hop) bool { return o == h })
	if d.turned(h.start, h.start) {
		d.latest = max(d.latest, e.TNs)
		return
	}
	at := h.free + max(h.spec.DelayNs, 1)
	early, late := spread(h.spec.Jitter)
	if e.TNs < at-early-rounding {
		c.problem(e, "%s: arrives at %d ns, not before %d", text(e, "dir"), e.TNs, at-early)
	}
	if e.TNs > at+late+rounding && e.TNs > d.latest {
		c.problem(e, "%s: arrives at %d ns, not after %d", text(e, "dir"), e.TNs, at+late)
	}
	d.latest = max(d.latest, e.TNs)
	if !h.spec.GetJitter().GetReorder() {
		for _, o := range d.flying {
			if o.start < h.start && !o.arrived && !o.spec.GetJitter().GetReorder() && !slices.Contains(d.ring, o) {
				c.problem(e, "%s: overtakes a frame that went on the wire at %d ns", text(e, "dir"), o.start)
			}
		}
	}
}

// land forgets a frame once it and its copies have arrived.
func (d *direction) land(h *hop) {
	if h.arrived && h.copies == 0 {
		delete(d.flying, h.eseq)
	}
}

// spread is by how much jitter may make a frame early or late.
func spread(j *labv1.Jitter) (early, late int64) {
	switch j.GetDistribution() {
	case labv1.Distribution_DISTRIBUTION_NORMAL, labv1.Distribution_DISTRIBUTION_PARETO:
		return 4 * j.GetAmountNs(), 4 * j.GetAmountNs()
	}
	return j.GetAmountNs(), j.GetAmountNs()
}

func (d *direction) dropped(c *Checker, e *trace.Event) (doubt string) {
	waiting, queued := int64(len(d.queue)), num(e, "bytes")
	for _, h := range d.queue {
		queued += h.bytes
	}
	d.take(e.ESeq)
	packets, bytes := d.limit()
	why := ""
	switch cause := text(e, "cause"); {
	case cause == "queue_full" && (packets == 0 || waiting < packets) && (bytes == 0 || queued <= bytes):
		why = "the queue is not full"
	case cause == "loss_model" && d.spec.Loss == nil:
		doubt = "it is to lose nothing"
	case cause == "fault" && !d.spec.Down:
		doubt = "it is not down"
	case cause == "mtu" && num(e, "bytes") <= int64(d.spec.MtuBytes)+ethernetHeader:
		why = "it is not too long"
	case cause == "":
		why = "no cause"
	}
	if why != "" {
		c.problem(e, "%s: dropped as %q, %s", text(e, "dir"), text(e, "cause"), why)
	}
	return doubt
}

// take finds a frame that waits or is on the wire, and takes it off; nil if it is neither.
func (d *direction) take(eseq uint64) *hop {
	if h := d.flying[eseq]; h != nil {
		delete(d.flying, eseq)
		d.ring = slices.DeleteFunc(d.ring, func(o *hop) bool { return o == h })
		return h
	}
	if i := slices.IndexFunc(d.queue, func(h *hop) bool { return h.eseq == eseq }); i >= 0 {
		h := d.queue[i]
		d.queue = slices.Delete(d.queue, i, i+1)
		return h
	}
	return nil
}

// removed: a direction that is taken out drops what is under way, then and there.
func (d *direction) removed(c *Checker, e *trace.Event) {
	if !d.gone || e.TNs != d.goneAt {
		c.problem(e, "%s is not taken out now", text(e, "dir"))
		return
	}
	if truth(e, "copy") {
		if h := d.flying[e.Cause]; h == nil || h.copies == 0 {
			c.problem(e, "a copy of a frame that was not duplicated")
		} else {
			h.copies--
			d.land(h)
		}
		return
	}
	h := d.flying[e.ESeq]
	if h != nil && !h.arrived {
		h.arrived = true // nobody waits for it any more
		d.land(h)
		return
	}
	if h != nil || d.take(e.ESeq) == nil {
		c.problem(e, "%s: a frame that is not under way", text(e, "dir"))
	}
}

// marked: nothing is duplicated or corrupted where that is not asked for.
func (d *direction) marked(e *trace.Event) (doubt string) {
	if e.Name == "link:duplicated" {
		if h := d.flying[e.ESeq]; h != nil {
			h.copies++
		}
		if d.spec.Duplicate == nil {
			return "it is not to duplicate"
		}
		return ""
	}
	if d.spec.Corrupt == 0 {
		return "it is not to corrupt"
	}
	return ""
}

func (r *links) finish(c *Checker) {
	r.settle(c)
	for _, name := range slices.Sorted(maps.Keys(r.dirs)) {
		for d := r.dirs[name]; d != nil; d = d.before {
			if n := len(d.queue) + len(d.flying); d.gone && n > 0 {
				c.complain(fmt.Sprintf("%s was taken out at %d ns, and nothing tells what became of %d frames on it", name, d.goneAt, n))
			}
		}
	}
}

// books compares what a direction says it has carried with what was recorded of it.
func (r *links) books(c *Checker, s *labv1.DirectionStatus) {
	if d := r.dirs[s.Name]; d != nil && int64(s.DeliveredPackets) != d.delivers {
		c.complain(fmt.Sprintf("%s has delivered %d frames, %d were recorded", s.Name, s.DeliveredPackets, d.delivers))
	}
}
