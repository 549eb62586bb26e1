package node

import (
	"slices"

	"labd.dev/link"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// linkSet is a change of settings in force on one direction, over the spec and under the faults.
type linkSet struct {
	index uint32 // of its input
	patch *labv1.DirectionPatch
	end   sim.Time // sim.Never: for good
	d     *direction
	timer sim.Timer
}

func (w *Network) setLink(index uint32, in *labv1.LinkSet, now sim.Time) {
	end := sim.Never
	if in.GetDurationNs() > 0 {
		end = now + sim.Time(in.GetDurationNs())
	}
	dirs, _ := w.cfg.Plan.Link(in.GetLink())
	for _, i := range dirs {
		if w.directions[i] != nil {
			w.directions[i].set(index, in.GetPatch(), end)
		}
	}
}

// set puts settings in force. What is for good becomes the direction's own as soon as nothing older lies below it that
// will end.
func (d *direction) set(index uint32, patch *labv1.DirectionPatch, end sim.Time) {
	s := &linkSet{index: index, patch: patch, end: end, d: d}
	s.timer.H = s
	d.sets = append(d.sets, s)
	if end != sim.Never {
		d.loop.Arm(&s.timer, &d.from.id.Src, end)
	}
	s.record(KindLinkSet)
	d.settle()
	d.update()
}

// Fire takes the settings back.
func (s *linkSet) Fire(sim.Time) {
	d := s.d
	d.sets = slices.DeleteFunc(d.sets, func(o *linkSet) bool { return o == s })
	s.record(KindLinkReverted)
	d.settle()
	d.update()
}

// settle makes the direction's own what is for good with nothing below it.
func (d *direction) settle() {
	for len(d.sets) > 0 && d.sets[0].end == sim.Never {
		d.base = withPatch(d.base, d.sets[0].patch).Effective()
		d.sets = slices.Delete(d.sets, 0, 1)
		d.patched = true
	}
	d.port.fitMTU()
}

func (d *direction) dropSets() {
	for _, s := range d.sets {
		d.loop.Stop(&s.timer)
	}
	d.sets = nil
}

func (s *linkSet) record(kind sim.Kind) {
	d := s.d
	if r := d.from.id.Record(d.loop.Rec, d.loop.Now(), kind); r != nil {
		r.W[0], r.W[1] = s.index, uint32(d.plan.ID)
	}
}

// withPatch is a configuration with what a patch names changed.
func withPatch(c link.Config, p *labv1.DirectionPatch) link.Config {
	if p.RateBps != nil {
		c.Rate = p.GetRateBps()
	}
	if p.DelayNs != nil {
		c.Delay = sim.Time(p.GetDelayNs())
	}
	if p.GetJitter() != nil {
		c.Jitter = linkJitter(p.Jitter)
	}
	if p.GetLoss() != nil {
		c.Loss, c.LossBy = linkLoss(p.Loss), 0
	}
	if p.GetDuplicate() != nil {
		c.Duplicate = linkDuplicate(p.Duplicate)
	}
	if p.Corrupt != nil {
		c.Corrupt = p.GetCorrupt()
	}
	if p.MtuBytes != nil {
		c.MTU = int(p.GetMtuBytes())
	}
	if p.GetQueue() != nil {
		c.Queue = linkQueue(p.Queue)
	}
	if p.Down != nil {
		c.Down, c.DownBy = p.GetDown(), 0
	}
	return c
}

// CheckLinkSet refuses settings that no link has.
func CheckLinkSet(s *labv1.LinkSet) error {
	if s.GetDurationNs() < 0 || s.GetDurationNs() > int64(maxFault) {
		return FieldError{"link_set.duration_ns", "must be between 0 and a year"}
	}
	if s.GetPatch() == nil {
		return FieldError{"link_set.patch", "what to change is missing"}
	}
	if err := withPatch(link.Config{}, s.GetPatch()).Validate(); err != nil {
		return FieldError{"link_set.patch", err.Error()}
	}
	return nil
}
