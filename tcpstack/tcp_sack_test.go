package tcpstack

import (
	"testing"
)

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
// RFC 5681 3.2: "A TCP receiver SHOULD send an immediate duplicate ACK when an out-of-order segment arrives."
func TestDuplicateACKBesideRetransmission(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{Congestion: "reno"})
	x.accept("mss=1000 sackok")
	x.write(10000)
	x.out = nil
	x.send("A seq=201 ack=1001 len=100 sack=2001-9001")
	x.want("A seq=1001 ack=101 len=1000 noopt")
	x.want("A seq=11001 ack=101 sack=201-301")
}
