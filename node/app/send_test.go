package app

import (
	"strings"
	"testing"

	"labd.dev/link"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

func packet(words ...string) *labv1.RawPacket {
	p := &labv1.RawPacket{}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		p.Fields = append(p.Fields, &labv1.RawField{Name: name, Value: value})
	}
	return p
}

func sendInput(s *labv1.RawSend) *labv1.Input {
	s.Id = "x"
	return &labv1.Input{Kind: &labv1.Input_Send{Send: s}}
}

// counters of a stack that begin with a prefix and are not zero.
func (h *host) counters(prefix string) map[string]uint64 {
	m := map[string]uint64{}
	for _, c := range h.stack.Counters() {
		if strings.HasPrefix(c.Name, prefix) && c.Value > 0 {
			m[c.Name] = c.Value
		}
	}
	return m
}

// A spoofed SYN: the answer goes to whom the source names, who refuses it.
func TestSendSpoofsItsSource(t *testing.T) {
	l := newLab(t, link.Config{Delay: sim.Millisecond})
	l.server.serve()
	a := l.r1.start(sendInput(&labv1.RawSend{From: "r1", Packets: []*labv1.RawPacket{
		packet("ip.src=client", "ip.dst=server", "tcp.sport=40000", "tcp.dport=5001", "tcp.flags=S", "tcp.seq=1000"),
	}}))
	l.finish(a, sim.Second)
	l.advance(sim.Second)
	l.wantLines("x", 0, "0.000000000s r1:1 10.0.1.1:40000 > 10.0.2.2:5001 [S] seq 1000 win 65535 length 0", "1 packet sent")
	if c := l.client.counters("tcp."); c["tcp.out_rsts"] != 1 {
		t.Errorf("the client, who sent no SYN, resets what answers it: %v", c)
	}
}

// On the way between two hosts a router answers what it forwards, with fields of what it saw.
func TestSendAnswersWhatPasses(t *testing.T) {
	l := newLab(t, link.Config{Delay: sim.Millisecond})
	l.server.serve()
	reset := packet("ip.src=seen.dst", "ip.dst=seen.src", "tcp.sport=seen.dport", "tcp.dport=seen.sport", "tcp.flags=RA", "tcp.seq=0", "tcp.ack=seen.seq + 1")
	a := l.r1.start(sendInput(&labv1.RawSend{From: "r1", On: "tcp and src host client and dst port 5001", Packets: []*labv1.RawPacket{reset}}))
	l.client.start(transferInput(&labv1.Transfer{Id: "t", From: "client", To: "server", Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: 10}}))
	l.finish(a, sim.Second)
	l.advance(sim.Second)
	if s := l.status["t"]; s.GetState() != labv1.TransferState_TRANSFER_STATE_FAILED || !strings.Contains(s.GetError(), "refused") {
		t.Errorf("the SYN was answered with a reset: %v", s)
	}
}

// Packets follow one another in their time; i counts each one's repetitions.
func TestSendKeepsItsTimes(t *testing.T) {
	l := newLab(t, link.Config{})
	first, second := packet("ip.dst=client", "udp.sport=100 + i", "udp.dport=9"), packet("ip.dst=client", "udp.sport=i", "udp.dport=10", "data=xy")
	first.AfterNs, first.Count, first.IntervalNs = 1e6, 3, 2e6
	second.AfterNs, second.Count = 10e6, 2
	l.finish(l.r1.start(sendInput(&labv1.RawSend{From: "r1", Packets: []*labv1.RawPacket{first, second}})), sim.Second)
	l.wantLines("x", 0,
		"0.001000000s r1:1 10.0.1.2:100 > 10.0.1.1:9 UDP length 0", "0.003000000s r1:3 10.0.1.2:101 > 10.0.1.1:9 UDP length 0", // r1:2 is ARP's
		"0.005000000s r1:4 10.0.1.2:102 > 10.0.1.1:9 UDP length 0", "0.015000000s r1:5 10.0.1.2:0 > 10.0.1.1:10 UDP length 2",
		"0.015000000s r1:6 10.0.1.2:1 > 10.0.1.1:10 UDP length 2", "5 packets sent")
}

func TestSendThatWaitsInVain(t *testing.T) {
	l := newLab(t, link.Config{})
	a := l.r1.start(sendInput(&labv1.RawSend{From: "r1", On: "tcp port 9", WaitNs: 3e9, Packets: []*labv1.RawPacket{packet("ip.dst=client", "data=x")}}))
	l.finish(a, 4*sim.Second)
	l.wantLines("x", 2, `send: no packet passed that matches "tcp port 9"`, "0 packets sent")
	l.finish(l.r1.start(sendInput(&labv1.RawSend{From: "r1", Packets: []*labv1.RawPacket{packet("ip.dst=client", "size=1473", "udp.dport=9")}})), 5*sim.Second)
	if lines := l.lines["x"]; !strings.Contains(lines[len(lines)-2], "too long") {
		t.Errorf("longer than the MTU: %q", lines)
	}
}

// A flood is made in pieces, so that the loop's budgets are looked at, and not told of packet by packet. Wrong checksums
// are dropped under their reason.
func TestSendFloods(t *testing.T) {
	l := newLab(t, link.Config{})
	l.client.serve()
	p := packet("ip.src=10.0.1.0/24", "ip.dst=client", "udp.dport=9", "udp.checksum=1")
	p.Count = 25_000
	l.finish(l.r1.start(pingInput(&labv1.Ping{Id: "p", From: "r1", To: "client", Count: 1})), sim.Second) // so that the neighbour is known
	l.finish(l.r1.start(sendInput(&labv1.RawSend{From: "r1", Packets: []*labv1.RawPacket{p}})), sim.Second)
	l.advance(2 * sim.Second)
	if lines := l.lines["x"]; len(lines) != maxSendLines+2 || lines[len(lines)-1] != "25000 packets sent" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	if c := l.client.counters("ip."); c["ip.dropped.transport_checksum"] < 100 {
		t.Errorf("checksums of 1 are wrong: %v", c)
	}
}

// The same dice are cast in every run.
func TestSendIsRepeatable(t *testing.T) {
	var runs [2][]string
	for i := range runs {
		l := newLab(t, link.Config{})
		p := packet("ip.src=198.51.100.0/24", "ip.dst=client", "tcp.sport=rand", "tcp.dport=80", "tcp.seq=rand", "tcp.flags=S")
		p.Count = 20
		l.finish(l.r1.start(sendInput(&labv1.RawSend{From: "r1", Packets: []*labv1.RawPacket{p}})), sim.Second)
		runs[i] = l.lines["x"]
	}
	if strings.Join(runs[0], "\n") != strings.Join(runs[1], "\n") || runs[0][0] == runs[0][1] {
		t.Errorf("%q\n%q", runs[0], runs[1])
	}
}
