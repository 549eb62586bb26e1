package node

import (
	"labd.dev/link"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// linkConfig is a direction's settings as the link package has them. A nil spec is an ideal wire.
func linkConfig(s *labv1.DirectionSpec) link.Config {
	return link.Config{
		Rate:      s.GetRateBps(),
		Delay:     sim.Time(s.GetDelayNs()),
		Jitter:    linkJitter(s.GetJitter()),
		Loss:      linkLoss(s.GetLoss()),
		Duplicate: linkDuplicate(s.GetDuplicate()),
		Corrupt:   s.GetCorrupt(),
		MTU:       int(s.GetMtuBytes()),
		Queue:     linkQueue(s.GetQueue()),
		LossAt:    linkLossAt(s.GetLossAt()),
		Down:      s.GetDown(),
		Overhead:  int(s.GetOverheadBytes()),
	}
}

func linkJitter(j *labv1.Jitter) link.Jitter {
	out := link.Jitter{Amount: sim.Time(j.GetAmountNs()), Reorder: j.GetReorder()}
	switch j.GetDistribution() {
	case labv1.Distribution_DISTRIBUTION_NORMAL:
		out.Dist = link.Normal
	case labv1.Distribution_DISTRIBUTION_PARETO:
		out.Dist = link.Pareto
	}
	return out
}

func linkLoss(l *labv1.Loss) link.Loss {
	switch m := l.GetModel().(type) {
	case *labv1.Loss_Random:
		return link.Loss{Model: link.RandomLoss, P: m.Random}
	case *labv1.Loss_GilbertElliott:
		g := m.GilbertElliott
		return link.Loss{Model: link.GilbertElliott, P: g.GetP(), R: g.GetR(), Bad: g.GetBadLoss(), Good: g.GetGoodLoss()}
	case *labv1.Loss_Every:
		return link.Loss{Model: link.EveryLoss, Every: m.Every}
	case *labv1.Loss_Frames:
		return link.Loss{Model: link.FrameLoss, Frames: m.Frames.GetFrames()}
	}
	return link.Loss{}
}

func linkDuplicate(d *labv1.Duplicate) link.Duplicate {
	return link.Duplicate{Chance: d.GetChance(), Delay: sim.Time(d.GetDelayNs())}
}

func linkQueue(q *labv1.Queue) link.Queue {
	return link.Queue{LimitPackets: int(q.GetLimitPackets()), LimitBytes: int(min(q.GetLimitBytes(), link.MaxQueueBytes)),
		Mark: link.Mark{Sojourn: sim.Time(q.GetMark().GetSojournNs())}, Device: linkDevice(q.GetDevice())}
}

func linkDevice(v *labv1.QueueDevice) link.Device {
	b := v.GetBql()
	return link.Device{RingPackets: int(min(v.GetRingPackets(), link.MaxRingPackets)), BQL: link.ByteQueueLimits{On: b != nil,
		LimitMin: int(min(b.GetLimitMinBytes(), link.MaxBQLLimit)), LimitMax: int(min(b.GetLimitMaxBytes(), link.MaxBQLLimit)),
		HoldTime: sim.Time(b.GetHoldTimeNs())}}
}

func linkLossAt(l labv1.LossAt) link.LossAt {
	if l == labv1.LossAt_LOSS_AT_ENQUEUE {
		return link.AtEnqueue
	}
	return link.AtWire
}

// withFault is the configuration while a fault is in force on top of what c says.
func withFault(c link.Config, f *fault) link.Config {
	switch e := f.spec.GetEffect().(type) {
	case *labv1.Fault_Down:
		c.Down, c.DownBy = true, f.index
	case *labv1.Fault_Loss:
		c.Loss, c.LossBy = linkLoss(e.Loss), f.index
	case *labv1.Fault_DelayNs:
		c.Delay = sim.Time(e.DelayNs)
	case *labv1.Fault_Jitter:
		c.Jitter = linkJitter(e.Jitter)
	case *labv1.Fault_RateBps:
		c.Rate = e.RateBps
	case *labv1.Fault_Duplicate:
		c.Duplicate = linkDuplicate(e.Duplicate)
	case *labv1.Fault_Corrupt:
		c.Corrupt = e.Corrupt
	case *labv1.Fault_MtuBytes:
		c.MTU = int(e.MtuBytes)
	case *labv1.Fault_Queue:
		c.Queue = linkQueue(e.Queue)
	}
	return c
}

// directionSpec is a configuration in the API's terms, for telling what is in force.
func directionSpec(c link.Config) *labv1.DirectionSpec {
	s := &labv1.DirectionSpec{
		RateBps: c.Rate, DelayNs: int64(c.Delay), Corrupt: c.Corrupt, MtuBytes: uint32(c.MTU), Down: c.Down,
		OverheadBytes: uint32(c.Overhead), LossAt: labv1.LossAt_LOSS_AT_WIRE,
		Queue: &labv1.Queue{Kind: labv1.QueueKind_QUEUE_KIND_DROPTAIL},
	}
	if c.Queue.LimitPackets < link.MaxQueuePackets {
		s.Queue.LimitPackets = uint32(c.Queue.LimitPackets)
	}
	if c.Queue.LimitBytes < link.MaxQueueBytes {
		s.Queue.LimitBytes = uint64(c.Queue.LimitBytes)
	}
	if m := c.Queue.Mark; m.Sojourn > 0 {
		s.Queue.Mark = &labv1.QueueMark{SojournNs: int64(m.Sojourn)}
	}
	s.Queue.Device = deviceSpec(c.Queue.Device)
	if c.LossAt == link.AtEnqueue {
		s.LossAt = labv1.LossAt_LOSS_AT_ENQUEUE
	}
	if c.Jitter.Amount > 0 {
		dist := map[link.Distribution]labv1.Distribution{
			link.Uniform: labv1.Distribution_DISTRIBUTION_UNIFORM,
			link.Normal:  labv1.Distribution_DISTRIBUTION_NORMAL,
			link.Pareto:  labv1.Distribution_DISTRIBUTION_PARETO,
		}
		s.Jitter = &labv1.Jitter{AmountNs: int64(c.Jitter.Amount), Distribution: dist[c.Jitter.Dist], Reorder: c.Jitter.Reorder}
	}
	if c.Duplicate.Chance > 0 {
		s.Duplicate = &labv1.Duplicate{Chance: c.Duplicate.Chance, DelayNs: int64(c.Duplicate.Delay)}
	}
	s.Loss = lossSpec(c.Loss)
	return s
}

func deviceSpec(v link.Device) *labv1.QueueDevice {
	if v.RingPackets == 0 {
		return nil
	}
	s := &labv1.QueueDevice{RingPackets: uint32(v.RingPackets)}
	if b := v.BQL; b.On {
		s.Bql = &labv1.ByteQueueLimits{LimitMinBytes: uint64(b.LimitMin), LimitMaxBytes: uint64(b.LimitMax), HoldTimeNs: int64(b.HoldTime)}
	}
	return s
}

func lossSpec(l link.Loss) *labv1.Loss {
	switch l.Model {
	case link.RandomLoss:
		return &labv1.Loss{Model: &labv1.Loss_Random{Random: l.P}}
	case link.GilbertElliott:
		return &labv1.Loss{Model: &labv1.Loss_GilbertElliott{
			GilbertElliott: &labv1.GilbertElliott{P: l.P, R: l.R, BadLoss: l.Bad, GoodLoss: l.Good}}}
	case link.EveryLoss:
		return &labv1.Loss{Model: &labv1.Loss_Every{Every: l.Every}}
	case link.FrameLoss:
		return &labv1.Loss{Model: &labv1.Loss_Frames{Frames: &labv1.FrameList{Frames: l.Frames}}}
	}
	return nil
}
