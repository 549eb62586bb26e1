package tcpstack

import (
	"errors"
	"fmt"
	"testing"

	"labd.dev/sim"
)

// Urgent lets a test hear of urgent data; MUST-32 is shown by what it notes.
func (a *peer) Urgent(*Conn) { a.note("urgent") }

// wantRead reads all that one Read gives and compares it with n bytes that begin with first.
func (x *tcpTrace) wantRead(n int, first byte) {
	x.t.Helper()
	var b [3000]byte
	got, err := x.c.Read(b[:])
	if n == 0 && !errors.Is(err, ErrWouldBlock) || got != n || n > 0 && b[0] != first {
		x.t.Fatalf("read %d bytes from %d on, %v; want %d from %d", got, b[0], err, n, first)
	}
}

// RFC 9293 3.8.5 (MUST-30, the urgent mechanism is there; MUST-62): "the urgent pointer MUST point to the sequence number
// of the octet following the urgent data", in each segment that begins before it, until it is acknowledged.
func TestUrgentSend(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{TLP: ptr(false)})
	x.accept("mss=1000")
	if n, err := x.c.WriteFlags(pattern(1500, 0), WriteUrgent); n != 1500 || err != nil {
		t.Fatal(n, err)
	}
	x.want("UA seq=1001 ack=101 len=1000 urg=1500")
	x.want("UPA seq=2001 ack=101 len=500 urg=500") // Nagle's rule does not hold it
	x.write(100)
	x.want("PA seq=2501 ack=101 len=100")
	x.send("A seq=101 ack=2001")
	x.advance(2 * sim.Second)
	if g := x.out[0]; g.Urgent != 500 || g.Seq != 2001 {
		t.Errorf("the retransmission is %v, urgent %d", g, g.Urgent)
	}
	x.out = nil
	x.send("A seq=101 ack=2601")
	x.write(10)
	x.want("PA seq=2601 ack=101 len=10")
	x.send("A seq=101 ack=2611")
}

// The pointer has 16 bits: a segment from which it cannot reach the urgent byte has none, unless there is none after it
// yet that could.
func TestUrgentFarAhead(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{SendBuffer: 200000, InitialWindow: 2})
	x.accept("mss=1000")
	x.c.WriteFlags(pattern(100000, 0), WriteUrgent)
	x.want("UA seq=1001 ack=101 len=1000 urg=65535")
	x.want("UA seq=2001 ack=101 len=1000 urg=65535")
	x.c.Abort()
	x.out = nil
}

// RFC 9293 3.4 (MUST-66): "A TCP receiver MUST process the RST and URG fields of all incoming segments, even when the
// receive window is zero"; a sender tells of urgent data through one.
func TestUrgentThroughZeroWindow(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000")
	x.send("A seq=101 ack=1001 win=0")
	x.c.WriteFlags(pattern(10, 0), WriteUrgent)
	x.advance(250 * sim.Millisecond)
	x.want("UA seq=1001 ack=101 urg=10")
	x.want("UA seq=1000 ack=101 urg=11")
	x.c.Abort()
	x.out = nil

	y := newTCPTrace(t, TCPConfig{RecvBuffer: 4096})
	y.accept("mss=1000")
	y.app.paused = true
	for y.c.rcvWnd() > 0 {
		y.send(fmt.Sprintf("A seq=%d ack=1001 len=%d", y.c.rcvNxt, min(y.c.rcvWnd(), 1000)))
	}
	y.out, y.app.heard = nil, nil
	y.send(fmt.Sprintf("UA seq=%d ack=1001 urg=5", y.c.rcvNxt))
	y.wantHeard("urgent")
	y.c.Abort()
	y.out = nil
}

// RFC 9293 3.8.5 (MUST-31, MUST-32, MUST-33): a sequence of urgent data of any length; the application hears of each
// pointer that advances, and can tell where the urgent byte stands. As Linux has it, that byte is read out of band, a read
// of the stream ends before it, and the next skips it.
func TestUrgentReceive(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000")
	x.app.paused, x.app.heard = true, nil
	if _, err := x.c.ReadUrgent(false); !errors.Is(err, ErrNoUrgent) {
		t.Error(err)
	}
	x.send("UA seq=101 ack=1001 len=100 urg=200")
	x.wantHeard("urgent")
	if _, err := x.c.ReadUrgent(false); !errors.Is(err, ErrWouldBlock) || x.c.UrgentReady() {
		t.Error(err)
	}
	x.send("UA seq=201 ack=1001 len=200 urg=100")
	x.wantHeard("urgent")
	if n := x.c.BeforeMark(); n != 199 || !x.c.UrgentReady() || x.c.AtMark() {
		t.Errorf("%d bytes before the mark", n)
	}
	x.wantRead(199, 101)
	if !x.c.AtMark() {
		t.Error("not at the mark")
	}
	for _, peek := range []bool{true, false} {
		if b, err := x.c.ReadUrgent(peek); b != byte(300-256) || err != nil {
			t.Error(b, err)
		}
	}
	if _, err := x.c.ReadUrgent(false); !errors.Is(err, ErrNoUrgent) {
		t.Error(err)
	}
	x.wantRead(100, byte(301-256))
	x.send("UA seq=401 ack=1001 len=10 urg=10")
	x.send("UA seq=411 ack=1001 len=10 urg=10") // it advances: the byte before it is none any more
	x.wantRead(19, byte(401-256))
	x.wantRead(0, 0)
	x.out = nil
}

// SO_OOBINLINE: the byte stays in the stream, where it ends a read that began before it.
func TestUrgentInline(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000")
	x.app.paused = true
	x.c.SetUrgentInline(true)
	x.send("UA seq=101 ack=1001 len=100 urg=50")
	x.wantRead(49, 101)
	if _, err := x.c.ReadUrgent(false); !errors.Is(err, ErrNoUrgent) || !x.c.AtMark() {
		t.Error(err)
	}
	x.wantRead(51, 150)
	x.out = nil
}

// RFC 6093 3.1 and tcp_stdurg: the pointer points behind the urgent byte; with RFC 1122's reading it points at it.
func TestStdUrg(t *testing.T) {
	for std, want := range map[bool]byte{false: 110, true: 111} {
		x := newTCPTrace(t, TCPConfig{StdUrg: &std})
		x.accept("mss=1000")
		x.app.paused = true
		x.send("UA seq=101 ack=1001 len=100 urg=10")
		if b, err := x.c.ReadUrgent(false); b != want || err != nil {
			t.Errorf("urgent byte %d, %v; want %d", b, err, want)
		}
		x.wantRead(int(want)-101, 101)
		x.wantRead(99-(int(want)-101), want+1)
		x.out = nil
	}
}

// An urgent byte that nobody reads keeps no connection: the end is told once the stream was read.
func TestUrgentLast(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000")
	x.app.paused, x.app.heard = true, nil
	x.send("UA seq=101 ack=1001 len=1 urg=1")
	x.c.CloseWrite()
	x.send("FA seq=102 ack=1002")
	x.advance(sim.Second)
	x.app.heard = nil
	x.app.pull()
	x.advance(sim.Second)
	x.wantHeard("eof", "closed <nil>")
	x.out = nil
}
