package validate

import (
	"errors"
	"fmt"
	"net/netip"

	"labd.dev/node/app/craft"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace/capfilter"
)

// Bounds of a send: what one input may make a node do.
const (
	maxSendPackets = 64
	maxSendCount   = 10_000_000 // a flood of a million and more
	maxSendTimes   = 1_000_000
	maxSendFields  = 100 // more than there are
)

func (s *scene) send(path string, r *labv1.RawSend) {
	s.id(path+".id", r.GetId())
	s.node(path+".from", r.GetFrom(), false)
	s.span(path+".wait_ns", r.GetWaitNs(), maxLabNs)
	if r.GetOn() != "" {
		if _, err := capfilter.Compile(r.GetOn(), s.nodeKnown); err != nil {
			s.add(path+".on", "%v", err)
		}
	}
	if r.GetTimes() > maxSendTimes {
		s.add(path+".times", "must be at most %d", maxSendTimes)
	}
	if n := len(r.GetPackets()); n < 1 || n > maxSendPackets {
		s.add(path+".packets", "from 1 to %d packets, got %d", maxSendPackets, n)
		return
	}
	for i, p := range r.GetPackets() {
		where := at(path, "packets", i)
		s.span(where+".after_ns", p.GetAfterNs(), maxLabNs)
		s.span(where+".interval_ns", p.GetIntervalNs(), maxLabNs)
		if p.GetCount() > maxSendCount {
			s.add(where+".count", "must be at most %d", maxSendCount)
		}
		s.crafted(where, p, r.GetOn() != "")
	}
}

// Filter tells what is wrong with a capture filter for a lab; nil: nothing is.
func Filter(spec *labv1.LabSpec, text string) error {
	s := newScene(spec)
	_, err := capfilter.Compile(text, s.nodeKnown)
	return err
}

func (s *scene) nodeKnown(name string) ([]netip.Addr, bool) {
	_, ok := s.kinds[name]
	return nil, ok
}

// crafted checks the fields of a packet.
func (s *scene) crafted(where string, p *labv1.RawPacket, waits bool) {
	if len(p.GetFields()) > maxSendFields {
		s.add(where+".fields", "must be at most %d", maxSendFields)
		return
	}
	var fields []craft.Field
	for _, f := range p.GetFields() {
		fields = append(fields, craft.Field{Name: f.GetName(), Value: f.GetValue()})
	}
	c, err := craft.Compile(fields)
	var mistake *craft.Error
	if errors.As(err, &mistake) {
		s.suggest(fmt.Sprintf("%s.%s", where, clip(mistake.Field)), mistake.Suggestion, "%s", mistake.Text)
		return
	}
	if c.Waits() && !waits {
		s.add(where, "it has fields of a packet that is waited for (seen.*), and `on` does not say which")
	}
	for _, f := range c.Names() {
		s.target(where+"."+f.Name, f.Value)
	}
}
