package labfile

import (
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

// gilbertElliott returns the model's parameters; what is lost in the bad state is everything unless the file says else.
func gilbertElliott(l *labv1.Loss) *labv1.GilbertElliott {
	if g := l.GetGilbertElliott(); g != nil {
		return g
	}
	g := &labv1.GilbertElliott{BadLoss: 1}
	l.Model = &labv1.Loss_GilbertElliott{GilbertElliott: g}
	return g
}

var lossRandom = schema.Chance("random", "random", "Independent loss of each frame.", func(l *labv1.Loss, p float64) { l.Model = &labv1.Loss_Random{Random: p} })

// Loss is the table of a loss model.
var Loss = &schema.Object[labv1.Loss]{
	Name: "loss",
	Doc:  "Which frames never arrive. `loss: 1%` is short for `loss: {random: 1%}`.",
	Keys: []schema.Key[labv1.Loss]{
		lossRandom,
		schema.Whole("every", "every", "Each Nth frame is lost.", 64, func(l *labv1.Loss, n uint64) { l.Model = &labv1.Loss_Every{Every: n} }),
		schema.Wholes("frames", "frames.frames", "These frames are lost, counted from 1 in this direction, ascending.", func(l *labv1.Loss, n uint64) {
			if l.GetFrames() == nil {
				l.Model = &labv1.Loss_Frames{Frames: &labv1.FrameList{}}
			}
			f := l.GetFrames()
			f.Frames = append(f.Frames, n)
		}),
		schema.Enum("model", "gilbert_elliott", "Bursts: a good and a bad state, as netem's `gemodel`.", []string{"gilbert-elliott"}, []bool{true}, func(l *labv1.Loss, _ bool) { gilbertElliott(l) }),
		schema.Chance("p", "gilbert_elliott.p", "Chance to go from good to bad, per frame.", func(l *labv1.Loss, p float64) { gilbertElliott(l).P = p }),
		schema.Chance("r", "gilbert_elliott.r", "Chance to go from bad to good, per frame.", func(l *labv1.Loss, p float64) { gilbertElliott(l).R = p }),
		schema.Chance("badLoss", "gilbert_elliott.bad_loss", "Loss in the bad state; absent: 100%.", func(l *labv1.Loss, p float64) { gilbertElliott(l).BadLoss = p }),
		schema.Chance("goodLoss", "gilbert_elliott.good_loss", "Loss in the good state; absent: 0%.", func(l *labv1.Loss, p float64) { gilbertElliott(l).GoodLoss = p }),
	},
	Choices:    [][]string{{"random"}, {"every"}, {"frames"}, {"model", "p", "r", "badLoss", "goodLoss"}},
	MustChoose: true,
	Short:      &lossRandom,
}

var jitterAmount = schema.Duration("amount", "amount_ns", "Half width (uniform) or standard deviation.", func(j *labv1.Jitter, ns int64) { j.AmountNs = ns })

// Jitter is the table of a delay's variation.
var Jitter = &schema.Object[labv1.Jitter]{
	Name: "jitter",
	Doc:  "How the delay varies from frame to frame. `jitter: 2ms` is short for `jitter: {amount: 2ms}`.",
	Keys: []schema.Key[labv1.Jitter]{
		jitterAmount.Must(),
		schema.Enum("distribution", "distribution", "Absent: `uniform`. The others are cut off at 4 sigma.", []string{"uniform", "normal", "pareto"},
			[]labv1.Distribution{labv1.Distribution_DISTRIBUTION_UNIFORM, labv1.Distribution_DISTRIBUTION_NORMAL, labv1.Distribution_DISTRIBUTION_PARETO},
			func(j *labv1.Jitter, v labv1.Distribution) { j.Distribution = v }),
		schema.Switch("reorder", "reorder", "A frame may overtake the one before it; off: it waits for it.", func(j *labv1.Jitter, on bool) { j.Reorder = on }),
	},
	Short: &jitterAmount,
}

var duplicateChance = schema.Chance("chance", "chance", "Chance that a frame gets a second copy.", func(d *labv1.Duplicate, p float64) { d.Chance = p })

// Duplicate is the table of duplication.
var Duplicate = &schema.Object[labv1.Duplicate]{
	Name: "duplicate",
	Doc:  "`duplicate: 1%` is short for `duplicate: {chance: 1%}`.",
	Keys: []schema.Key[labv1.Duplicate]{
		duplicateChance.Must(),
		schema.Duration("delay", "delay_ns", "The copy arrives so much later than the frame.", func(d *labv1.Duplicate, ns int64) { d.DelayNs = ns }),
	},
	Short: &duplicateChance,
}

var queueLimit = schema.Limit("limit", "", "What fits; what does not is dropped. Absent: `1000p`.", func(q *labv1.Queue, packets, bytes uint64) {
	q.LimitPackets, q.LimitBytes = uint32(min(packets, 1<<32-1)), bytes
})

// Mark is the table of a queue's marking.
var Mark = &schema.Object[labv1.QueueMark]{
	Name: "mark",
	Doc:  "A queue that marks packets by ECN (RFC 3168) instead of dropping them.",
	Keys: []schema.Key[labv1.QueueMark]{
		schema.Duration("sojourn", "sojourn_ns", "An ECN-capable packet that has waited longer leaves with the CE codepoint; others pass unmarked.", func(m *labv1.QueueMark, ns int64) { m.SojournNs = ns }).Must(),
	},
}

// BQL is the table of byte queue limits.
var BQL = &schema.Object[labv1.ByteQueueLimits]{
	Name: "bql",
	Doc: "Byte queue limits: the ring takes what keeps the wire busy, and leaves the rest in the queue. The names are those of Linux's " +
		"`/sys/class/net/*/queues/tx-*/byte_queue_limits`; `bql: {}` has all its defaults.",
	Keys: []schema.Key[labv1.ByteQueueLimits]{
		schema.Size("limitMin", "limit_min_bytes", "The limit never falls below; absent: none.", func(b *labv1.ByteQueueLimits, n uint64) { b.LimitMinBytes = n }),
		schema.Size("limitMax", "limit_max_bytes", "The limit never rises above; absent: Linux's `1879048192B`.", func(b *labv1.ByteQueueLimits, n uint64) { b.LimitMaxBytes = n }),
		schema.Duration("holdTime", "hold_time_ns", "How long a part of the limit must have been of no use before it is taken off; absent: `1s`.", func(b *labv1.ByteQueueLimits, ns int64) { b.HoldTimeNs = ns }),
	},
}

var deviceRing = schema.Packets("ring", "ring_packets", "Frames that the ring holds, the one on the wire not counted.", func(v *labv1.QueueDevice, n uint64) {
	v.RingPackets = uint32(min(n, 1<<32-1))
})

// Device is the table of the device behind a queue.
var Device = &schema.Object[labv1.QueueDevice]{
	Name: "device",
	Doc: "The network device between the queue and the wire, as `ethtool -g` shows its transmit ring. Frames in the ring have left the queue: " +
		"they do not count against its `limit`, and `mark` does not count their wait there. `device: 256p` is short for `device: {ring: 256p}`.",
	Keys: []schema.Key[labv1.QueueDevice]{
		deviceRing.Must(),
		schema.Nested("bql", "bql", "Byte queue limits; absent: the ring takes what it has room for.", BQL, func(v *labv1.QueueDevice) *labv1.ByteQueueLimits {
			v.Bql = &labv1.ByteQueueLimits{}
			return v.Bql
		}),
	},
	Short: &deviceRing,
}

// Queue is the table of a queue.
var Queue = &schema.Object[labv1.Queue]{
	Name: "queue",
	Doc:  "What waits before the wire. `queue: 100p` is short for `queue: {limit: 100p}`.",
	Keys: []schema.Key[labv1.Queue]{
		schema.Enum("kind", "kind", "Absent: `droptail`.", []string{"droptail"}, []labv1.QueueKind{labv1.QueueKind_QUEUE_KIND_DROPTAIL},
			func(q *labv1.Queue, k labv1.QueueKind) { q.Kind = k }),
		queueLimit,
		schema.Nested("mark", "mark", "Marks packets that wait too long; absent: none.", Mark, func(q *labv1.Queue) *labv1.QueueMark { q.Mark = &labv1.QueueMark{}; return q.Mark }),
		schema.Nested("device", "device", "The device behind the queue; absent: the queue ends at the wire.", Device, func(q *labv1.Queue) *labv1.QueueDevice {
			q.Device = &labv1.QueueDevice{}
			return q.Device
		}),
	},
	Short: &queueLimit,
}

// Direction is the table of one direction of a link.
var Direction = &schema.Object[labv1.DirectionSpec]{
	Name: "direction",
	Doc:  "What a link does to the frames of one direction, in this order: MTU, queue, serialisation, loss, corruption, duplication, propagation.",
	Keys: []schema.Key[labv1.DirectionSpec]{
		schema.Rate("rate", "rate_bps", "Bits a second, Ethernet header included; absent: unlimited.", func(s *labv1.DirectionSpec, v uint64) { s.RateBps = v }),
		schema.Duration("delay", "delay_ns", "One-way propagation; absent: none.", func(s *labv1.DirectionSpec, ns int64) { s.DelayNs = ns }),
		schema.Nested("jitter", "jitter", "Variation of the delay.", Jitter, func(s *labv1.DirectionSpec) *labv1.Jitter { s.Jitter = &labv1.Jitter{}; return s.Jitter }),
		schema.Nested("loss", "loss", "Frames that never arrive.", Loss, func(s *labv1.DirectionSpec) *labv1.Loss { s.Loss = &labv1.Loss{}; return s.Loss }),
		schema.Nested("duplicate", "duplicate", "Frames that arrive twice.", Duplicate, func(s *labv1.DirectionSpec) *labv1.Duplicate {
			s.Duplicate = &labv1.Duplicate{}
			return s.Duplicate
		}),
		schema.Chance("corrupt", "corrupt", "Chance that one bit of a frame is flipped.", func(s *labv1.DirectionSpec, p float64) { s.Corrupt = p }),
		schema.Size("mtu", "mtu_bytes", "Largest IP packet; absent: `1500B`.", func(s *labv1.DirectionSpec, v uint64) { s.MtuBytes = uint32(min(v, 1<<32-1)) }),
		schema.Nested("queue", "queue", "The queue before the wire.", Queue, func(s *labv1.DirectionSpec) *labv1.Queue {
			if s.Queue == nil {
				s.Queue = &labv1.Queue{}
			}
			return s.Queue
		}),
		schema.Enum("lossAt", "loss_at", "Where frames are lost and duplicated: behind the queue, as on a wire, or before it, as netem does. Absent: `wire`.",
			[]string{"wire", "enqueue"}, []labv1.LossAt{labv1.LossAt_LOSS_AT_WIRE, labv1.LossAt_LOSS_AT_ENQUEUE},
			func(s *labv1.DirectionSpec, v labv1.LossAt) { s.LossAt = v }),
		schema.Switch("down", "down", "The direction is down from the start.", func(s *labv1.DirectionSpec, on bool) { s.Down = on }),
		schema.Size("overhead", "overhead_bytes", "Bytes on the wire a frame takes besides its own, in serialisation.", func(s *labv1.DirectionSpec, v uint64) {
			s.OverheadBytes = uint32(min(v, 1<<32-1))
		}),
	},
}

var link = &schema.Object[labv1.LinkSpec]{
	Name: "link",
	Doc:  "Two nodes and the wire between them. The settings of a direction hold for both; `reverse` overrides them for the direction from the second endpoint to the first.",
	Keys: append(append([]schema.Key[labv1.LinkSpec]{
		schema.Tuple("endpoints", []string{"a", "b"}, "The two ends. Without `:ethN` the node's next free interface is taken.", "`node` or `node:ethN`",
			func(l *labv1.LinkSpec, i int, s string) error {
				end, err := parseEndpoint(s)
				*[]**labv1.Endpoint{&l.A, &l.B}[i] = end
				return err
			}).Must()},
		schema.Both(Direction.Keys, []string{"forward", "reverse"}, func(l *labv1.LinkSpec) []*labv1.DirectionSpec {
			return []*labv1.DirectionSpec{l.Forward, l.Reverse}
		})...),
		schema.Nested("reverse", "reverse", "Overrides for the direction from the second endpoint to the first.", Direction, func(l *labv1.LinkSpec) *labv1.DirectionSpec { return l.Reverse }),
	),
}
