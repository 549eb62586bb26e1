package tcpstack

import (
	"testing"

	"labd.dev/sim"
)

// RFC 6675 4, NextSeg: "(3) If the conditions for rules (1) and (2) fail, but there exists an unSACKed sequence number 'S3'
// that meets the criteria for detecting loss given in steps (1.a) and (1.b)", it is sent; and when the window has no room,
// it is not.
func TestNextSegForward(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{Congestion: "reno"})
	x.accept("mss=1000 sackok")
	x.write(10000)
	x.out = nil
	// The first is lost, with four SACKed segments above it; cwnd goes from 10 to 5.
	x.send("A seq=101 ack=1001 sack=2001-5001")
	x.want("A seq=1001 ack=101 len=1000")
	x.wantIdle() // pipe is 6: what lies above 5001 and the retransmission
	x.send("A seq=101 ack=1001 sack=2001-8001")
	x.wantIdle()
	// Above 8001 one segment is SACKed: it is not lost, but pipe is 3 of 5, and there is no new data.
	x.send("A seq=101 ack=1001 sack=9001-10001,2001-8001")
	x.want("A seq=8001 ack=101 len=1000")
	x.wantIdle()
	// The original arrives: nothing was lost of what went ahead, and the counts come out even.
	x.send("A seq=101 ack=11001")
	if x.c.rtx != nil && x.c.rtx.inFlight() != 0 {
		t.Errorf("%+v", x.c.rtx)
	}
}

// RFC 6675 4, NextSeg: "(4) ... we provide the opportunity for a single 'rescue' retransmission per entry into loss
// recovery", once an ACK has gone beyond the first retransmission: it saves the timeout when a window's tail was lost.
func TestNextSegRescue(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{Congestion: "reno"})
	x.accept("mss=1000 sackok")
	x.write(10000)
	x.out = nil
	// 1001 is lost, and so are the last two, above which nothing can be SACKed.
	x.send("A seq=101 ack=1001 sack=2001-9001")
	x.want("A seq=1001 ack=101 len=1000")
	x.wantIdle() // RescueRxt is the end of the retransmission
	x.send("A seq=101 ack=9001")
	x.want("PA seq=10001 ack=101 len=1000")
	x.wantIdle()
	// The SACK of the rescued segment says nothing of the other one but that it is missing: rule (3).
	x.send("A seq=101 ack=9001 sack=10001-11001")
	x.want("A seq=9001 ack=101 len=1000")
	x.send("A seq=101 ack=11001")
	x.advance(sim.Second)
	x.wantIdle()
	if i := x.c.Info(); i.CAState != "open" || i.TotalRetrans != 3 {
		t.Errorf("%+v", i)
	}
}

// RFC 2018 4: "If sent at all, SACK options SHOULD be included in all ACKs which do not ACK the highest sequence number in
// the data receiver's queue": a segment that carries data is one, and leaves room for the option.
func TestSACKInDataSegments(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1000 sackok")
	x.send("A seq=1101 ack=1001 len=100")
	x.want("A seq=1001 ack=101 sack=1101-1201")
	x.send("A seq=1301 ack=1001 len=100")
	x.want("A seq=1001 ack=101 sack=1301-1401,1101-1201")
	x.write(1000)
	x.want("A seq=1001 ack=101 len=980 sack=1301-1401,1101-1201")
	x.out = nil
	x.send("A seq=101 ack=1981 len=1000")
	x.out = nil
	x.send("A seq=1201 ack=2001 len=100")
	x.want("A seq=2001 ack=1401")
	x.write(1000)
	x.want("PA seq=2001 ack=1401 len=1000 noopt")
}

// A full segment that is sent again has no room for SACK blocks. The duplicate ACK that is due then follows by itself.
// RFC 5681 4.2: "A TCP receiver SHOULD send an immediate duplicate ACK when an out-of-order segment arrives."
func TestDuplicateACKBesideRetransmission(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{Congestion: "reno"})
	x.accept("mss=1000 sackok")
	x.write(10000)
	x.out = nil
	x.send("A seq=201 ack=1001 len=100 sack=2001-9001")
	x.want("A seq=1001 ack=101 len=1000 noopt")
	x.want("A seq=11001 ack=101 sack=201-301")
}
