package app

import (
	"errors"
	"fmt"
	"math"
	"net/netip"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
	"labd.dev/tcpstack/wire"
)

const (
	defaultPings    = 4
	defaultPingSize = 56
	maxPings        = math.MaxUint16 // the sequence number has 16 bits; beyond, replies could not be told apart
)

// Exit codes of ping and traceroute, as Linux's.
const (
	exitOK       = 0
	exitNoAnswer = 1
	exitError    = 2
)

// ping sends echo requests and prints what Linux's ping prints.
type ping struct {
	env      Env
	spec     *labv1.Ping
	index    uint32
	sock     *tcpstack.EchoSocket
	to       netip.Addr
	count    int
	interval sim.Time
	timeout  sim.Time
	payload  []byte

	timer    sim.Timer
	start    sim.Time
	sentAt   []sim.Time // by sequence number, from 1
	answered []bool     // or failed
	open     int        // requests without an answer
	replies  int
	dups     int
	errors   int
	min, max sim.Time
	sum      float64 // of round trip times, us
	sum2     float64 // of their squares
	ended    bool
}

// StartPing pings from this node; its lines go to the Reporter.
func StartPing(env Env, index uint32, spec *labv1.Ping) App {
	p := &ping{
		env: env, spec: spec, index: index, start: env.Loop.Now(),
		count: int(min(orDefault(spec.GetCount(), defaultPings), maxPings)), interval: timeOr(spec.GetIntervalNs(), sim.Second),
		timeout: timeOr(spec.GetTimeoutNs(), sim.Second),
	}
	p.timer.H = p
	size := orDefault(spec.GetSizeBytes(), defaultPingSize)
	var err error
	if p.to, err = env.resolve(spec.GetTo(), spec.GetFamily()); err != nil {
		return p.fail(err)
	}
	if p.sock, err = env.Stack.OpenEcho(p.event); err != nil {
		return p.fail(err)
	}
	if size > tcpstack.MaxUDPPayload {
		return p.fail(tcpstack.ErrMessageTooLong)
	}
	p.payload = make([]byte, size)
	for i := range p.payload {
		p.payload[i] = byte(i)
	}
	p.sentAt, p.answered = make([]sim.Time, 0, min(p.count, 64)), make([]bool, 0, min(p.count, 64))
	headers := uint32(wire.IPv4MinLen + wire.ICMPLen)
	if p.to.Is6() {
		headers = wire.IPv6Len + wire.ICMPLen
	}
	p.printf("PING %s (%s) %d(%d) bytes of data.", spec.GetTo(), p.to, size, size+headers)
	p.Fire(p.start)
	return p
}

func orDefault(v, otherwise uint32) uint32 {
	if v == 0 {
		return otherwise
	}
	return v
}

func timeOr(ns int64, otherwise sim.Time) sim.Time {
	if ns <= 0 {
		return otherwise
	}
	return sim.Time(ns)
}

func (p *ping) fail(err error) App {
	p.printf("ping: %s", reason(err))
	p.env.Report.ExecDone(p.spec.GetId(), exitError)
	p.ended = true
	return p
}

func (p *ping) printf(format string, args ...any) {
	p.env.Report.ExecLine(p.spec.GetId(), fmt.Sprintf(format, args...))
}

func (p *ping) Name() string { return "ping " + p.spec.GetTo() }
func (p *ping) Done() bool   { return p.ended }

func (p *ping) Stop() {
	p.ended = true
	p.env.Loop.Stop(&p.timer)
	if p.sock != nil {
		p.sock.Close()
	}
}

// Fire sends the next request, or ends the wait for the last answers.
func (p *ping) Fire(now sim.Time) {
	if len(p.sentAt) == p.count {
		p.finish()
		return
	}
	p.sentAt, p.answered = append(p.sentAt, now), append(p.answered, false)
	p.open++
	seq := len(p.sentAt)
	wait := p.interval
	if seq == p.count {
		wait = p.timeout
	}
	p.env.arm(&p.timer, now+wait)
	err := p.sock.Send(p.to, uint16(seq), p.payload, tcpstack.SendOptions{
		TTL: uint8(min(p.spec.GetTtl(), math.MaxUint8)), DF: p.spec.GetDontFragment(), Tag: p.index,
	})
	if err == nil {
		return
	}
	p.errors++
	switch {
	case errors.Is(err, tcpstack.ErrMessageTooLong):
		p.printf("ping: local error: message too long")
	case errors.Is(err, tcpstack.ErrNoRoute):
		p.printf("ping: connect: Network is unreachable")
	default:
		p.printf("ping: %s", reason(err))
	}
	p.settled(seq)
}

// event takes a reply or an error. What answers no request of ours is let go.
func (p *ping) event(e tcpstack.EchoEvent) {
	seq := int(e.Seq)
	if p.ended || seq < 1 || seq > len(p.sentAt) {
		return
	}
	if !e.Reply {
		p.errors++
		p.printf("From %s icmp_seq=%d %s", e.ICMPError.From, seq, icmpText(e.ICMPError))
		p.settled(seq)
		return
	}
	rtt := p.env.Loop.Now() - p.sentAt[seq-1]
	mark := ""
	if p.answered[seq-1] {
		p.dups++
		mark = " (DUP!)"
	} else {
		p.account(rtt)
	}
	p.printf("%d bytes from %s: icmp_seq=%d ttl=%d time=%s ms%s", e.Len, e.From, seq, e.TTL, pingTime(rtt), mark)
	p.settled(seq)
}

// settled notes that a request has its answer; when the last one has, nothing is waited for.
func (p *ping) settled(seq int) {
	if !p.answered[seq-1] {
		p.answered[seq-1] = true
		p.open--
	}
	if p.open == 0 && len(p.sentAt) == p.count {
		p.finish()
	}
}

func (p *ping) account(rtt sim.Time) {
	if p.replies == 0 || rtt < p.min {
		p.min = rtt
	}
	p.max = max(p.max, rtt)
	p.replies++
	us := float64(rtt) / 1000
	p.sum += us
	p.sum2 += float64(us * us) // rounded here, so that no machine fuses it with the sum
}

// finish prints the summary.
func (p *ping) finish() {
	sent := len(p.sentAt)
	extra := ""
	if p.dups > 0 {
		extra += fmt.Sprintf(", +%d duplicates", p.dups)
	}
	if p.errors > 0 {
		extra += fmt.Sprintf(", +%d errors", p.errors)
	}
	elapsed := (p.env.Loop.Now() - p.start) / sim.Millisecond
	p.printf("")
	p.printf("--- %s ping statistics ---", p.spec.GetTo())
	p.printf("%d packets transmitted, %d received%s, %s%% packet loss, time %dms",
		sent, p.replies, extra, lossPercent(sent, p.replies), elapsed)
	code := exitNoAnswer
	if p.replies > 0 {
		code = exitOK
		n := float64(p.replies)
		avg := p.sum / n
		variance := p.sum2/n - float64(avg*avg)
		mdev := math.Sqrt(max(0, variance)) // correctly rounded everywhere: IEEE 754
		p.printf("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms", float64(p.min)/1e6, avg/1000, float64(p.max)/1e6, mdev/1000)
	} else {
		p.printf("")
	}
	p.Stop()
	p.env.Report.ExecDone(p.spec.GetId(), code)
}

// pingTime has three significant digits, as iputils prints: 0.045, 1.23, 12.3, 123.
func pingTime(rtt sim.Time) string {
	us := int64((rtt + sim.Microsecond/2) / sim.Microsecond)
	switch {
	case us >= 99950:
		return fmt.Sprintf("%d", (us+500)/1000)
	case us >= 9995:
		return fmt.Sprintf("%d.%d", (us+50)/1000, (us+50)%1000/100)
	case us >= 1000:
		return fmt.Sprintf("%d.%02d", (us+5)/1000, (us+5)%1000/10)
	}
	return fmt.Sprintf("0.%03d", us)
}

func lossPercent(sent, received int) string {
	return fmt.Sprintf("%.6g", 100*float64(sent-received)/float64(max(sent, 1)))
}
