package validate

import (
	"strings"

	labv1 "labd.dev/proto/lab/v1"
)

func (s *scene) fault(path string, f *labv1.Fault) {
	s.id(path+".id", f.GetId())
	s.span(path+".duration_ns", f.GetDurationNs(), maxLabNs)
	onNode := false
	switch e := f.GetEffect().(type) {
	case *labv1.Fault_Down:
	case *labv1.Fault_Loss:
		if e.Loss.GetModel() == nil {
			s.add(path+".loss", "how much is missing")
		}
		s.loss(path+".loss", e.Loss)
	case *labv1.Fault_DelayNs:
		s.span(path+".delay_ns", e.DelayNs, maxDelayNs)
	case *labv1.Fault_Jitter:
		s.jitter(path+".jitter", e.Jitter)
	case *labv1.Fault_RateBps:
		if e.RateBps == 0 {
			s.add(path+".rate_bps", "must be at least 1 bit; a link that carries nothing is down")
		}
		s.rate(path+".rate_bps", e.RateBps)
	case *labv1.Fault_Duplicate:
		s.duplicate(path+".duplicate", e.Duplicate)
	case *labv1.Fault_Corrupt:
		s.chance(path+".corrupt", e.Corrupt)
	case *labv1.Fault_MtuBytes:
		s.within(path+".mtu_bytes", uint64(e.MtuBytes), minMTU, maxMTU, " B")
	case *labv1.Fault_Queue:
		if e.Queue.GetLimitPackets() == 0 && e.Queue.GetLimitBytes() == 0 {
			s.add(path+".queue", "must hold at least 1 packet or 1 byte")
		}
		s.queue(path+".queue", e.Queue)
	case *labv1.Fault_Crash:
		onNode = true
	case *labv1.Fault_Reboot:
		onNode = true
		if f.GetDurationNs() != 0 {
			s.add(path+".duration_ns", "a reboot takes no time; a crash with a duration boots again when that is over")
		}
	default:
		s.add(path, "what the fault does is missing")
		return
	}
	if onNode {
		if s.kinds[f.GetNode()] != labv1.NodeKind_NODE_KIND_SWITCH {
			s.node(path+".node", f.GetNode(), false)
		}
		if f.GetLink() != "" {
			s.add(path+".link", "crash and reboot are for nodes, not for links")
		}
		return
	}
	if f.GetNode() != "" {
		s.add(path+".node", "this fault is for links, not for nodes")
		return
	}
	s.link(path+".link", f.GetLink())
}

// link checks the name of a link, with its ends in either order, or of one direction.
func (s *scene) link(path, name string) {
	if name == "" {
		s.add(path, "which link is missing")
		return
	}
	sep := "--"
	if strings.Contains(name, "->") {
		sep = "->"
	}
	a, b, ok := strings.Cut(name, sep)
	if ok {
		for _, l := range s.links {
			x, y, _ := strings.Cut(l, "--")
			if a == x && b == y || a == y && b == x {
				return
			}
			// A link keeps its name without interfaces when another comes beside it.
			x, _, _ = strings.Cut(x, ":")
			y, _, _ = strings.Cut(y, ":")
			if a == x && b == y || a == y && b == x {
				return
			}
		}
	}
	near := Nearest(strings.Replace(name, "->", "--", 1), s.links)
	s.suggest(path, strings.Replace(near, "--", sep, 1), "no link %q", clip(name))
}
