package link

import (
	"math"
	"strings"
	"testing"

	"labd.dev/sim"
)

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		want string // the field that the error names; empty: valid
		cfg  Config
	}{
		{"", Config{}},
		{"", Config{Rate: MaxRate, Delay: MaxDelay, MTU: MaxMTU, Corrupt: 1}},
		{"rate", Config{Rate: math.MaxUint64}},
		{"delay", Config{Delay: -1}},
		{"delay", Config{Delay: MaxDelay + 1}},
		{"jitter", Config{Jitter: Jitter{Amount: -1}}},
		{"jitter.distribution", Config{Jitter: Jitter{Dist: 7}}},
		{"loss", Config{Loss: Loss{P: 1.01}}},
		{"loss", Config{Loss: Loss{P: math.NaN()}}},
		{"loss.r", Config{Loss: Loss{R: -0.1}}},
		{"loss.model", Config{Loss: Loss{Model: 9}}},
		{"loss.every", Config{Loss: Loss{Model: EveryLoss}}},
		{"loss.frames", Config{Loss: Loss{Model: FrameLoss, Frames: []uint64{3, 3}}}},
		{"duplicate.chance", Config{Duplicate: Duplicate{Chance: 2}}},
		{"duplicate.delay", Config{Duplicate: Duplicate{Delay: -5}}},
		{"corrupt", Config{Corrupt: math.Inf(1)}},
		{"mtu", Config{MTU: 67}},
		{"queue.limit_packets", Config{Queue: Queue{LimitPackets: MaxQueuePackets + 1}}},
		{"queue.limit_bytes", Config{Queue: Queue{LimitBytes: -1}}},
		{"overhead", Config{Overhead: -1}},
	} {
		err := c.cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want+":")) {
			t.Errorf("%+v: error %v, want one of %q", c.cfg, err, c.want)
		}
	}
}

// Nothing that a Config holds makes a direction panic or stand still.
func TestEffectiveIsInBounds(t *testing.T) {
	wild := Config{
		Rate: math.MaxUint64, Delay: -7, MTU: -1, Overhead: -9, Queue: Queue{LimitPackets: -1, LimitBytes: -1},
		Jitter: Jitter{Amount: -1, Dist: 200}, Loss: Loss{Model: 77, P: math.NaN()}, Duplicate: Duplicate{Chance: 7, Delay: -1},
	}
	got := wild.Effective()
	if got.Rate != MaxRate || got.Delay != 1 || got.MTU != MinMTU || got.Overhead != 0 ||
		got.Queue != (Queue{LimitPackets: DefaultQueuePackets, LimitBytes: MaxQueueBytes}) || got.Jitter.Amount != 0 || got.Duplicate.Delay != 1 {
		t.Errorf("%+v", got)
	}
	if c := (Config{}).Effective(); c.Queue.LimitPackets != DefaultQueuePackets || c.MTU != DefaultMTU {
		t.Errorf("defaults: %+v", c)
	}
	if got.Lookahead() < 1 || (Config{Jitter: Jitter{Amount: sim.Second}}).Lookahead() != 1 {
		t.Error("no lookahead")
	}
}
