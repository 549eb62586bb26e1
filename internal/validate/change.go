package validate

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	labv1 "labd.dev/proto/lab/v1"
)

// Change checks a specification that a running lab is to be changed to: it must be right in itself, and what a lab is
// made with once and for all must be as it was. Clock, pace and placement decide nothing about a lab, and are not looked
// at.
func Change(running, to *labv1.LabSpec) []Violation {
	f := &found{}
	if to == nil {
		f.add("apply.spec", "there is no lab")
		return f.list
	}
	from, now := running.ProtoReflect(), to.ProtoReflect()
	fields := now.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		switch fd.Name() {
		case "nodes", "links", "clock", "pace", "placement":
			continue
		}
		if same(fd, from, now) {
			continue
		}
		f.add(string(fd.Name()), "it does not change while the lab runs: delete the lab and apply again")
	}
	f.list = append(f.list, Lab(to)...)
	return f.list
}

func same(fd protoreflect.FieldDescriptor, a, b protoreflect.Message) bool {
	return a.Has(fd) == b.Has(fd) && a.Get(fd).Equal(b.Get(fd))
}

// linkSet checks a change of a link's settings.
func (s *scene) linkSet(path string, set *labv1.LinkSet) {
	s.span(path+".duration_ns", set.GetDurationNs(), maxLabNs)
	s.link(path+".link", set.GetLink())
	p := set.GetPatch()
	if p == nil || !anySet(p.ProtoReflect()) {
		s.add(path+".patch", "what to change is missing: delay, loss, rate, ...")
		return
	}
	path += ".patch"
	s.rate(path+".rate_bps", p.GetRateBps())
	s.span(path+".delay_ns", p.GetDelayNs(), maxDelayNs)
	s.jitter(path+".jitter", p.GetJitter())
	if p.Loss != nil && p.Loss.GetModel() == nil {
		s.add(path+".loss", "how much is missing")
	}
	s.loss(path+".loss", p.GetLoss())
	s.duplicate(path+".duplicate", p.GetDuplicate())
	s.chance(path+".corrupt", p.GetCorrupt())
	s.mtu(path+".mtu_bytes", p.GetMtuBytes())
	s.queue(path+".queue", p.GetQueue())
}

func anySet(m protoreflect.Message) (any bool) {
	m.Range(func(protoreflect.FieldDescriptor, protoreflect.Value) bool { any = true; return false })
	return any
}
