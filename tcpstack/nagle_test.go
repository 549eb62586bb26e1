package tcpstack

import (
	"testing"

	"labd.dev/sim"
)

// Minshall's draft: "if any previously transmitted less than full-sized packet has not yet been acknowledged, do not
// transmit the packet"; full-sized ones in flight hold nothing back, which they do with Nagle's own rule.
func TestMinshall(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000")
	x.write(1000)
	x.want("PA seq=1001 ack=101 len=1000")
	x.write(100)
	x.want("PA seq=2001 ack=101 len=100")
	x.write(50)
	x.wantIdle() // a small one is in flight
	x.send("A seq=101 ack=2001")
	x.wantIdle()
	x.send("A seq=101 ack=2101")
	x.want("PA seq=2101 ack=101 len=50")

	off := false
	y := newTCPTrace(t, TCPConfig{Minshall: &off})
	y.accept("mss=1000")
	y.write(1000)
	y.want("PA seq=1001 ack=101 len=1000")
	y.write(100)
	y.wantIdle()
	y.send("A seq=101 ack=2001")
	y.want("PA seq=2001 ack=101 len=100")
}

// tcp(7), TCP_CORK: "don't send out partial frames. All queued partial frames are sent when the option is cleared again."
// "there is a 200 millisecond ceiling on the time for which output is corked": Linux's timer is the one that probes a
// zero window, after an RTO.
func TestCork(t *testing.T) {
	on, off := true, false
	x := newTCPTrace(t, TCPConfig{Cork: &on})
	x.accept("mss=1000")
	x.write(2500)
	x.want("A seq=1001 ack=101 len=1000")
	x.want("A seq=2001 ack=101 len=1000")
	x.send("A seq=101 ack=3001")
	x.wantIdle()
	x.advance(199 * sim.Millisecond)
	x.wantIdle()
	x.advance(5 * sim.Millisecond)
	x.want("PA seq=3001 ack=101 len=500")
	x.send("A seq=101 ack=3501")
	x.write(100)
	x.wantIdle()
	if err := x.c.Reconfigure(TCPConfig{Cork: &off}); err != nil {
		t.Fatal(err)
	}
	x.want("PA seq=3501 ack=101 len=100")

	y := newTCPTrace(t, TCPConfig{})
	y.accept("mss=1000")
	y.write(2500)
	y.want("A seq=1001 ack=101 len=1000")
	y.want("A seq=2001 ack=101 len=1000")
	y.want("PA seq=3001 ack=101 len=500")
}

// send(2), MSG_MORE: "The caller has more data to send. This flag is used ... to obtain the same effect as the TCP_CORK
// socket option ..., with the difference that this flag can be set on a per-call basis." TCP_NODELAY does not override it.
//
// RFC 9293 MAY-15.
func TestMore(t *testing.T) {
	off := false
	for _, cfg := range []TCPConfig{{}, {Nagle: &off}} {
		x := newTCPTrace(t, cfg)
		x.accept("mss=1000")
		x.writeFlags(600, WriteMore)
		x.wantIdle()
		x.writeFlags(600, WriteMore)
		x.want("A seq=1001 ack=101 len=1000")
		x.write(100)
		x.want("PA seq=2001 ack=101 len=300")
	}
}

// recv(2), MSG_EOR: a record's end is a segment's end. Without it small writes that wait share a segment.
func TestEndOfRecord(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000")
	x.write(10)
	x.want("PA seq=1001 ack=101 len=10")
	x.writeFlags(100, WriteEOR)
	x.writeFlags(200, WriteEOR)
	x.write(300)
	x.write(400)
	x.want("PA seq=1011 ack=101 len=100") // nothing can be added to it: Nagle does not hold it
	x.want("PA seq=1111 ack=101 len=200")
	x.send("A seq=101 ack=1311")
	x.want("PA seq=1311 ack=101 len=700")
}

// Linux (forced_push): data is marked to be pushed when half the largest window was written since the last mark.
//
// RFC 9293 SHLD-27.
func TestForcedPush(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.listen()
	x.send("S seq=100 mss=1000 win=8000")
	x.want("SA seq=1000 ack=101")
	x.send("A seq=101 ack=1001 win=8000")
	x.write(10000)
	for i := range uint32(8) {
		letters := "A"
		if i == 7 { // stretches of half the window: the second crosses it
			letters = "PA"
		}
		x.want(letters + " ack=101 len=1000 seq=" + itoa(1001+1000*i))
	}
	x.send("A seq=101 ack=9001 win=8000")
	x.want("A seq=9001 ack=101 len=1000")
	x.want("PA seq=10001 ack=101 len=1000")
}

// writeFlags hands the connection n bytes in the manner of flags.
func (x *tcpTrace) writeFlags(n int, flags WriteFlags) {
	x.t.Helper()
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(x.c.sndEnd) + byte(i)
	}
	if m, err := x.c.WriteFlags(b, flags); m != n || err != nil {
		x.t.Fatalf("wrote %d of %d: %v", m, n, err)
	}
}
