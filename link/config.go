// Package link emulates one direction of a link: MTU check, droptail queue, serialisation, loss, corruption,
// duplication, propagation with jitter, delivery. Two directions make a link. Everything that chance decides is decided
// in the sender's loop; what has left arrives.
package link

import (
	"fmt"
	"math"

	"labd.dev/sim"
)

// Distribution is how jitter spreads.
type Distribution uint8

const (
	Uniform Distribution = iota // delay plus or minus Amount
	Normal                      // standard deviation Amount, cut at 4 of them
	Pareto                      // shape 3, shifted to mean 0, standard deviation Amount, cut at 4 of them
)

// Jitter varies the propagation delay of each frame. The zero value is none.
type Jitter struct {
	Amount  sim.Time // half width (Uniform) or standard deviation
	Dist    Distribution
	Reorder bool // a frame may overtake the one before it; else it waits for it
}

// LossModel says how frames are lost.
type LossModel uint8

const (
	NoLoss         LossModel = iota
	RandomLoss               // each with probability P
	EveryLoss                // each Every-th frame of the direction
	FrameLoss                // the frames in Frames
	GilbertElliott           // two states
)

// Loss is a loss model and its parameters. The zero value loses nothing.
type Loss struct {
	Model  LossModel
	P      float64  // RandomLoss: chance of each frame; GilbertElliott: good -> bad, per frame
	R      float64  // GilbertElliott: bad -> good, per frame
	Bad    float64  // GilbertElliott: loss in the bad state (netem's 1-h)
	Good   float64  // GilbertElliott: loss in the good state (netem's 1-k)
	Every  uint64   // EveryLoss
	Frames []uint64 // FrameLoss: numbers from 1 in this direction, ascending
}

// Duplicate sends a copy of some frames.
type Duplicate struct {
	Chance float64
	Delay  sim.Time // the copy arrives so much after the frame; 0 acts as 1 ns
}

// Queue limits the frames that wait for the wire; the one on the wire does not count.
type Queue struct {
	LimitPackets int // 0 together with LimitBytes 0: DefaultQueuePackets; 0 with LimitBytes: unlimited
	LimitBytes   int // 0: unlimited
	Mark         Mark
	Device       Device
}

// Device is the network device between the queue and the wire. Frames in its ring have left the queue: they count no more
// against its limit, and their wait is over as far as marks go. The zero value is none: the queue ends at the wire.
type Device struct {
	RingPackets int // frames in the transmit ring (ethtool -g); the one on the wire does not count. 0: no device
	BQL         ByteQueueLimits
}

// ByteQueueLimits are a device's (Linux's BQL, with the names of sysfs's byte_queue_limits): its ring takes what keeps the wire
// busy, and leaves the rest in the queue.
type ByteQueueLimits struct {
	On                 bool
	LimitMin, LimitMax int      // bytes; LimitMax 0: MaxBQLLimit
	HoldTime           sim.Time // how long a part of the limit must be of no use before it is taken off; 0: DefaultBQLHoldTime
}

// Mark is active queue management by ECN (RFC 3168 5): a frame that has waited longer than Sojourn leaves the queue with
// the CE codepoint, if its packet is ECN-capable; others pass as they are. The zero value marks nothing.
type Mark struct {
	Sojourn sim.Time
}

// LossAt is where loss and duplication happen.
type LossAt uint8

const (
	AtWire    LossAt = iota // after serialisation, as on a real wire
	AtEnqueue               // before the queue, as netem does
)

// Config is what a direction does to frames. The zero value is an ideal wire: no rate, 1 ns of delay, MTU 1500.
type Config struct {
	Rate      uint64   // bits a second, counting the Ethernet header but no FCS; 0: unlimited
	Delay     sim.Time // one-way propagation; 0 acts as 1 ns
	Jitter    Jitter
	Loss      Loss
	Duplicate Duplicate
	Corrupt   float64 // chance that one random bit of a frame is flipped
	MTU       int     // largest IP packet; 0: DefaultMTU
	Queue     Queue
	LossAt    LossAt
	Down      bool
	Overhead  int // bytes a frame takes on the wire besides its own

	// DownBy and LossBy are the journal indexes of the faults that took the direction down and set its loss; 0: none did.
	// They only name the cause in records.
	DownBy, LossBy uint32
}

// Limits of a Config. They keep every sum of times inside int64 and every field of a record inside its bits.
const (
	DefaultMTU          = 1500 // Ethernet's
	DefaultQueuePackets = 1000 // Linux's txqueuelen and netem's limit
	MinMTU              = 68   // RFC 791: "Every internet module must be able to forward a datagram of 68 octets"
	MaxMTU              = 65535
	MaxQueuePackets     = 1<<20 - 1         // a record keeps 20 bits; at 1500 bytes 1.5 GB
	MaxQueueBytes       = 1 << 31           // a record keeps 32 bits
	MaxRate             = 8_000_000_000_000 // 1 ps a byte, the unit of serialisation
	MaxDelay            = 3600 * sim.Second // past any link, and sums of it stay far from sim.Never
	MaxOverhead         = 1024              // an order above any encapsulation's
	MaxRingPackets      = 1 << 16           // no device has more descriptors
	MaxBQLLimit         = 1879048192        // Linux's DQL_MAX_LIMIT: UINT_MAX/2 - UINT_MAX/16
	DefaultBQLHoldTime  = sim.Second        // Linux's: dql_init(&queue->dql, HZ)
	EthernetHeader      = 14                // what a frame has before its IP packet
	psPerByteAtOneBit   = 8_000_000_000_000 // serialisation of a byte at 1 bit/s, in ps
	maxFrame            = MaxMTU + MaxOverhead + EthernetHeader
)

// Validate checks a configuration as a person wrote it; the error names the field.
func (c Config) Validate() error {
	chance := func(name string, p float64) error {
		if !(p >= 0 && p <= 1) {
			return fmt.Errorf("%s: chance %v is not between 0 and 1", name, p)
		}
		return nil
	}
	for _, f := range []struct {
		name string
		p    float64
	}{{"loss", c.Loss.P}, {"loss.r", c.Loss.R}, {"loss.bad_loss", c.Loss.Bad}, {"loss.good_loss", c.Loss.Good},
		{"duplicate.chance", c.Duplicate.Chance}, {"corrupt", c.Corrupt}} {
		if err := chance(f.name, f.p); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name   string
		v      int64
		lo, hi int64
	}{
		{"rate", int64(min(c.Rate, math.MaxInt64)), 0, MaxRate},
		{"delay", int64(c.Delay), 0, int64(MaxDelay)},
		{"jitter", int64(c.Jitter.Amount), 0, int64(MaxDelay)},
		{"queue.mark.sojourn", int64(c.Queue.Mark.Sojourn), 0, int64(MaxDelay)},
		{"jitter.distribution", int64(c.Jitter.Dist), 0, int64(Pareto)},
		{"loss.model", int64(c.Loss.Model), 0, int64(GilbertElliott)},
		{"duplicate.delay", int64(c.Duplicate.Delay), 0, int64(MaxDelay)},
		{"mtu", int64(c.mtu()), MinMTU, MaxMTU},
		{"queue.limit_packets", int64(c.Queue.LimitPackets), 0, MaxQueuePackets},
		{"queue.limit_bytes", int64(c.Queue.LimitBytes), 0, MaxQueueBytes},
		{"queue.device.ring", int64(c.Queue.Device.RingPackets), 0, MaxRingPackets},
		{"queue.device.bql.limit_min", int64(c.Queue.Device.BQL.LimitMin), 0, MaxBQLLimit},
		{"queue.device.bql.limit_max", int64(c.Queue.Device.BQL.LimitMax), 0, MaxBQLLimit},
		{"queue.device.bql.hold_time", int64(c.Queue.Device.BQL.HoldTime), 0, int64(MaxDelay)},
		{"overhead", int64(c.Overhead), 0, MaxOverhead},
	} {
		if f.v < f.lo || f.v > f.hi {
			return fmt.Errorf("%s: %d is not between %d and %d", f.name, f.v, f.lo, f.hi)
		}
	}
	if c.Loss.Model == EveryLoss && c.Loss.Every == 0 {
		return fmt.Errorf("loss.every: must be at least 1")
	}
	for i := 1; i < len(c.Loss.Frames); i++ {
		if c.Loss.Frames[i] <= c.Loss.Frames[i-1] {
			return fmt.Errorf("loss.frames: %d after %d, want ascending numbers", c.Loss.Frames[i], c.Loss.Frames[i-1])
		}
	}
	return nil
}

// Effective is the configuration with its defaults filled in and every value inside its limits: what runs, and what
// tools show.
func (c Config) Effective() Config {
	c.MTU = min(max(c.mtu(), MinMTU), MaxMTU)
	c.Rate = min(c.Rate, MaxRate)
	c.Delay = min(max(c.Delay, 1), MaxDelay)
	c.Jitter.Amount = min(max(c.Jitter.Amount, 0), MaxDelay)
	c.Duplicate.Delay = min(max(c.Duplicate.Delay, 1), MaxDelay)
	c.Overhead = min(max(c.Overhead, 0), MaxOverhead)
	q := &c.Queue
	q.Mark.Sojourn = min(max(q.Mark.Sojourn, 0), MaxDelay)
	q.Device = q.Device.effective()
	if q.LimitPackets <= 0 && q.LimitBytes <= 0 {
		q.LimitPackets = DefaultQueuePackets
	}
	if q.LimitPackets <= 0 || q.LimitPackets > MaxQueuePackets {
		q.LimitPackets = MaxQueuePackets
	}
	if q.LimitBytes <= 0 || q.LimitBytes > MaxQueueBytes {
		q.LimitBytes = MaxQueueBytes
	}
	return c
}

func (v Device) effective() Device {
	v.RingPackets = min(max(v.RingPackets, 0), MaxRingPackets)
	b := &v.BQL
	if v.RingPackets == 0 || !b.On {
		*b = ByteQueueLimits{}
		return v
	}
	if b.LimitMax <= 0 || b.LimitMax > MaxBQLLimit {
		b.LimitMax = MaxBQLLimit
	}
	b.LimitMin = min(max(b.LimitMin, 0), b.LimitMax)
	if b.HoldTime <= 0 {
		b.HoldTime = DefaultBQLHoldTime
	}
	b.HoldTime = min(b.HoldTime, MaxDelay)
	return v
}

func (c Config) mtu() int {
	if c.MTU == 0 {
		return DefaultMTU
	}
	return c.MTU
}

// psPerByte is the serialisation time of a byte; 0 at an unlimited rate.
func (c Config) psPerByte() int64 {
	if c.Rate == 0 {
		return 0
	}
	return int64(max(psPerByteAtOneBit/c.Rate, 1))
}

// JitterEarly is how much sooner than Delay a frame may arrive at most.
func (c Config) JitterEarly() sim.Time {
	switch c.Jitter.Dist {
	case Normal:
		return sim.TruncateSigma * c.Jitter.Amount
	case Pareto:
		return sim.Time(float64(-sim.ParetoMin*float64(c.Jitter.Amount))) + 1
	default:
		return c.Jitter.Amount
	}
}

// Lookahead is the least time between a frame's departure and any arrival of it or of its copy.
func (c Config) Lookahead() sim.Time { return max(c.Delay-c.JitterEarly(), 1) }
