package node

import (
	"slices"

	"labd.dev/link"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// fault is an input of that kind. What it does, it does through the linkFaults and the crash that it has made.
type fault struct {
	index      uint32 // of its input
	spec       *labv1.Fault
	start, end sim.Time // end: sim.Never until it is cleared
	links      []*linkFault
	crash      *crash
}

// linkFault is a fault in force on one direction. Its end is an event of the sending node: a direction's own sequence
// numbers its frames and their draws, and a fault must shift no dice.
type linkFault struct {
	*fault
	d     *direction
	timer sim.Timer
}

// crash keeps a node down.
type crash struct {
	*fault
	n     *Node
	timer sim.Timer
}

func (w *Network) startFault(index uint32, spec *labv1.Fault, now sim.Time) {
	f := &fault{index: index, spec: spec, start: now, end: sim.Never}
	if spec.GetDurationNs() > 0 {
		f.end = now + sim.Time(spec.GetDurationNs())
	}
	w.faults = append(w.faults, f)
	if spec.GetNode() != "" {
		if i, ok := w.cfg.Plan.Node(spec.GetNode()); ok {
			if w.supersede(f); w.nodes[i] != nil {
				w.nodes[i].strike(f)
			}
		}
		return
	}
	dirs, _ := w.cfg.Plan.Link(spec.GetLink())
	for _, i := range dirs {
		if w.directions[i] != nil {
			w.directions[i].strike(f)
		}
	}
}

// supersede ends what keeps a node down when it is rebooted: who reboots a node that is down wants it up. Every shard of a
// lab knows of that, not only the node's own.
func (w *Network) supersede(f *fault) {
	if _, reboot := f.spec.GetEffect().(*labv1.Fault_Reboot); !reboot {
		return
	}
	f.end = f.start
	for _, o := range w.faults {
		if o.spec.GetNode() == f.spec.GetNode() && o.end > f.start {
			o.end = f.start
		}
	}
}

// strike puts a fault in force on the direction.
func (d *direction) strike(f *fault) {
	lf := &linkFault{fault: f, d: d}
	lf.timer.H = lf
	f.links = append(f.links, lf)
	d.active = append(d.active, lf)
	if f.end != sim.Never {
		d.loop.Arm(&lf.timer, &d.from.id.Src, f.end)
	}
	f.record(d.loop, d.from.id, KindFaultStarted, d.plan.ID, false)
	d.update()
}

// Fire ends the fault at its time.
func (lf *linkFault) Fire(sim.Time) { lf.over(false) }

func (lf *linkFault) over(cleared bool) {
	d := lf.d
	i := slices.Index(d.active, lf)
	if i < 0 {
		return
	}
	d.loop.Stop(&lf.timer)
	d.active = slices.Delete(d.active, i, i+1)
	lf.record(d.loop, d.from.id, KindFaultEnded, d.plan.ID, cleared)
	d.update()
}

// update makes the direction what its spec and the faults in force, the later ones over the earlier, say.
func (d *direction) update() {
	d.link.Set(d.configAfter(0))
	d.ahead = d.leastAhead()
}

// configAfter is what is in force once everything that ends at a time or before it has ended: the spec, over it the
// settings that were changed, over them the faults.
func (d *direction) configAfter(t sim.Time) link.Config {
	c := d.base
	for _, s := range d.sets {
		if s.end > t {
			c = withPatch(c, s.patch)
		}
	}
	for _, lf := range d.active {
		if lf.end > t {
			c = withFault(c, lf.fault)
		}
	}
	return c
}

// leastAhead is the least delay the direction has now or will have as what is in force ends, one after the other.
func (d *direction) leastAhead() sim.Time {
	least := d.configAfter(0).Effective().Lookahead()
	for _, s := range d.sets {
		least = min(least, d.configAfter(s.end).Effective().Lookahead())
	}
	for _, lf := range d.active {
		least = min(least, d.configAfter(lf.end).Effective().Lookahead())
	}
	return least
}

func (d *direction) stopFaults() {
	for _, lf := range d.active {
		d.loop.Stop(&lf.timer)
	}
}

// strike crashes the node, or reboots it.
func (n *Node) strike(f *fault) {
	f.record(n.loop, n.id, KindFaultStarted, 0, false)
	if _, reboot := f.spec.GetEffect().(*labv1.Fault_Reboot); reboot {
		n.crashNow()
		for _, c := range n.crashes {
			c.record(n.loop, n.id, KindFaultEnded, 0, true)
		}
		n.endCrashes()
		n.bootAgain()
		f.record(n.loop, n.id, KindFaultEnded, 0, false)
		return
	}
	c := &crash{fault: f, n: n}
	c.timer.H = c
	f.crash = c
	n.crashes = append(n.crashes, c)
	if f.end != sim.Never {
		n.loop.Arm(&c.timer, &n.id.Src, f.end)
	}
	n.crashNow()
}

// Fire boots the node, unless another crash keeps it down.
func (c *crash) Fire(sim.Time) { c.over(false) }

func (c *crash) over(cleared bool) {
	n := c.n
	i := slices.Index(n.crashes, c)
	if i < 0 {
		return
	}
	n.loop.Stop(&c.timer)
	n.crashes = slices.Delete(n.crashes, i, i+1)
	c.record(n.loop, n.id, KindFaultEnded, 0, cleared)
	if len(n.crashes) == 0 {
		n.bootAgain()
	}
}

// clearFault ends the fault of that name now, if it is in force.
func (w *Network) clearFault(id string, now sim.Time) {
	for _, f := range w.faults {
		if f.spec.GetId() != id || f.end <= now {
			continue
		}
		f.end = now
		for _, lf := range f.links {
			lf.over(true)
		}
		if f.crash != nil {
			f.crash.over(true)
		}
	}
}

// CheckFault refuses a fault that could not take effect: an effect on the wrong kind of thing, or settings no link has.
func CheckFault(f *labv1.Fault) error {
	switch f.GetEffect().(type) {
	case *labv1.Fault_Crash, *labv1.Fault_Reboot:
		if f.GetNode() == "" || f.GetLink() != "" {
			return FieldError{"fault.node", "a crash or reboot is of a node"}
		}
	default:
		if f.GetLink() == "" || f.GetNode() != "" {
			return FieldError{"fault.link", "this effect is of a link"}
		}
	}
	if f.GetDurationNs() < 0 || f.GetDurationNs() > int64(maxFault) {
		return FieldError{"fault.duration_ns", "must be between 0 and a year"}
	}
	if err := withFault(link.Config{}, &fault{spec: f}).Validate(); err != nil {
		return FieldError{"fault", err.Error()}
	}
	return nil
}

// maxFault keeps the end of a fault far from sim.Never.
const maxFault = 365 * 24 * 3600 * sim.Second

// FaultStatus tells of every fault so far, in the order of inputs.
func (w *Network) FaultStatus(now sim.Time) []*labv1.FaultStatus {
	out := make([]*labv1.FaultStatus, 0, len(w.faults))
	for _, f := range w.faults {
		s := &labv1.FaultStatus{Id: f.spec.GetId(), Fault: f.spec, StartNs: int64(f.start), Active: f.end > now}
		if f.end != sim.Never {
			s.EndNs = int64(f.end)
		}
		out = append(out, s)
	}
	return out
}
