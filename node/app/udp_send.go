package app

import (
	"errors"
	"net/netip"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

const (
	defaultDatagram = 1400
	// udpBurst is how many datagrams one event sends at most; without a rate the next event follows at the same instant.
	udpBurst = 256
	// udpGrace is how long after the last datagram a sender, and after the last arrival a receiver, waits for what is still
	// on the way: longer than any sensible path.
	udpGrace = sim.Second
)

// udpSender sends numbered datagrams at a rate: a blast, or a transfer over UDP, whose datagrams carry content.
type udpSender struct {
	env    Env
	id     string
	name   string
	index  uint32
	sock   *tcpstack.UDPSocket
	to     netip.AddrPort
	count  uint64 // datagrams to send
	rate   uint64
	what   *content // nil: a blast
	buf    []byte
	giveUp bool // an ICMP error ends it

	timer  sim.Timer
	next   sim.Time
	sent   uint64
	failed bool
	over   bool // all sent: waiting for the grace period
	ended  bool
}

// StartUDPBlast sends datagrams to a UDP sink from this node.
func StartUDPBlast(env Env, index uint32, b *labv1.UdpBlast) App {
	size := datagramSize(b.GetSizeBytes())
	started(env, b.GetId(), b.GetFrom(), b.GetTo(), "udp", 0)
	addr, err := env.resolve(b.GetTo(), b.GetFamily())
	if err != nil {
		return failedTransfer(env, b.GetId(), err)
	}
	return startUDPSender(&udpSender{
		env: env, id: b.GetId(), name: "udp " + b.GetId(), index: index, count: b.GetCount(), rate: b.GetRateBps(),
		to: netip.AddrPortFrom(addr, portOr(b.GetPort(), DiscardPort)), buf: make([]byte, size),
	}, 0)
}

func startUDPTransfer(env Env, index uint32, t *labv1.Transfer, what content, to netip.AddrPort) App {
	size := datagramSize(t.GetWriteSizeBytes())
	return startUDPSender(&udpSender{
		env: env, id: t.GetId(), name: "transfer " + t.GetId(), index: index, count: datagrams(what.size, size),
		rate: t.GetRateBps(), to: to, what: &what, buf: make([]byte, size), giveUp: true,
	}, uint16(t.GetLocalPort()))
}

// datagramSize is the UDP payload of a full datagram, header included.
func datagramSize(n uint32) int {
	if n == 0 {
		n = defaultDatagram
	}
	return min(max(int(n), udpHeader+1), tcpstack.MaxUDPPayload)
}

// datagrams is how many carry size bytes of content.
func datagrams(size uint64, datagram int) uint64 {
	each := uint64(datagram - udpHeader)
	return (size + each - 1) / each
}

func started(env Env, id, from, to, what string, expected uint64) {
	env.Report.Transfer(id, func(s *labv1.TransferStatus) {
		s.Id, s.From, s.To, s.What, s.BytesExpected = id, from, to, what, expected
		s.StartNs = int64(env.Loop.Now())
		settle(s, labv1.TransferState_TRANSFER_STATE_RUNNING)
	})
}

func startUDPSender(a *udpSender, localPort uint16) App {
	var err error
	if a.sock, err = a.env.Stack.OpenUDP(any4(localPort), func(tcpstack.Datagram) {}); err != nil {
		return failedTransfer(a.env, a.id, err)
	}
	a.sock.OnError(a.icmpError)
	a.timer.H = a
	a.Fire(a.env.Loop.Now())
	return a
}

func (a *udpSender) Name() string { return a.name }
func (a *udpSender) Done() bool   { return a.ended }

func (a *udpSender) Stop() {
	a.ended = true
	a.env.Loop.Stop(&a.timer)
	a.sock.Close()
}

// Fire sends what is due; at the end it waits for what is on the way.
func (a *udpSender) Fire(now sim.Time) {
	if a.over {
		a.settle()
		return
	}
	for range udpBurst {
		if a.sent == a.count || a.failed && a.giveUp {
			a.over = true
			a.report()
			a.env.arm(&a.timer, now+udpGrace)
			return
		}
		if a.rate > 0 && now < a.next {
			break
		}
		a.send(now)
	}
	a.env.arm(&a.timer, max(now, a.next))
}

func (a *udpSender) send(now sim.Time) {
	b := a.buf
	if a.what != nil {
		off := a.sent * uint64(len(b)-udpHeader)
		b = b[:udpHeader+int(min(uint64(len(b)-udpHeader), a.what.size-off))]
		a.what.copyTo(b[udpHeader:], off)
	}
	putUDPHeader(b, a.sent, int64(now))
	a.sent++
	a.next = max(now, a.next) + sendTime(len(b), a.rate)
	if err := a.sock.SendTo(b, a.to, tcpstack.SendOptions{Tag: a.index}); err != nil {
		a.fail(err)
	}
}

func (a *udpSender) icmpError(e tcpstack.ICMPError) { a.fail(errors.New(icmpText(e))) }

// fail reports the first error.
func (a *udpSender) fail(err error) {
	if a.failed {
		return
	}
	a.failed = true
	a.env.Report.Transfer(a.id, func(s *labv1.TransferStatus) { fail(s, reason(err)) })
}

func (a *udpSender) report() {
	n := a.sent
	a.env.Report.Transfer(a.id, func(s *labv1.TransferStatus) {
		s.DatagramsSent = n
		countLost(s)
	})
}

func (a *udpSender) settle() {
	empty := a.what != nil && a.what.size == 0 // no datagram tells the receiver of it, and nothing is missing
	a.env.Report.Transfer(a.id, func(s *labv1.TransferStatus) {
		if empty {
			s.Sha256, s.Match = newChecker(*a.what).sum(), true
		}
		settle(s, labv1.TransferState_TRANSFER_STATE_DONE)
	})
	a.Stop()
}

// countLost joins what both ends know, whichever reports last.
func countLost(s *labv1.TransferStatus) {
	if s.DatagramsSent >= s.DatagramsReceived {
		s.DatagramsLost = s.DatagramsSent - s.DatagramsReceived
	}
}
