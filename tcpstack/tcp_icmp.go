package tcpstack

import (
	"net/netip"

	"labd.dev/tcpstack/wire"
)

// tcpControl hears an ICMP error about a segment this stack sent from src to dst with sequence number seq (Linux:
// tcp_v4_err).
//
// RFC 9293 3.9.2.2: "Destination Unreachable -- codes 0, 1, 5 ... Since these Unreachable messages indicate soft error
// conditions, a TCP implementation MUST NOT abort the connection (MUST-56)"; "Destination Unreachable -- codes 2-4.
// These are hard error conditions, so TCP implementations SHOULD abort the connection (SHLD-26)". RFC 5927 4.2:
// connections in a synchronized state take hard errors for soft. As Linux does, a connection that is being opened ends
// on any of them.
func (s *Stack) tcpControl(e ICMPError, src, dst netip.AddrPort, seq uint32) {
	t := tuple{local: ipAddrOf(src.Addr()), remote: ipAddrOf(dst.Addr()), localPort: src.Port(), remotePort: dst.Port()}
	hash := t.hash(s.tcp.hashKey)
	if r := s.tcp.requests.find(&t, hash); r != nil {
		r.icmpError(e, seqNum(seq))
		return
	}
	c := s.tcp.conns.find(&t, hash)
	if c == nil || c.gone() {
		return
	}
	// RFC 5927 4.1: "check that the TCP sequence number contained in the payload of the ICMP error message is within the
	// range SND.UNA =< SEG.SEQ < SND.NXT." Linux takes SND.NXT as well.
	una := c.sndUna
	if c.halfAccepted() {
		una = c.iss // its SYN,ACK is not yet acknowledged
	}
	if c.set.icmpHardening && !seqNum(seq).inWindow(una, uint32(c.sndNxt-una)+1) {
		s.tcp.count.outOfWindowICMPs++
		return
	}
	if e.Six && e.MTU != 0 {
		// No router cuts an IPv6 packet: until the segments are smaller, IP sends what is too long for the path in fragments
		// (RFC 8201 4).
		s.pathTooNarrow(c.remote, e.MTU)
	}
	if e.Type == wire.ICMPUnreachable && e.Code == wire.ICMPFragNeeded && !e.Six || e.Six && e.MTU >= minPathMTU {
		c.mtuReduced(e.MTU)
	}
	c.icmpError(e)
}

// icmpError takes an ICMP error that is the connection's.
func (c *Conn) icmpError(e ICMPError) {
	switch {
	case e.Type != wire.ICMPUnreachable && e.Type != wire.ICMPTimeExceeded && e.Type != wire.ICMPParamProblem,
		e.Type == wire.ICMPUnreachable && e.Code == wire.ICMPFragNeeded:
	case c.state == StateSynSent, c.state == StateSynRcvd && (!c.halfAccepted() || c.lsn != nil),
		!c.set.icmpHardening && e.hard():
		c.oddities().lastICMP = &e
		c.terminate(ErrUnreachable, ClosedUnreachable, RxICMP)
	default:
		c.oddities().lastICMP = &e // it explains a timeout, if one follows (Linux: sk_err_soft)
		c.softError(ErrUnreachable)
	}
}

// LastICMP is the ICMP error that ended the connection, or that came last since the peer was last heard; false if none did.
func (c *Conn) LastICMP() (ICMPError, bool) {
	if c.odd == nil || c.odd.lastICMP == nil {
		return ICMPError{}, false
	}
	return *c.odd.lastICMP, true
}

// hard says whether an error is one that RFC 1122 4.2.3.9 ends connections on: protocol and port unreachable
// (fragmentation needed is path MTU discovery's).
func (e *ICMPError) hard() bool {
	return e.Type == wire.ICMPUnreachable && (e.Code == wire.ICMPProtoUnreachable || e.Code == wire.ICMPPortUnreachable)
}

// icmpError takes an ICMP error about a SYN,ACK: one that says that the peer cannot be reached ends the request, the others
// leave it to its timer (Linux: tcp_req_err).
func (r *request) icmpError(e ICMPError, seq seqNum) {
	s := r.lsn.stack
	if r.set.icmpHardening && seq != r.iss {
		s.tcp.count.outOfWindowICMPs++
		return
	}
	unreachable := e.Type == wire.ICMPUnreachable && (e.Code == wire.ICMPNetUnreachable || e.Code == wire.ICMPHostUnreachable)
	if unreachable || e.Type == wire.ICMPTimeExceeded || e.Type == wire.ICMPParamProblem {
		s.tcp.count.listenDrops++
		r.drop(RxICMP)
	}
}
