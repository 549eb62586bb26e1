package tcpstack

import (
	"net/netip"

	"labd.dev/tcpstack/wire"
)

// tcpControl hears an ICMP error about a segment this stack sent from src to dst with sequence number seq.
//
// RFC 9293 3.9.2.2: "Destination Unreachable -- codes 0, 1, 5: ... these are considered soft error conditions, and a TCP
// implementation MUST NOT abort the connection"; "codes 2-4: ... these are hard error conditions, so TCP implementations
// SHOULD abort the connection (SHLD-26)". RFC 5927 4.2: connections in a synchronized state take hard errors for soft.
// As Linux does, a connection that is being opened ends on any of them.
func (s *Stack) tcpControl(e ICMPError, src, dst netip.AddrPort, seq uint32) {
	t := tuple{local: ipAddrOf(src.Addr()), remote: ipAddrOf(dst.Addr()), localPort: src.Port(), remotePort: dst.Port()}
	hash := t.hash(s.tcp.hashKey)
	if r := s.tcp.requests.find(&t, hash); r != nil {
		r.control(e, seqNum(seq))
		return
	}
	c := s.tcp.conns.find(&t, hash)
	if c == nil || e.Type != wire.ICMPUnreachable {
		return
	}
	// RFC 5927 4.1: "TCP SHOULD check that the TCP sequence number contained in the payload of the ICMP error message is
	// within the range SND.UNA =< SEG.SEQ < SND.NXT."
	if !seqNum(seq).inWindow(c.sndUna, uint32(c.sndNxt-c.sndUna)) {
		return
	}
	if c.state == StateSynSent || c.state == StateSynRcvd {
		c.terminate(ErrUnreachable, ClosedUnreachable, RxICMP)
	}
}
