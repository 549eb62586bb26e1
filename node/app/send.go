package app

import (
	"fmt"
	"net/netip"

	"labd.dev/node/app/craft"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
	"labd.dev/tcpstack/wire"
	"labd.dev/trace/capfilter"
)

const (
	defaultSendWait = 10 * sim.Second // for a packet that is waited for
	maxSendLines    = 20              // packets that are told of one by one; a flood is told of in its summary
	maxSendsUnder   = 10_000          // packets seen and not yet answered to: a storm is not answered without end
	sendBurst       = 1000            // packets in one event: between events the loop's budgets are looked at
)

// send makes packets of any kind, at once or whenever a packet passes that it waits for.
type send struct {
	env     Env
	spec    *labv1.RawSend
	index   uint32
	packets []*craft.Packet
	dice    sim.Stream
	draws   uint64

	tap   *tcpstack.Tap
	on    *capfilter.Filter
	skip  uint32
	times uint32
	wait  sim.Timer // for the packet that is waited for

	turns       []*sendTurn
	sent, lines int
	failed      error
	ended       bool
}

// sendTurn is one turn of all the packets, with what it answers to.
type sendTurn struct {
	s    *send
	seen *craft.Seen
	sim.Timer
	packet int    // the one that is next
	i      uint32 // of its repetitions
}

// StartSend sends from this node what the input says; its lines go to the Reporter.
func StartSend(env Env, index uint32, spec *labv1.RawSend) App {
	s := &send{env: env, spec: spec, index: index, skip: spec.GetSkip(), times: max(spec.GetTimes(), 1)}
	s.dice = sim.NewStream(env.Seed, fmt.Sprintf("node %s send %d", env.ID.Name, index))
	s.wait.H = s
	for _, p := range spec.GetPackets() {
		c, err := craft.Compile(CraftFields(p))
		if err != nil {
			return s.fail(err)
		}
		s.packets = append(s.packets, c)
	}
	if spec.GetOn() == "" {
		s.begin(nil)
		return s
	}
	var err error
	if s.on, err = capfilter.Compile(spec.GetOn(), s.addresses); err != nil {
		return s.fail(err)
	}
	s.tap = env.Stack.OpenTap(s.passes)
	env.arm(&s.wait, env.Loop.Now()+timeOr(spec.GetWaitNs(), defaultSendWait))
	return s
}

// CraftFields are a packet's fields as craft reads them.
func CraftFields(p *labv1.RawPacket) []craft.Field {
	fields := make([]craft.Field, 0, len(p.GetFields()))
	for _, f := range p.GetFields() {
		fields = append(fields, craft.Field{Name: f.GetName(), Value: f.GetValue()})
	}
	return fields
}

// addresses are a node's in a filter, of both versions.
func (s *send) addresses(name string) (all []netip.Addr, ok bool) {
	for _, family := range []labv1.Family{labv1.Family_FAMILY_IPV4, labv1.Family_FAMILY_IPV6} {
		if a, ok := s.env.Resolve(name, family); ok {
			all = append(all, a)
		}
	}
	return all, len(all) > 0
}

// resolve is an address that a field stands for: of a name its node's IPv6 address in a packet that is of IPv6, else its
// IPv4 address, or the IPv6 one where it has no other. A literal address is what it is.
func (s *send) resolve(name string, six bool) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(name); err == nil {
		return a, true
	}
	family := labv1.Family_FAMILY_UNSPECIFIED
	if six {
		family = labv1.Family_FAMILY_IPV6
	}
	return s.env.Resolve(name, family)
}

func (s *send) Name() string { return "send" }
func (s *send) Done() bool   { return s.ended }

// Stop ends it without a word.
func (s *send) Stop() {
	s.ended = true
	s.env.Loop.Stop(&s.wait)
	for _, t := range s.turns {
		s.env.Loop.Stop(&t.Timer)
	}
	s.turns = nil
	if s.tap != nil {
		s.tap.Close()
		s.tap = nil
	}
}

func (s *send) fail(err error) App {
	s.failed = err
	s.finish()
	return s
}

// passes looks at a packet that arrives at the node, for whomever it is.
func (s *send) passes(frame []byte, length int) {
	if s.times == 0 || len(frame) < wire.EthernetLen || !s.on.Match(frame) {
		return
	}
	if s.skip > 0 {
		s.skip--
		return
	}
	if s.times--; s.times == 0 {
		s.env.Loop.Stop(&s.wait)
	}
	s.begin(craft.Look(frame[wire.EthernetLen:], length-wire.EthernetLen))
}

// Fire: what was waited for has not come.
func (s *send) Fire(sim.Time) {
	s.times = 0
	if len(s.turns) == 0 {
		if s.sent == 0 {
			s.failed = fmt.Errorf("no packet passed that matches %q", s.spec.GetOn())
		}
		s.finish()
	}
}

// begin starts a turn of the packets, in an event of its own.
func (s *send) begin(seen *craft.Seen) {
	if len(s.turns) == maxSendsUnder {
		return
	}
	t := &sendTurn{s: s, seen: seen}
	t.H = t
	s.turns = append(s.turns, t)
	s.env.arm(&t.Timer, s.env.Loop.Now()+sim.Time(s.spec.GetPackets()[0].GetAfterNs()))
}

// Fire sends the packets that are due now, and arms itself for the next.
func (t *sendTurn) Fire(now sim.Time) {
	s := t.s
	for n := 0; ; n++ {
		if n == sendBurst {
			s.env.arm(&t.Timer, now)
			return
		}
		p := s.spec.GetPackets()[t.packet]
		s.one(t)
		t.i++
		wait := sim.Time(p.GetIntervalNs())
		if t.i >= max(p.GetCount(), 1) {
			t.i = 0
			if t.packet++; t.packet == len(s.packets) {
				s.endTurn(t)
				return
			}
			wait = sim.Time(s.spec.GetPackets()[t.packet].GetAfterNs())
		}
		if s.ended {
			return
		}
		if wait > 0 {
			s.env.arm(&t.Timer, now+wait)
			return
		}
	}
}

func (s *send) endTurn(t *sendTurn) {
	for i, o := range s.turns {
		if o == t {
			s.turns = append(s.turns[:i], s.turns[i+1:]...)
			break
		}
	}
	if len(s.turns) == 0 && (s.tap == nil || s.times == 0) {
		s.finish()
	}
}

// one makes a packet and sends it. A mistake that only the packet seen brings out ends the whole.
func (s *send) one(t *sendTurn) {
	b, to, err := s.packets[t.packet].Build(&craft.Env{
		Resolve: s.resolve, Source: s.env.Stack.SourceTo, Draw: s.draw, I: uint64(t.i), Seen: t.seen,
	})
	var pkt sim.PacketID
	if err == nil {
		pkt, err = s.env.Stack.SendRaw(b, to, s.index)
	}
	if err != nil {
		s.failed = err
		s.finish()
		return
	}
	s.sent++
	if s.lines++; s.lines <= maxSendLines {
		s.say("%s %s:%d %s", sim.Time(s.env.Loop.Now()), s.env.ID.Name, pkt.Counter(), craft.Describe(b))
	} else if s.lines == maxSendLines+1 {
		s.say("...")
	}
}

func (s *send) draw() uint64 {
	s.draws++
	return s.dice.Uint64(s.draws)
}

func (s *send) say(format string, args ...any) {
	s.env.Report.ExecLine(s.spec.GetId(), fmt.Sprintf(format, args...))
}

// finish tells how it went, once.
func (s *send) finish() {
	if s.ended {
		return
	}
	s.Stop()
	code := exitOK
	if s.failed != nil {
		s.say("send: %s", reason(s.failed))
		code = exitError
	}
	if s.sent == 1 {
		s.say("1 packet sent")
	} else {
		s.say("%d packets sent", s.sent)
	}
	s.env.Report.ExecDone(s.spec.GetId(), code)
}
