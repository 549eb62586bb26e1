package trace

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"labd.dev/link"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

var update = flag.Bool("update", false, "rewrite the golden files under testdata")

// golden compares got with a file under testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", name, got, want)
	}
}

// sixSegments is the handshake example: 100 bytes there, 500 back.
func sixSegments() *script {
	s := newScript(100, 2000)
	s.handshake(10 * ms)
	g := s.send(20*ms, client, tcpstack.SendData, psh|ack, 1, 1, 100, 64256)
	s.arrive(30*ms, g, tcpstack.InOrder)
	g = s.send(30*ms, server, tcpstack.SendData, psh|ack, 1, 101, 500, 65160)
	s.arrive(40*ms, g, tcpstack.InOrder)
	g = s.send(45*ms, client, tcpstack.SendDelACK, ack, 101, 501, 0, 64256)
	s.arrive(55*ms, g, tcpstack.InOrder)
	return s
}

func TestLadderOfHandshake(t *testing.T) {
	golden(t, "handshake.ladder", Ladder(sixSegments().events(), LadderOptions{}))
	golden(t, "handshake-absolute.ladder", Ladder(sixSegments().events(), LadderOptions{Absolute: true, ASCII: true}))
}

// lossyTransfer sends n segments with losses, fast and RTO retransmissions, and closes.
func lossyTransfer(n int) *script {
	s := newScript(0xfffffff0, 77)
	t := s.handshake(10*ms) - 10*ms
	seq := uint32(1)
	for i := range n {
		at := t + sim.Time(i)*ms
		g := s.send(at, client, tcpstack.SendData, ack, seq, 1, 1448, 64256)
		switch {
		case i == 2:
			s.lose(at+ms/2, client, toServer, g, link.DropLoss)
		case i == 9:
			s.lose(at+ms/2, router, onServer, g, link.DropQueueFull)
		default:
			v := tcpstack.InOrder
			if i > 2 {
				v = tcpstack.OutOfOrder
			}
			s.arrive(at+10*ms, g, v)
			why := tcpstack.SendACK
			ackTo := seq + 1448
			if i > 2 {
				why, ackTo = tcpstack.SendDupACK, 1+2*1448
			}
			a := s.send(at+10*ms, server, why, ack, 1, ackTo, 0, 65160)
			if i == 5 {
				s.lose(at+11*ms, server, toClient, a, link.DropFault)
			} else {
				s.arrive(at+20*ms, a, tcpstack.InOrder)
			}
		}
		seq += 1448
	}
	t += sim.Time(n)*ms + 20*ms
	r := s.add(t, client, tcpstack.KindTCPRecoveryEntered)
	r.W = [6]uint32{20, 10, 10}
	g := s.send(t, client, tcpstack.SendFastRtx, ack, 1+2*1448, 1, 1448, 64256)
	s.arrive(t+10*ms, g, tcpstack.InOrder)
	a := s.send(t+10*ms, server, tcpstack.SendACK, ack, 1, 1+9*1448, 0, 65160)
	s.arrive(t+20*ms, a, tcpstack.InOrder)
	r = s.add(t+20*ms, client, tcpstack.KindTCPTimerSet)
	r.Reason, r.W = uint8(tcpstack.TimerRTO), [6]uint32{200000}
	r = s.add(t+200*ms, client, tcpstack.KindTCPTimerFired)
	r.Reason = uint8(tcpstack.TimerRTO)
	g = s.send(t+200*ms, client, tcpstack.SendRTORtx, psh|ack, 1+9*1448, 1, 1448, 64256)
	s.arrive(t+210*ms, g, tcpstack.InOrder)
	a = s.send(t+210*ms, server, tcpstack.SendACK, ack, 1, seq, 0, 65160)
	s.arrive(t+220*ms, a, tcpstack.InOrder)
	s.close(t+230*ms, seq, 1)
	return s
}

// close closes the connection from the client's end, 10 ms one way.
func (s *script) close(t sim.Time, seq, ackn uint32) {
	s.state(t, client, tcpstack.StateEstablished, tcpstack.StateFinWait1, tcpstack.AppClose, 0)
	g := s.send(t, client, tcpstack.SendFIN, fin|ack, seq, ackn, 0, 64256)
	c := s.arrive(t+10*ms, g, tcpstack.InOrder)
	s.state(t+10*ms, server, tcpstack.StateEstablished, tcpstack.StateCloseWait, tcpstack.RxFIN, c)
	s.state(t+10*ms, server, tcpstack.StateCloseWait, tcpstack.StateLastAck, tcpstack.AppClose, 0)
	g = s.send(t+10*ms, server, tcpstack.SendFIN, fin|ack, ackn, seq+1, 0, 65160)
	c = s.arrive(t+20*ms, g, tcpstack.InOrder)
	s.state(t+20*ms, client, tcpstack.StateFinWait1, tcpstack.StateTimeWait, tcpstack.RxFIN, c)
	g = s.send(t+20*ms, client, tcpstack.SendACK, ack, seq+1, ackn+1, 0, 64256)
	c = s.arrive(t+30*ms, g, tcpstack.InOrder)
	s.state(t+30*ms, server, tcpstack.StateLastAck, tcpstack.StateClosed, tcpstack.RxACK, c)
	s.state(t+60020*ms, client, tcpstack.StateTimeWait, tcpstack.StateClosed, tcpstack.TriggerTimer, 0)
}

func TestLadderOfLosses(t *testing.T) {
	events := lossyTransfer(10).events()
	golden(t, "losses.ladder", Ladder(events, LadderOptions{}))
	golden(t, "losses-condensed.ladder", Ladder(events, LadderOptions{Condensed: true}))
	golden(t, "losses-wide.ladder", Ladder(events, LadderOptions{Width: 120, Color: true}))
}

// RFC 9293 3.5, figure 7: both ends send SYN at once, and the SYNs cross.
func TestLadderOfSimultaneousOpen(t *testing.T) {
	s := newScript(100, 300)
	s.state(0, client, tcpstack.StateClosed, tcpstack.StateSynSent, tcpstack.AppOpen, 0)
	a := s.send(0, client, tcpstack.SendSYN, syn, 0, 0, 0, 64240)
	s.state(2*ms, server, tcpstack.StateClosed, tcpstack.StateSynSent, tcpstack.AppOpen, 0)
	b := s.send(2*ms, server, tcpstack.SendSYN, syn, 0, 0, 0, 64240)
	c := s.arrive(10*ms, a, tcpstack.InOrder)
	s.state(10*ms, server, tcpstack.StateSynSent, tcpstack.StateSynRcvd, tcpstack.RxSYN, c)
	y := s.send(10*ms, server, tcpstack.SendSYN, syn|ack, 0, 1, 0, 65160)
	c = s.arrive(12*ms, b, tcpstack.InOrder)
	s.state(12*ms, client, tcpstack.StateSynSent, tcpstack.StateSynRcvd, tcpstack.RxSYN, c)
	x := s.send(12*ms, client, tcpstack.SendSYN, syn|ack, 0, 1, 0, 65160)
	c = s.arrive(20*ms, y, tcpstack.InOrder)
	s.state(20*ms, client, tcpstack.StateSynRcvd, tcpstack.StateEstablished, tcpstack.RxSYNACK, c)
	c = s.arrive(22*ms, x, tcpstack.InOrder)
	s.state(22*ms, server, tcpstack.StateSynRcvd, tcpstack.StateEstablished, tcpstack.RxSYNACK, c)
	golden(t, "simultaneous-open.ladder", Ladder(s.events(), LadderOptions{}))
}

func TestLadderKeepsItsWidth(t *testing.T) {
	events := lossyTransfer(300).events()
	for _, width := range []int{0, minLadderWidth, 72, 100, 132} {
		for _, opts := range []LadderOptions{{}, {Condensed: true}, {Absolute: true, ASCII: true}} {
			opts.Width = width
			limit := max(width, minLadderWidth)
			if width == 0 {
				limit = defaultLadderWidth
			}
			for _, line := range strings.Split(Ladder(events, opts), "\n") {
				if n := utf8.RuneCountInString(line); n > limit {
					t.Errorf("%+v: %d columns: %s", opts, n, line)
				}
				if line != strings.TrimRight(line, " ") {
					t.Errorf("%+v: trailing space: %q", opts, line)
				}
			}
		}
	}
}
