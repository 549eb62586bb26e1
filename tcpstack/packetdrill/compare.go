package packetdrill

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"time"

	"labd.dev/sim"
)

// failure is an expectation of the script that did not come true.
type failure struct{ text string }

func (e *failure) Error() string { return e.text }

func failf(format string, a ...any) error { return &failure{fmt.Sprintf(format, a...)} }

// field compares one header field.
func field(name string, want, got uint32) error {
	if want == got {
		return nil
	}
	return failf("%s: expected %d (%#x), live %d (%#x)", name, want, want, got, got)
}

// firstError is the first of them that is one.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func bit(f, mask TCPFlags) uint32 {
	if f&mask != 0 {
		return 1
	}
	return 0
}

// comparison says how packets are compared.
type comparison struct {
	laxPSH    bool
	tsTick    time.Duration // 0: TS val is not compared
	tolerance time.Duration
}

// packet compares an outbound packet, mapped to the script's numbers, with the
// one that the script expects: everything the script can say of it, in the
// original's order, and by its rules of what is left open. TS ecr is one such: the
// original does not look at it.
func (c comparison) packet(conn *conn, want *Packet, got *livePacket) error {
	if got.problem != "" {
		return failf("%s", got.problem)
	}
	if want.Proto != got.Proto {
		return failf("expected a %v packet, live one is %v", want.Proto, got.Proto)
	}
	if err := tos(want.IP, got.IP.TOS); err != nil {
		return err
	}
	if want.IP.TTL != 0 {
		if err := field("ttl", uint32(want.IP.TTL), uint32(got.IP.TTL)); err != nil {
			return err
		}
	}
	switch want.Proto {
	case ProtoICMP:
		return icmpFields(want, got)
	case ProtoUDP:
		return firstError(field("udp_len", uint32(want.Length), uint32(got.Length)), payload(got))
	}
	return firstError(c.tcp(want, got), conn.flowLabel(want, got), c.options(want, &got.Packet), payload(got))
}

// payload compares the data, which is zeros wherever a script does not say it.
func payload(got *livePacket) error {
	if bytes.Count(got.payload, []byte{0}) != len(got.payload) {
		return failf("incorrect outbound data payload")
	}
	return nil
}

// tos compares the TOS byte, or as much of it as the script names.
func tos(want IPInfo, got uint8) error {
	switch want.Check {
	case TOSECT01:
		if ecn := got & 3; ecn != ecnMarks["ect0"] && ecn != ecnMarks["ect1"] {
			return failf("ip_ecn: expected ect0 or ect1, live %#x", ecn)
		}
	case TOSECN:
		return field("ip_ecn", uint32(want.TOS), uint32(got&3))
	case TOSByte:
		return field("tos", uint32(want.TOS), uint32(got))
	}
	return nil
}

// tcp compares the header's fields.
func (c comparison) tcp(want *Packet, got *livePacket) error {
	w, g := &want.TCP, &got.TCP
	if !w.AnyOptions {
		if err := field("tcp options length", optionsLen(w.Options), optionsLen(g.Options)); err != nil {
			return err
		}
	}
	if err := field("payload length", uint32(want.Length), uint32(got.Length)); err != nil {
		return err
	}
	for _, f := range [...]struct {
		name string
		bit  TCPFlags
	}{{"tcp_fin", FIN}, {"tcp_syn", SYN}, {"tcp_rst", RST}, {"tcp_psh", PSH}, {"tcp_ack", ACK}, {"tcp_urg", URG},
		{"tcp_ece", ECE}, {"tcp_cwr", CWR}, {"tcp_ae", AE}} {
		if f.bit == PSH && c.laxPSH && got.Length > 0 || f.bit&(ECE|CWR|AE) != 0 && w.HasACE {
			continue
		}
		if err := field(f.name, bit(w.Flags, f.bit), bit(g.Flags, f.bit)); err != nil {
			return err
		}
	}
	if w.HasACE {
		if err := field("tcp_ace", uint32(w.Flags.ACE()), uint32(g.Flags.ACE())); err != nil {
			return err
		}
	}
	window := w.Window
	if !w.HasWin {
		window = g.Window
	}
	return firstError(field("tcp_reserved_bits", 0, uint32(got.reserved)), field("tcp_seq", w.Seq, g.Seq),
		field("tcp_ack_seq", w.Ack, g.Ack), field("tcp_window", uint32(window), uint32(g.Window)),
		field("tcp_urg_ptr", uint32(w.Urgent), uint32(g.Urgent)))
}

func optionsLen(opts []TCPOption) uint32 {
	n := 0
	for _, o := range opts {
		n += o.wireLen()
	}
	return uint32(n)
}

// options compares the options one by one, in order.
func (c comparison) options(want, got *Packet) error {
	w, g := &want.TCP, &got.TCP
	if w.AnyOptions {
		return nil
	}
	for i := range max(len(w.Options), len(g.Options)) {
		if i >= len(w.Options) || i >= len(g.Options) || w.Options[i].Kind != g.Options[i].Kind {
			return failf("bad outbound TCP options")
		}
		a, b := w.Options[i], g.Options[i]
		if a.Kind == OptTimestamp && len(b.Data) == 8 {
			if err := c.timestamp(a.Data, b.Data); err != nil {
				return err
			}
		} else if a.unsigned() && len(b.Data) == md5.Size {
			continue
		} else if !bytes.Equal(a.Data, b.Data) {
			return failf("bad outbound TCP option: expected %s, live %s", a.notation(), b.notation())
		}
	}
	return nil
}

// timestamp compares TS val, where the script says how long a tick lasts.
func (c comparison) timestamp(want, got []byte) error {
	d := int32(binary.BigEndian.Uint32(got) - binary.BigEndian.Uint32(want))
	if c.tsTick != 0 && time.Duration(max(d, -d))*c.tsTick > c.tolerance {
		return failf("bad outbound TCP timestamp value: off by %d ticks of %v", d, c.tsTick)
	}
	return nil
}

// flowLabel compares for sameness: the script's labels stand for live ones.
func (c *conn) flowLabel(want *Packet, got *livePacket) error {
	w, g := want.IP.FlowLabel, got.IP.FlowLabel
	switch {
	case w == 0:
		return nil
	case g == 0:
		return failf("flowlabel: the live packet has none")
	case c.flowScript == 0:
	case w == c.flowScript && g != c.flowLive:
		return failf("flowlabel: expected %#x as before, live %#x", c.flowLive, g)
	case w != c.flowScript && g == c.flowLive:
		return failf("flowlabel: expected another than before, live %#x", g)
	}
	c.flowScript, c.flowLive = w, g
	return nil
}

// icmpFields compares type and code.
func icmpFields(want *Packet, got *livePacket) error {
	typ, code, err := want.ICMP.numbers(got.src.Addr().Is6())
	if err != nil {
		return err
	}
	t, _ := word(got.ICMP.Type, "type_", nil)
	cd, _ := word(got.ICMP.Code, "code_", nil)
	return firstError(field("icmp_type", uint32(typ), uint32(t)), field("icmp_code", uint32(code), uint32(cd)))
}

// follows says whether a segment continues the ones gathered so far, so that they
// compare as the one segment that a host with segmentation offload would have
// sent: the same header but for FIN, PSH and CWR, the next bytes, and, but for the
// last, the same length.
func follows(prev, next *livePacket, gathered, want int) error {
	const loose = FIN | PSH | CWR
	p, n := &prev.TCP, &next.TCP
	err := firstError(
		field("tcp options length", optionsLen(p.Options), optionsLen(n.Options)),
		field("flags", uint32(p.Flags&^loose), uint32(n.Flags&^loose)),
		field("tcp_seq", p.Seq+uint32(prev.Length), n.Seq),
		field("tcp_ack_seq", p.Ack, n.Ack), field("tcp_window", uint32(p.Window), uint32(n.Window)),
		field("tcp_urg_ptr", uint32(p.Urgent), uint32(n.Urgent)), field("tos", uint32(prev.IP.TOS), uint32(next.IP.TOS)))
	if err == nil && next.Length < want-gathered && next.Length != prev.Length {
		err = failf("payload of the next segment: expected %d bytes as the one before, live %d", prev.Length, next.Length)
	}
	return err
}

// join makes one packet of segments: the last one's header with the first one's
// sequence number and CWR, and all their data.
func join(parts []*livePacket) *livePacket {
	first, last := parts[0], *parts[len(parts)-1]
	last.TCP.Seq = first.TCP.Seq
	last.TCP.Flags = last.TCP.Flags&^CWR | first.TCP.Flags&CWR
	last.payload, last.Length = nil, 0
	for _, p := range parts {
		last.payload = append(last.payload, p.payload...)
		last.Length += p.Length
	}
	return &last
}

// timing says when an event was to happen. before is the time of the event before
// it, from which the tolerance grows by percent; any other than a range has Until
// at At.
type timing struct {
	kind      TimeKind
	at, until sim.Time
	before    sim.Time
}

// check compares a time, to the microsecond, with the script's.
func (g *settings) check(t timing, live sim.Time, what string) error {
	if t.kind == TimeAny {
		return nil
	}
	tol := max(sim.Time(g.tolerance), sim.Time(g.percent/100*float64(t.at-t.before)))
	live = (live + sim.Microsecond/2) / sim.Microsecond * sim.Microsecond
	if live >= t.at-tol && live <= t.until+tol {
		return nil
	}
	if t.until != t.at {
		return failf("timing error: expected %s between %s and %s but it happened at %s", what, secs(t.at), secs(t.until), secs(live))
	}
	return failf("timing error: expected %s at %s but it happened at %s; tolerance %s", what, secs(t.at), secs(live), secs(tol))
}

func (p Proto) String() string { return [...]string{"tcp", "udp", "icmp"}[p] }
