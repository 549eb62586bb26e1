package tcpstack

import (
	"reflect"
	"testing"

	"labd.dev/sim"
)

// RFC 9293 3.5, Figure 5: "Basic Three-Way Handshake for Connection Synchronization", from both ends, and the shape of
// the SYN's options.
//
// RFC 9293 MUST-14, MUST-65.
func TestHandshake(t *testing.T) {
	on := true
	t.Run("active", func(t *testing.T) {
		x := newTCPTrace(t, TCPConfig{Timestamps: &on, WindowScaling: &on})
		x.dial()
		syn := x.want("S seq=1000 win=64240") // half of tcp_rmem's 128 KiB, in whole segments
		if o := syn.opt; o.MSS != 1460 || !o.SACKPermitted || !o.HasTimestamps || !o.HasWindowScale || syn.HeaderLen != 40 {
			t.Errorf("options %+v", o)
		}
		x.wantState(StateSynSent)
		x.send("SA seq=100 ack=1001 mss=1460 sackok ws=7 ts=5," + itoa(syn.opt.TSVal))
		x.want("A seq=1001 ack=101")
		x.wantState(StateEstablished)
		x.wantHeard("established")
	})
	t.Run("passive", func(t *testing.T) {
		x := newTCPTrace(t, TCPConfig{})
		x.listen()
		x.send("S seq=100 mss=1460")
		x.want("SA seq=1000 ack=101 mss=1460")
		x.wantHeard()
		x.send("A seq=101 ack=1001")
		x.wantState(StateEstablished)
		x.wantHeard("established")
	})
}

// RFC 9293 3.5, Figure 7: "Simultaneous Connection Synchronization".
func TestSimultaneousOpen(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.dial()
	x.want("S seq=1000")
	x.send("S seq=100 mss=1460")
	x.want("SA seq=1000 ack=101")
	x.wantState(StateSynRcvd)
	x.send("SA seq=100 ack=1001 mss=1460")
	x.wantState(StateEstablished)
	x.wantHeard("established")
}

// RFC 9293 3.10.7.1 and Figure 8 of 3.5: resets for segments that belong to no connection.
func TestResetFromClosed(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	// "If the ACK bit is off, sequence number zero is used, <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>"
	x.send("S seq=100")
	x.want("RA seq=0 ack=101")
	x.send("F seq=100 len=10")
	x.want("RA seq=0 ack=111")
	// "If the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>"
	x.send("PA seq=100 ack=777 len=10")
	x.want("R seq=777")
	// "An incoming segment containing a RST is discarded."
	x.send("R seq=100")
}

// RFC 9293 3.10.7.2, LISTEN STATE.
func TestListenState(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.listen()
	// "An incoming RST should be ignored."
	x.send("R seq=100")
	// "An acceptable reset segment should be formed for any arriving ACK-bearing segment."
	x.send("A seq=100 ack=777")
	x.want("R seq=777")
	x.send("SA seq=100 ack=777")
	x.want("R seq=777")
	// "Drop the segment and return."
	x.send("F seq=100")
}

// RFC 9293 3.10.7.3, SYN-SENT STATE.
func TestSynSentState(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.dial()
	x.want("S seq=1000")
	// "If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset"
	x.send("SA seq=100 ack=1000")
	x.want("R seq=1000")
	x.send("A seq=100 ack=1002")
	x.want("R seq=1002")
	// "(unless the RST bit is set, if so drop the segment and return)"
	x.send("RA seq=100 ack=1000")
	// "Otherwise (no ACK), drop the segment and return."
	x.send("R seq=100")
	// "if neither of the SYN or RST bits is set, then drop the segment and return."
	x.send("A seq=100 ack=1001")
	x.wantState(StateSynSent)
	// "If the ACK was acceptable, then signal to the user 'error: connection reset'": refused, as applications know it.
	x.send("RA seq=0 ack=1001")
	x.wantState(StateClosed)
	x.wantHeard("closed tcp: connection refused")
}

// RFC 9293 3.10.7.4, SYN-RECEIVED: a reset returns a passive open to LISTEN, "The user need not be informed."
//
// RFC 9293 MUST-11.
func TestResetInSynReceived(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	l := x.listen()
	x.send("S seq=100")
	x.want("SA seq=1000 ack=101")
	x.send("R seq=101")
	if l.half != 0 || len(x.s.Conns()) != 0 {
		t.Errorf("%d half open, %d connections", l.half, len(x.s.Conns()))
	}
	x.wantHeard()
	// "If the segment acknowledgment is not acceptable, form a reset segment <SEQ=SEG.ACK><CTL=RST> and send it."
	x.send("S seq=200")
	x.want("SA seq=1000 ack=201")
	x.send("A seq=201 ack=1002")
	x.want("R seq=1002")
}

// RFC 9293 3.6, Figure 12: "Normal Close Sequence", the side that closes first.
//
// RFC 9293 MUST-13.
func TestActiveClose(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1460")
	x.c.CloseWrite()
	x.want("FA seq=1001 ack=101")
	x.wantState(StateFinWait1)
	x.send("A seq=101 ack=1002")
	x.wantState(StateFinWait2)
	x.send("PA seq=101 ack=1002 len=10") // the other direction is still open
	x.advance(40*sim.Millisecond + 1)
	x.want("A seq=1002 ack=111")
	x.send("FA seq=111 ack=1002")
	x.want("A seq=1002 ack=112")
	x.wantHeard("established", "drained", "eof", "closed <nil>")
	if x.app.in.Len() != 10 || len(x.s.TimeWaits()) != 1 {
		t.Errorf("read %d, TIME-WAIT %v", x.app.in.Len(), x.s.TimeWaits())
	}
	// "The only thing that can arrive in this state is a retransmission of the remote FIN. Acknowledge it, and restart the
	// 2 MSL timeout."
	x.advance(50 * sim.Second)
	x.send("FA seq=111 ack=1002")
	x.want("A seq=1002 ack=112")
	x.advance(59 * sim.Second)
	if len(x.s.TimeWaits()) != 1 {
		t.Error("TIME-WAIT was not restarted")
	}
	x.advance(2 * sim.Second)
	if len(x.s.TimeWaits()) != 0 {
		t.Error("TIME-WAIT does not end")
	}
}

// RFC 9293 3.6, Figure 12, the other side.
func TestPassiveClose(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1460")
	x.send("FA seq=101 ack=1001")
	x.wantIdle() // the application may answer at once
	x.advance(1)
	x.want("A seq=1001 ack=102")
	x.wantState(StateCloseWait)
	x.wantHeard("established", "eof")
	x.write(10)
	x.want("PA seq=1001 ack=102 len=10")
	x.send("A seq=102 ack=1011")
	x.c.Close()
	x.want("FA seq=1011 ack=102")
	x.wantState(StateLastAck)
	x.send("A seq=102 ack=1012")
	x.wantState(StateClosed)
	x.wantHeard("drained", "closed <nil>")
}

// RFC 9293 3.6, Figure 13: "Simultaneous Close Sequence".
func TestSimultaneousClose(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1460")
	x.c.CloseWrite()
	x.want("FA seq=1001 ack=101")
	x.send("FA seq=101 ack=1001")
	x.want("A seq=1002 ack=102")
	x.wantState(StateClosing)
	x.send("A seq=102 ack=1002")
	x.wantState(StateTimeWait)
	x.wantHeard("established", "eof", "drained", "closed <nil>")
}

// RFC 9293 3.10.7.4: "If our FIN has been ACKed (perhaps in this segment), then enter TIME-WAIT".
func TestFinWithAckOfFin(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1460")
	x.c.CloseWrite()
	x.want("FA seq=1001 ack=101")
	x.send("FA seq=101 ack=1002")
	x.want("A seq=1002 ack=102")
	x.wantState(StateTimeWait)
}

// A FIN goes with the last data; a FIN beyond a gap waits for the gap to close.
func TestFinWithData(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1460")
	x.send("FA seq=111 ack=1001 len=5")
	x.want("A seq=1001 ack=101")
	x.wantHeard("established")
	x.send("A seq=101 ack=1001 len=10")
	x.want("A seq=1001 ack=117")
	x.wantState(StateCloseWait)
	x.wantHeard("eof")
	for i, b := range x.app.in.Bytes() {
		if b != byte(101+i) {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
}

// RFC 9293 3.10.7.4 with RFC 5961 3.2: only a RST at RCV.NXT resets; within the window it is challenged; beyond it is
// dropped.
//
// RFC 9293 MUST-12.
func TestReset(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1460")
	x.send("R seq=100")
	x.send("R seq=200000")
	x.send("R seq=102")
	x.want("A seq=1001 ack=101")
	x.wantState(StateEstablished)
	x.send("R seq=101")
	x.wantState(StateClosed)
	x.wantHeard("established", "closed tcp: connection reset by peer")
}

// RFC 5961 4.2: a SYN in a synchronized state gets a challenge ACK.
func TestSynInEstablished(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1460")
	x.send("S seq=150")
	x.want("A seq=1001 ack=101")
	// RFC 5961 7: such answers are throttled.
	x.send("S seq=100")
	x.wantIdle()
	x.advance(500*sim.Millisecond + 1)
	x.send("S seq=100")
	x.want("A seq=1001 ack=101")
	x.wantState(StateEstablished)
}

// RFC 9293 3.10.7.4: "If an incoming segment is not acceptable, an acknowledgment should be sent in reply".
func TestUnacceptable(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1460")
	x.send("PA seq=91 ack=1001 len=10") // old
	x.want("A seq=1001 ack=101")
	x.send("PA seq=500000 ack=1001 len=10") // beyond the window
	x.want("A seq=1001 ack=101")
	// RFC 5961 5.2 and RFC 9293 3.10.7.4: "If the ACK acks something not yet sent (SEG.ACK > SND.NXT), then send an
	// ACK, drop the segment".
	x.send("PA seq=101 ack=1002 len=10")
	x.want("A seq=1001 ack=101")
	if x.c.Buffered() != 0 || x.app.in.Len() != 0 {
		t.Error("data of an unacceptable segment was kept")
	}
}

// RFC 9293 3.10.5, ABORT: "Send a reset segment: <SEQ=SND.NXT><CTL=RST>".
func TestAbort(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1460")
	x.c.Abort()
	x.want("RA seq=1001 ack=101")
	x.wantState(StateClosed)
	x.wantHeard("established", "closed tcp: connection aborted")
}

// RFC 9293 3.6.1: "if new data is received after CLOSE is called, its TCP implementation SHOULD send a RST to show that
// data was lost", and the same with data pending.
//
// RFC 9293 MAY-1, SHLD-3.
func TestCloseLosesData(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1460")
	x.c.Close()
	x.want("FA seq=1001 ack=101")
	x.send("PA seq=101 ack=1002 len=10")
	x.want("R seq=1002")
	x.wantHeard("established", "closed tcp: connection reset by peer")

	y := newTCPTrace(t, TCPConfig{})
	y.accept("mss=1460")
	y.app.paused = true
	y.send("PA seq=101 ack=1001 len=10")
	y.c.Close()
	y.want("RA seq=1001 ack=111")
	y.wantHeard("established", "closed tcp: connection aborted")
}

// RFC 9293 3.6.1 and RFC 6191: a SYN beyond the old sequence space reopens a connection from TIME-WAIT; one that could be
// old does not.
//
// RFC 9293 MAY-2, SHLD-4.
func TestTimeWaitReopen(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1460")
	x.c.Close()
	x.want("FA seq=1001 ack=101")
	x.send("FA seq=101 ack=1002")
	x.want("A seq=1002 ack=102")
	x.send("S seq=50")
	x.want("A seq=1002 ack=102")
	x.send("S seq=103")
	x.want("SA seq=1000 ack=104")
	if len(x.s.TimeWaits()) != 0 {
		t.Error("the old connection is still in TIME-WAIT")
	}
}

// RFC 9293 3.6.1 (MAY-2), (1): the reopened connection's initial sequence number is "larger than the largest sequence
// number it used on the previous connection incarnation", however fast that one was. Nobody listening, the old connection
// stays in TIME-WAIT.
func TestTimeWaitReopenISN(t *testing.T) {
	for _, listening := range []bool{true, false} {
		x := newTCPTrace(t, TCPConfig{})
		x.s.cfg.TCP.ISN = nil
		l := x.listen()
		x.send("S seq=100 mss=1460 win=65535")
		iss := x.out[0].Seq
		x.out = nil
		x.send("A seq=101 ack=" + itoa(iss+1))
		x.write(10_000) // in no time: the clock of RFC 6528 stands still
		x.c.CloseWrite()
		x.out = nil
		x.send("A seq=101 ack=" + itoa(iss+10_002))
		x.send("FA seq=101 ack=" + itoa(iss+10_002))
		x.out = nil
		if !listening {
			l.Close()
		}
		x.send("S seq=103")
		switch {
		case listening && (len(x.out) != 1 || seqNum(x.out[0].Seq).lessEq(seqNum(iss+10_002)) || x.out[0].Ack != 104):
			t.Errorf("answered with %v after sequence numbers up to %d", x.out, iss+10_002)
		case !listening:
			x.want("A ack=102 seq=" + itoa(iss+10_002))
			if len(x.s.TimeWaits()) != 1 {
				t.Error("TIME-WAIT was left for nobody")
			}
		}
		x.out = nil
	}
}

// RFC 9293 3.10.7.3: "If there are other controls or text in the segment, then continue processing at the sixth step". Linux
// takes them only where Fast Open was asked for; else the peer sends them again.
func TestTextAndFinOnSynAck(t *testing.T) {
	linux := newTCPTrace(t, TCPConfig{})
	linux.dial()
	linux.want("S seq=1000")
	linux.send("SFA seq=100 ack=1001 len=10")
	linux.want("A seq=1001 ack=101")
	linux.wantState(StateEstablished)

	x := newTCPTrace(t, TCPConfig{Personality: "freebsd"})
	x.dial()
	x.want("S seq=1000")
	x.send("SFA seq=100 ack=1001 len=10")
	x.want("A seq=1001 ack=112")
	x.wantState(StateCloseWait)
	if got := x.app.in.Bytes(); len(got) != 10 || got[0] != 101 {
		t.Errorf("read %v", got)
	}
}

// A connection that is closed while it is opened: RFC 9293 3.10.4.
func TestCloseWhileOpening(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.dial()
	x.want("S seq=1000")
	x.c.Close()
	x.wantState(StateClosed)
	x.wantHeard("closed <nil>")
}

// RFC 9293 3.8.3 and Linux's tcp_syn_retries and tcp_syn_linear_timeouts: a SYN is tried eleven times in all; its timeout is
// a second four times over, and doubles from then on. Without linear timeouts it is seven times, each twice as long after.
//
// RFC 9293 MUST-22.
func TestSynTimeout(t *testing.T) {
	none := uint32(0)
	for _, linear := range []*uint32{nil, &none} {
		x := newTCPTrace(t, TCPConfig{SYNLinearTimeouts: linear})
		x.dial()
		x.want("S seq=1000")
		x.advance(1)
		waits := []sim.Time{1, 1, 1, 1, 1, 2, 4, 8, 16, 32}
		if linear != nil {
			waits = []sim.Time{1, 2, 4, 8, 16, 32}
		}
		for _, wait := range waits {
			x.advance(wait*sim.Second - 2)
			x.wantIdle()
			x.advance(2)
			x.want("S seq=1000")
		}
		x.advance(63 * sim.Second)
		x.wantHeard()
		x.advance(2 * sim.Second)
		x.wantHeard("closed tcp: connection timed out")
	}
}

// Linux drops a SYN that finds more half open than the backlog (inet_csk_reqsk_queue_is_full).
func TestBacklog(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{Backlog: 1, SYNCookies: "off"})
	l := x.listen()
	for i := range 5 {
		x.them = netipPort(x.them, uint16(6000+i))
		x.send("S seq=100")
		if i < 2 {
			x.want("SA seq=1000 ack=101")
		}
	}
	if l.half != 2 {
		t.Errorf("%d half open", l.half)
	}
	l.Close()
	x.wantIdle()
	x.send("A seq=101 ack=1001")
	x.want("R seq=1001")
}

// What a configuration leaves out is the outer one's, field by field.
func TestMergeTakesEveryField(t *testing.T) {
	var outer TCPConfig
	v := reflect.ValueOf(&outer).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		case reflect.String:
			f.SetString("word")
		default:
			f.Set(reflect.ValueOf(7).Convert(f.Type()))
		}
	}
	outer.Tag = 0
	if got := (TCPConfig{}).Merge(outer); got != outer {
		t.Errorf("Merge left out a field:\n%+v\nof\n%+v", got, outer)
	}
}
