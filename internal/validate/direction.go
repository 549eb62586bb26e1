package validate

import (
	"cmp"

	labv1 "labd.dev/proto/lab/v1"
)

func (f *found) direction(path string, d *labv1.DirectionSpec) {
	if d == nil {
		return
	}
	if d.RateBps > maxRateBps {
		f.add(path+".rate_bps", "must be at most %d bit", uint64(maxRateBps))
	}
	f.span(path+".delay_ns", d.DelayNs, maxDelayNs)
	f.jitter(path+".jitter", d.Jitter)
	f.loss(path+".loss", d.Loss)
	f.duplicate(path+".duplicate", d.Duplicate)
	f.chance(path+".corrupt", d.Corrupt)
	f.mtu(path+".mtu_bytes", d.MtuBytes)
	f.queue(path+".queue", d.Queue)
	if unknown(d.LossAt, labv1.LossAt_name) {
		f.add(path+".loss_at", "unknown value %d", d.LossAt)
	}
	if d.OverheadBytes > maxOverhead {
		f.add(path+".overhead_bytes", "must be at most %d B", maxOverhead)
	}
}

func (f *found) mtu(path string, v uint32) {
	if v != 0 {
		f.within(path, uint64(v), minMTU, maxMTU, " B")
	}
}

func (f *found) jitter(path string, j *labv1.Jitter) {
	if j == nil {
		return
	}
	f.span(path+".amount_ns", j.AmountNs, maxDelayNs)
	if unknown(j.Distribution, labv1.Distribution_name) {
		f.add(path+".distribution", "unknown value %d", j.Distribution)
	}
}

func (f *found) duplicate(path string, d *labv1.Duplicate) {
	if d == nil {
		return
	}
	f.chance(path+".chance", d.Chance)
	f.span(path+".delay_ns", d.DelayNs, maxDelayNs)
}

func (f *found) queue(path string, q *labv1.Queue) {
	if q == nil {
		return
	}
	if unknown(q.Kind, labv1.QueueKind_name) {
		f.add(path+".kind", "unknown value %d", q.Kind)
	}
	if q.LimitPackets > maxQueuePkts {
		f.add(path+".limit_packets", "must be at most %dp", maxQueuePkts)
	}
	if q.LimitBytes > maxQueueBytes {
		f.add(path+".limit_bytes", "must be at most %d B", uint64(maxQueueBytes))
	}
	if q.Mark != nil {
		f.span(path+".mark.sojourn_ns", q.Mark.SojournNs, maxDelayNs)
		if q.Mark.SojournNs == 0 {
			f.add(path+".mark.sojourn_ns", "must be above 0")
		}
	}
	f.device(path+".device", q.Device)
}

func (f *found) device(path string, v *labv1.QueueDevice) {
	if v == nil {
		return
	}
	f.within(path+".ring_packets", uint64(v.RingPackets), 1, maxRingPkts, "p")
	b := v.Bql
	if b == nil {
		return
	}
	if b.LimitMaxBytes > maxBQLLimit {
		f.add(path+".bql.limit_max_bytes", "must be at most %d B", uint64(maxBQLLimit))
	}
	if largest := cmp.Or(b.LimitMaxBytes, maxBQLLimit); b.LimitMinBytes > largest {
		f.add(path+".bql.limit_min_bytes", "must be at most the largest limit, %d B", largest)
	}
	f.span(path+".bql.hold_time_ns", b.HoldTimeNs, maxDelayNs)
}

func (f *found) loss(path string, l *labv1.Loss) {
	switch m := l.GetModel().(type) {
	case *labv1.Loss_Random:
		f.chance(path+".random", m.Random)
	case *labv1.Loss_GilbertElliott:
		g := m.GilbertElliott
		f.chance(path+".gilbert_elliott.p", g.GetP())
		f.chance(path+".gilbert_elliott.r", g.GetR())
		f.chance(path+".gilbert_elliott.bad_loss", g.GetBadLoss())
		f.chance(path+".gilbert_elliott.good_loss", g.GetGoodLoss())
	case *labv1.Loss_Every:
		if m.Every == 0 {
			f.add(path+".every", "must be at least 1")
		}
	case *labv1.Loss_Frames:
		frames := m.Frames.GetFrames()
		if len(frames) == 0 || len(frames) > maxFrameList {
			f.add(path+".frames", "must list from 1 to %d frames", maxFrameList)
			return
		}
		last := uint64(0)
		for i, n := range frames {
			if n <= last {
				f.add(at(path, "frames.frames", i), "frames are counted from 1 and listed in ascending order; %d comes after %d", n, last)
				return
			}
			last = n
		}
	}
}
