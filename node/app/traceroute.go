package app

import (
	"fmt"
	"net/netip"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
	"labd.dev/tcpstack/wire"
)

const (
	tracePort     = 33434 // of the first probe; each takes the next: nothing listens there
	traceSize     = 60    // bytes of a probe's IP packet, as Linux's
	defaultHops   = 30
	maxHops       = 255 // of a TTL
	defaultProbes = 3
	maxProbes     = 10 // Linux's bound
)

// traceroute finds the routers on the way by UDP probes whose TTL grows, one probe at a time, and prints what Linux's
// traceroute prints.
type traceroute struct {
	env     Env
	spec    *labv1.Traceroute
	index   uint32
	sock    *tcpstack.UDPSocket
	to      netip.Addr
	hops    int
	probes  int
	timeout sim.Time

	timer  sim.Timer
	probe  int // the one that is under way, from 0 over all hops
	sentAt sim.Time
	line   strings.Builder
	last   netip.Addr // who answered last on this line
	over   bool       // the way ends at this hop: reached, or no further
	found  bool       // the target answered
	ended  bool
}

// StartTraceroute traces the way from this node; its lines go to the Reporter.
func StartTraceroute(env Env, index uint32, spec *labv1.Traceroute) App {
	t := &traceroute{
		env: env, spec: spec, index: index, hops: int(min(orDefault(spec.GetMaxHops(), defaultHops), maxHops)),
		probes: int(min(orDefault(spec.GetProbes(), defaultProbes), maxProbes)), timeout: timeOr(spec.GetTimeoutNs(), sim.Second),
	}
	t.timer.H = t
	var err error
	if t.to, err = env.resolve(spec.GetTo(), spec.GetFamily()); err != nil {
		return t.fail(err)
	}
	if t.sock, err = env.Stack.OpenUDP(any4(0), t.answered); err != nil {
		return t.fail(err)
	}
	t.sock.OnError(t.icmpError)
	env.Report.ExecLine(spec.GetId(), fmt.Sprintf("traceroute to %s (%s), %d hops max, %d byte packets", spec.GetTo(), t.to, t.hops, traceSize))
	t.send()
	return t
}

func (t *traceroute) fail(err error) App {
	t.env.Report.ExecLine(t.spec.GetId(), "traceroute: "+reason(err))
	t.env.Report.ExecDone(t.spec.GetId(), exitError)
	t.ended = true
	return t
}

func (t *traceroute) Name() string { return "traceroute " + t.spec.GetTo() }
func (t *traceroute) Done() bool   { return t.ended }

func (t *traceroute) Stop() {
	t.ended = true
	t.env.Loop.Stop(&t.timer)
	if t.sock != nil {
		t.sock.Close()
	}
}

// port of a probe; the destination port is what names it in the quoted datagram.
func (t *traceroute) port() uint16 { return uint16(tracePort + t.probe) }

func (t *traceroute) send() {
	if t.probe%t.probes == 0 {
		fmt.Fprintf(&t.line, "%2d ", t.probe/t.probes+1)
	}
	var room [traceSize]byte
	payload := room[:traceSize-wire.IPv4MinLen-wire.UDPLen]
	if t.to.Is6() {
		payload = payload[:traceSize-wire.IPv6Len-wire.UDPLen]
	}
	t.sentAt = t.env.Loop.Now()
	t.env.arm(&t.timer, t.sentAt+t.timeout)
	o := tcpstack.SendOptions{TTL: uint8(t.probe/t.probes + 1), Tag: t.index}
	if err := t.sock.SendTo(payload, netip.AddrPortFrom(t.to, t.port()), o); err != nil {
		t.Stop()
		t.fail(err)
	}
}

// Fire: no answer came.
func (t *traceroute) Fire(sim.Time) {
	t.line.WriteString(" *")
	t.next()
}

// icmpError is an answer to the probe that is under way, or a late one that is let go.
func (t *traceroute) icmpError(e tcpstack.ICMPError) {
	if t.ended || e.To.Port() != t.port() {
		return
	}
	if e.Type == wire.ICMPUnreachable {
		t.over = true
		t.found = t.found || e.Code == wire.ICMPPortUnreachable && e.From == t.to
	}
	t.answer(e.From, icmpMark(e))
}

// answered: something does listen on the probe's port.
func (t *traceroute) answered(d tcpstack.Datagram) {
	if !t.ended && d.From == netip.AddrPortFrom(t.to, t.port()) {
		t.over, t.found = true, true
		t.answer(d.From.Addr(), "")
	}
}

func (t *traceroute) answer(from netip.Addr, mark string) {
	if from != t.last {
		t.last = from
		fmt.Fprintf(&t.line, " %s", t.name(from))
	}
	rtt := t.env.Loop.Now() - t.sentAt
	fmt.Fprintf(&t.line, "  %.3f ms", float64(rtt)/1e6)
	if mark != "" {
		t.line.WriteString(" " + mark)
	}
	t.next()
}

// name is "r1 (10.0.1.2)", or the bare address where it belongs to nobody known.
func (t *traceroute) name(a netip.Addr) string {
	if t.env.NameOf != nil {
		if name, ok := t.env.NameOf(a); ok {
			return fmt.Sprintf("%s (%s)", name, a)
		}
	}
	return a.String()
}

// next goes on to the next probe; at the end of a hop its line is printed.
func (t *traceroute) next() {
	t.probe++
	if t.probe%t.probes == 0 {
		t.env.Report.ExecLine(t.spec.GetId(), t.line.String())
		t.line.Reset()
		t.last = netip.Addr{}
		if t.over || t.probe == t.probes*t.hops {
			t.finish()
			return
		}
	}
	t.send()
}

func (t *traceroute) finish() {
	code := exitNoAnswer
	if t.found {
		code = exitOK
	}
	t.Stop()
	t.env.Report.ExecDone(t.spec.GetId(), code)
}
