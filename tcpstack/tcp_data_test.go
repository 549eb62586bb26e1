package tcpstack

import (
	"testing"

	"labd.dev/sim"
)

// later lets time pass before a segment arrives.
func (x *tcpTrace) later(d sim.Time, text string) {
	x.t.Helper()
	x.advance(d)
	x.send(text)
}

// RFC 9293 3.7.1 (MUST-15): without an MSS option the send MSS is 536. (MUST-14/16): else the least of both, less options.
//
// RFC 9293 MUST-16.
func TestSegmentSize(t *testing.T) {
	for _, c := range []struct {
		syn  string
		want string
	}{{"", "A seq=1001 ack=101 len=536"}, {"mss=1000", "A seq=1001 ack=101 len=1000"}, {"mss=9000", "A seq=1001 ack=101 len=1460"}} {
		x := newTCPTrace(t, TCPConfig{})
		x.accept(c.syn)
		x.write(5000)
		x.want(c.want)
		x.out = nil
	}
}

// RFC 9293 3.9.1.2 (MUST-61): PSH is set in the last segment of what is buffered.
func TestPush(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000")
	x.write(2500)
	x.want("A seq=1001 ack=101 len=1000")
	x.want("A seq=2001 ack=101 len=1000")
	x.want("PA seq=3001 ack=101 len=500")
}

// RFC 9293 3.7.4: "If there is unacknowledged data (i.e., SND.NXT > SND.UNA), then the sending TCP endpoint buffers all
// user data (regardless of the PSH bit) until the outstanding data has been acknowledged or until the TCP endpoint can
// send a full-sized segment". (MUST-17): it can be switched off.
//
// RFC 9293 SHLD-7.
func TestNagle(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000")
	x.write(10)
	x.want("PA seq=1001 ack=101 len=10")
	x.write(10)
	x.write(20)
	x.wantIdle()
	x.send("A seq=101 ack=1011")
	x.want("PA seq=1011 ack=101 len=30")
	x.write(999)
	x.write(2)
	x.want("A seq=1041 ack=101 len=1000")

	off := false
	y := newTCPTrace(t, TCPConfig{Nagle: &off})
	y.accept("mss=1000")
	y.write(10)
	y.want("PA seq=1001 ack=101 len=10")
	y.write(10)
	y.want("PA seq=1011 ack=101 len=10")
}

// RFC 9293 3.8.6.3 (MUST-40, SHLD-19): an ACK waits at most 40 ms (Linux) and goes out for every second full segment.
//
// RFC 9293 SHLD-18.
func TestDelayedACK(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000")
	x.send("A seq=101 ack=1001 len=1000")
	x.wantIdle()
	x.advance(40 * sim.Millisecond)
	x.wantIdle()
	x.advance(1)
	x.want("A seq=1001 ack=1101")
	x.send("A seq=1101 ack=1001 len=1000")
	x.wantIdle()
	x.send("A seq=2101 ack=1001 len=1000")
	x.want("A seq=1001 ack=3101")
	x.advance(sim.Second)
	// An answer carries the ACK, if the application answers as it reads.
	x.app.paused = true
	x.send("PA seq=3101 ack=1001 len=10")
	x.write(5)
	x.want("PA seq=1001 ack=3111 len=5")
	x.send("A seq=3111 ack=1006")
	x.advance(sim.Second)
}

// The switch delayedAck: 0s acknowledges each segment; quickAck does so at the start, as Linux does.
func TestQuickACK(t *testing.T) {
	zero, on := sim.Time(0), true
	x := newTCPTrace(t, TCPConfig{DelayedACK: &zero})
	x.accept("mss=1000")
	x.send("PA seq=101 ack=1001 len=10")
	x.want("A seq=1001 ack=111")

	y := newTCPTrace(t, TCPConfig{QuickACK: &on})
	y.accept("mss=1000")
	y.app.paused = true
	for i := range uint32(20) {
		y.send("PA ack=1001 len=10 seq=" + itoa(101+10*i))
		if i < maxQuickACKs {
			y.want("A seq=1001 ack=" + itoa(111+10*i))
		}
	}
	y.wantIdle()
	y.advance(50 * sim.Millisecond)
	y.want("A seq=1001 ack=301")
}

// RFC 5681 4.2: an immediate duplicate ACK for a segment out of order, an immediate ACK when the gap is filled. RFC 2018 4:
// the first block holds the segment that triggered the ACK.
//
// RFC 9293 SHLD-31, MAY-13.
func TestTCPReassembly(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000 sackok")
	x.send("A seq=201 ack=1001 len=100")
	x.want("A seq=1001 ack=101 sack=201-301")
	x.send("A seq=401 ack=1001 len=100")
	x.want("A seq=1001 ack=101 sack=401-501,201-301")
	x.send("A seq=601 ack=1001 len=100")
	x.want("A seq=1001 ack=101 sack=601-701,401-501,201-301")
	x.send("A seq=301 ack=1001 len=100")
	x.wantIdle() // three duplicates are enough: this one may be joined with more
	x.advance(1)
	x.want("A seq=1001 ack=101 sack=201-501,601-701")
	x.send("A seq=101 ack=1001 len=150")              // overlaps
	x.want("A seq=1001 ack=501 sack=201-251,601-701") // RFC 2883: 201 to 250 came twice
	x.send("A seq=401 ack=1001 len=300")              // what is new of it closes the last gap
	x.want("A seq=1001 ack=701 sack=401-501")
	if x.app.in.Len() != 600 {
		t.Errorf("read %d", x.app.in.Len())
	}
	for i, b := range x.app.in.Bytes() {
		if b != byte(101+i) {
			t.Fatalf("byte %d is %d", i, b)
		}
	}
}

// Pieces beyond gaps take no more memory than the receive buffer has, each with its descriptor (Linux: truesize, sk_rcvbuf),
// whatever the window allows.
func TestTCPReassemblyBounded(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000 sackok")
	for i := range uint32(2000) {
		x.send("A ack=1001 len=1 seq=" + itoa(103+2*i))
	}
	x.out = nil
	if n := len(x.c.rcv.ooo); n != recvBufDefault/(1+skbOverhead)+1 {
		t.Errorf("%d pieces kept", n)
	}
	if n := x.loop.LiveChunks(); n > recvBufDefault/skbOverhead+10 {
		t.Errorf("%d chunks", n)
	}
}

// A window of megabytes with every second segment lost is kept whole.
func TestTCPReassemblyOfLargeWindow(t *testing.T) {
	const segs = 3000
	start := uint64(6 << 20)
	x := newTCPTrace(t, TCPConfig{StartRecvBuffer: &start})
	x.accept("mss=1000 sackok")
	x.c.flow().ssthresh = 3 << 20 // as autotuning would have it
	x.c.rcvAdv = x.c.rcvNxt + 3<<20
	for i := range uint32(segs / 2) {
		x.send("A ack=1001 len=1000 seq=" + itoa(1101+2000*i))
		x.out = nil
	}
	if n, dropped := x.c.rcv.oooLen, x.s.tcp.count.ofoPruned+x.s.tcp.count.memoryDrops; n != segs/2*1000 || dropped != 0 {
		t.Errorf("%d bytes kept, %d dropped", n, dropped)
	}
	for i := range uint32(segs / 2) {
		x.send("A ack=1001 len=1000 seq=" + itoa(101+2000*i))
		x.out = nil
	}
	if x.c.rcvNxt != 101+segs*1000 || x.c.rcv != nil && len(x.c.rcv.ooo) != 0 {
		t.Errorf("RCV.NXT %d", x.c.rcvNxt)
	}
}

// RFC 6298 5.4 to 5.6 and 2.2: the timer doubles with each retransmission; RFC 5681 3.1: one segment after a timeout, then
// slow start.
//
// RFC 9293 MUST-18, MUST-19.
func TestRetransmissionTimeout(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.listen()
	x.send("S seq=100 mss=1000")
	x.want("SA seq=1000 ack=101")
	x.later(20*sim.Millisecond, "A seq=101 ack=1001") // RTT 20 ms: RTO = 20 + max(200, 4*10)
	x.write(3000)
	x.want("A seq=1001 ack=101 len=1000")
	x.want("A seq=2001 ack=101 len=1000")
	x.want("PA seq=3001 ack=101 len=1000")
	wait := 220 * sim.Millisecond
	x.advance(1)
	for range 4 {
		x.advance(wait - 2)
		x.wantIdle()
		x.advance(2)
		x.want("A seq=1001 ack=101 len=1000")
		wait *= 2
	}
	if x.c.win.Cwnd != 1 || x.c.Info().CAState != "loss" {
		t.Errorf("%+v", x.c.Info())
	}
	x.send("A seq=101 ack=2001")
	x.want("A seq=2001 ack=101 len=1000")
	x.want("PA seq=3001 ack=101 len=1000")
	x.send("A seq=101 ack=4001")
	// RFC 6298 3, Karn's algorithm: all was retransmitted, so nothing was timed, and the backoff stays. Without
	// SACK the state does until something above recover is acknowledged.
	if i := x.c.Info(); i.CAState != "loss" || i.Backoff != 4 || i.RTTUs != 20000 {
		t.Errorf("%+v", i)
	}
	x.advance(10 * sim.Second)
}

// RFC 5681 3.2: "The fast retransmit algorithm uses the arrival of 3 duplicate ACKs ... as an indication that a segment
// has been lost". RFC 6582: a partial acknowledgment retransmits the next hole.
func TestNewReno(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{Congestion: "reno"})
	x.listen()
	x.send("S seq=100 mss=1000")
	x.want("SA seq=1000 ack=101")
	x.later(20*sim.Millisecond, "A seq=101 ack=1001")
	x.write(20000)
	for i := range uint32(10) {
		x.want("A ack=101 len=1000 seq=" + itoa(1001+1000*i))
	}
	// RFC 3042, limited transmit: "sending a new data segment in response to each of the first two duplicate
	// acknowledgments that arrive at the sender".
	x.send("A seq=101 ack=1001")
	x.want("A seq=11001 ack=101 len=1000")
	x.send("A seq=101 ack=1001")
	x.want("A seq=12001 ack=101 len=1000")
	x.send("A seq=101 ack=1001")
	x.want("A seq=1001 ack=101 len=1000")
	// RFC 9937: of 12 out 3 have made duplicate ACKs and one is lost; the fast retransmit goes on top of the 8 that are left.
	if x.c.win.SSThresh != 5 || x.c.win.Cwnd != 9 || x.c.Info().CAState != "recovery" {
		t.Errorf("%+v", x.c.Info())
	}
	x.send("A seq=101 ack=2001") // 2001 is missing too
	x.wantIdle()                 // prr_delivered is 2 of 10, ssthresh 5: one is out
	x.send("A seq=101 ack=2001")
	x.want("A seq=2001 ack=101 len=1000")
	x.wantIdle()
	x.send("A seq=101 ack=13001") // recover is covered, and nothing beyond: the state stays (RFC 6582 4)
	if x.c.Info().CAState != "recovery" {
		t.Errorf("%+v", x.c.Info())
	}
	for i := range uint32(5) {
		x.want("A ack=101 len=1000 seq=" + itoa(13001+1000*i))
	}
	x.send("A seq=101 ack=14001")
	if x.c.Info().CAState != "open" || x.c.win.Cwnd != 5 {
		t.Errorf("%+v", x.c.Info())
	}
	x.want("A seq=18001 ack=101 len=1000")
}

// RFC 6675 5: recovery with SACK retransmits each hole once; RFC 8985 finds them, and RFC 9937 says when they go.
func TestSACKRecovery(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{Congestion: "reno"})
	x.listen()
	x.send("S seq=100 mss=1000 sackok")
	x.want("SA seq=1000 ack=101")
	x.later(20*sim.Millisecond, "A seq=101 ack=1001")
	x.write(10000)
	for range 9 {
		x.want("A ack=101 len=1000 seq=" + itoa(uint32(x.out[0].Seq)))
	}
	x.want("PA ack=101 len=1000 seq=10001")
	// 1001 and 3001 are lost.
	x.later(20*sim.Millisecond, "A seq=101 ack=1001 sack=2001-3001")
	x.send("A seq=101 ack=1001 sack=4001-5001,2001-3001")
	x.wantIdle()
	x.send("A seq=101 ack=1001 sack=4001-6001,2001-3001")
	x.want("A seq=1001 ack=101 len=1000") // 10 - 3 - 2 are in flight: cwnd is 6
	x.send("A seq=101 ack=1001 sack=4001-7001,2001-3001")
	x.wantIdle() // prr_delivered 2 of 10, ssthresh 5: one is out
	x.send("A seq=101 ack=1001 sack=4001-8001,2001-3001")
	x.want("A seq=3001 ack=101 len=1000")
	x.send("A seq=101 ack=1001 sack=4001-9001,2001-3001")
	x.later(20*sim.Millisecond, "A seq=101 ack=3001 sack=4001-11001")
	x.send("A seq=101 ack=11001")
	x.wantIdle()
	if i := x.c.Info(); i.CAState != "open" || i.TotalRetrans != 2 || i.SndCwnd != 5 {
		t.Errorf("%+v", i)
	}
}

// The switch fastRetransmit: off leaves loss to the timer.
func TestFastRetransmitOff(t *testing.T) {
	off := false
	x := newTCPTrace(t, TCPConfig{FastRetransmit: &off})
	x.accept("mss=1000 sackok")
	x.write(10000)
	x.out = nil
	for i := range uint32(9) {
		x.send("A seq=101 ack=1001 sack=2001-" + itoa(3001+1000*i))
	}
	x.wantIdle()
	x.out = nil
	x.advance(sim.Second)
	if len(x.out) < 2 || x.out[0].Seq != 10001 || x.out[1].Seq != 1001 { // a loss probe precedes it
		t.Error("the timer did not retransmit")
	}
	x.out = nil
}

// RFC 9293 3.8.6.1 (MUST-36): zero-window probes, first after RTO, then at exponentially growing intervals, for as long as
// they are answered; data flows again when the window opens.
//
// RFC 9293 MUST-36, MUST-37, SHLD-29, SHLD-30.
func TestZeroWindow(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.listen()
	x.send("S seq=100 mss=1000 win=1000")
	x.want("SA seq=1000 ack=101")
	x.later(20*sim.Millisecond, "A seq=101 ack=1001 win=1000")
	x.write(2500)
	x.want("A seq=1001 ack=101 len=500") // half the window
	x.want("PA seq=1501 ack=101 len=500")
	x.later(20*sim.Millisecond, "A seq=101 ack=2001 win=0")
	x.advance(1)
	wait := 220 * sim.Millisecond
	for range 20 {
		x.advance(wait - 1)
		x.wantIdle()
		x.advance(2)
		x.want("A seq=2000 ack=101")
		x.send("A seq=101 ack=2001 win=0")
		wait = min(2*wait, 120*sim.Second)
	}
	x.send("A seq=101 ack=2001 win=5000")
	x.want("A seq=2001 ack=101 len=500")
	x.want("PA seq=2501 ack=101 len=500")
	x.send("A seq=101 ack=3001 win=5000")
	x.want("PA seq=3001 ack=101 len=500")
	x.send("A seq=101 ack=3501 win=5000")
}

// RFC 9293 3.8.6.2.1 (MUST-38): the sender does not use a window of less than half the largest one seen, unless the
// override timeout passes.
func TestSenderSillyWindow(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.listen()
	x.send("S seq=100 mss=1000 win=1000")
	x.want("SA seq=1000 ack=101")
	x.later(20*sim.Millisecond, "A seq=101 ack=1001 win=1000")
	x.write(3000)
	x.want("A seq=1001 ack=101 len=500")
	x.want("PA seq=1501 ack=101 len=500")
	x.later(20*sim.Millisecond, "A seq=101 ack=2001 win=300")
	x.advance(219 * sim.Millisecond)
	x.wantIdle()
	x.advance(2 * sim.Millisecond)
	x.want("PA seq=2001 ack=101 len=300")
	x.send("A seq=101 ack=2301 win=500")
	x.want("A seq=2301 ack=101 len=200") // what is left of the stretch that was broken
	x.out = nil
}

// RFC 9293 3.8.6.2.2 (MUST-39) and (SHLD-14): the receiver does not announce small advances, nor shrink the window.
func TestReceiverSillyWindow(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{RecvBuffer: 4096, MSS: 1000})
	x.accept("mss=1000")
	x.app.paused = true
	edge := uint32(101 + 4000) // whole segments
	for i := range uint32(4) {
		x.send("A ack=1001 len=1000 seq=" + itoa(101+1000*i))
	}
	x.advance(100 * sim.Millisecond)
	for _, g := range x.out {
		if g.Ack+uint32(g.Window) != edge {
			t.Errorf("edge %d, was %d", g.Ack+uint32(g.Window), edge)
		}
	}
	x.out = nil
	b := make([]byte, 500)
	x.c.Read(b)
	x.wantIdle()
	x.c.Read(b)
	x.want("A seq=1001 ack=4101 win=1000")
	x.c.Read(b)
	x.wantIdle()
	x.send("A seq=4101 ack=1001 len=1000")
	x.advance(100 * sim.Millisecond)
	x.want("A seq=1001 ack=5101 win=0") // 500 free are too few to tell
	x.app.pull()
	x.want("A seq=1001 ack=5101 win=3000") // the application reads 3000 at a time
}

// RFC 7323 5.3 R1 (PAWS) and 4.3: an old timestamp is not acceptable; TS.Recent follows what is in order.
func TestPAWS(t *testing.T) {
	on := true
	x := newTCPTrace(t, TCPConfig{Timestamps: &on})
	x.listen()
	x.send("S seq=100 mss=1000 ts=50,0")
	sa := x.want("SA seq=1000 ack=101")
	ecr := "," + itoa(sa.opt.TSVal)
	x.send("A seq=101 ack=1001 ts=51" + ecr)
	x.send("PA seq=101 ack=1001 len=10 ts=49" + ecr)
	if g := x.want("A seq=1001 ack=101"); g.opt.TSEcr != 51 {
		t.Errorf("TSecr %d", g.opt.TSEcr)
	}
	x.send("PA seq=101 ack=1001 len=10 ts=60" + ecr)
	x.advance(41 * sim.Millisecond)
	if g := x.want("A seq=1001 ack=111"); g.opt.TSEcr != 60 {
		t.Errorf("TSecr %d", g.opt.TSEcr)
	}
	// A RST is judged without its timestamp.
	x.send("R seq=111 ts=1" + ecr)
	x.wantState(StateClosed)
}

// RFC 7323 2.2 and 2.3: windows are scaled but in SYNs, and only if both ends offered it; a shift above 14 is 14.
//
// RFC 9293 REC-1.
func TestWindowScale(t *testing.T) {
	on := true
	x := newTCPTrace(t, TCPConfig{WindowScaling: &on})
	x.accept("mss=1000 ws=15 win=10")
	x.send("A seq=101 ack=1001 len=1")
	x.send("A seq=102 ack=1001 win=3") // newer: its window counts
	x.advance(41 * sim.Millisecond)
	x.want("A seq=1001 ack=102")
	if x.c.sndWnd != 3<<14 {
		t.Errorf("window %d", x.c.sndWnd)
	}
	y := newTCPTrace(t, TCPConfig{WindowScaling: &on})
	y.accept("mss=1000")
	y.send("PA seq=101 ack=1001 len=10")
	y.send("A seq=111 ack=1001 win=3")
	y.advance(41 * sim.Millisecond)
	y.want("A seq=1001 ack=111 win=64230")
	if y.c.sndWnd != 3 {
		t.Errorf("window %d", y.c.sndWnd)
	}
}

// RFC 6298 5.7: after a SYN was retransmitted and no round trip could be timed, data starts with an RTO of 3 s.
func TestRTOAfterSynLoss(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.dial()
	x.want("S seq=1000")
	x.advance(sim.Second + 1)
	x.want("S seq=1000")
	x.send("SA seq=100 ack=1001 mss=1000")
	x.want("A seq=1001 ack=101")
	x.write(10)
	x.want("PA seq=1001 ack=101 len=10")
	x.advance(3*sim.Second - 2)
	x.wantIdle()
	x.advance(4)
	x.want("PA seq=1001 ack=101 len=10")
}

// Data that nobody acknowledges: tcp_retries2 retransmissions, then the connection fails.
//
// RFC 9293 MUST-20, SHLD-11.
func TestDataTimeout(t *testing.T) {
	two := uint32(2)
	x := newTCPTrace(t, TCPConfig{DataRetries: &two})
	x.accept("mss=1000")
	x.write(10)
	// Linux counts in time: as long as two retransmissions would take from the least timeout on, 1.4 s after the first.
	x.advance(3 * sim.Second)
	if len(x.out) != 4 {
		t.Errorf("sent %d times", len(x.out))
	}
	x.out = nil
	x.advance(sim.Second)
	x.wantHeard("established", "closed tcp: connection timed out")
}

func itoa(n uint32) string {
	var b [10]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}
