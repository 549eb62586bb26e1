package experiment

import (
	"google.golang.org/protobuf/proto"

	"labd.dev/labfile"
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

// linkSet has the keys of `labctl link set`; loss, jitter, duplicate and queue are as in a lab file.
var linkSet = &schema.Object[labv1.LinkSet]{
	Name: "link",
	Doc:  "Changes settings of a link for good or for a while; what is not named stays. Later changes lie over earlier ones, faults over all of them; an apply takes those for good back.",
	Keys: []schema.Key[labv1.LinkSet]{
		schema.Text("on", "link", "A link `r1--r2`, or one direction of it `r1->r2`.", func(s *labv1.LinkSet, on string) { s.Link = on }).Must(),
		schema.Duration("for", "duration_ns", "How long; absent: for good.", func(s *labv1.LinkSet, ns int64) { s.DurationNs = ns }),
		schema.Duration("delay", "patch.delay_ns", "One-way delay.", func(s *labv1.LinkSet, ns int64) { s.Patch.DelayNs = &ns }),
		schema.Rate("rate", "patch.rate_bps", "Rate; `0bit` takes the limit off.", func(s *labv1.LinkSet, bps uint64) { s.Patch.RateBps = &bps }),
		schema.Nested("loss", "patch.loss", "Frames that never arrive.", labfile.Loss, func(s *labv1.LinkSet) *labv1.Loss {
			s.Patch.Loss = &labv1.Loss{}
			return s.Patch.Loss
		}),
		schema.Nested("jitter", "patch.jitter", "Variation of the delay.", labfile.Jitter, func(s *labv1.LinkSet) *labv1.Jitter {
			s.Patch.Jitter = &labv1.Jitter{}
			return s.Patch.Jitter
		}),
		schema.Nested("duplicate", "patch.duplicate", "Frames that arrive twice.", labfile.Duplicate, func(s *labv1.LinkSet) *labv1.Duplicate {
			s.Patch.Duplicate = &labv1.Duplicate{}
			return s.Patch.Duplicate
		}),
		schema.Chance("corrupt", "patch.corrupt", "Chance that one bit of a frame is flipped.", func(s *labv1.LinkSet, p float64) { s.Patch.Corrupt = &p }),
		schema.Size("mtu", "patch.mtu_bytes", "Largest IP packet.", func(s *labv1.LinkSet, n uint64) { s.Patch.MtuBytes = proto.Uint32(uint32(min(n, 1<<32-1))) }),
		schema.Nested("queue", "patch.queue", "The queue before the wire.", labfile.Queue, func(s *labv1.LinkSet) *labv1.Queue {
			s.Patch.Queue = &labv1.Queue{}
			return s.Patch.Queue
		}),
		schema.Switch("down", "patch.down", "Drops whatever is sent.", func(s *labv1.LinkSet, on bool) { s.Patch.Down = &on }),
	},
}
