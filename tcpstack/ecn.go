package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// Explicit congestion notification (RFC 3168), as Linux has it. Conn.ecn holds these bits, with Linux's names in brackets.
const (
	ecnOK        = 1 << iota // both ends have agreed to it (TCP_ECN_OK); in SYN-SENT: it is asked for
	ecnQueueCWR              // the window was reduced: the next new data tells so (TCP_ECN_QUEUE_CWR)
	ecnDemandCWR             // a mark came: ECE goes with every ACK until CWR comes (TCP_ECN_DEMAND_CWR)
	ecnSeen                  // a packet came that was marked as ECN-capable (TCP_ECN_SEEN)
	ecnCE                    // the last packet with data came marked: DCTCP's CE (RFC 8257 3.2)
)

// ecnEchoQuickACKs is how many ACKs go at once when a mark comes: the sender's window may be very small (Linux:
// tcp_enter_quickack_mode(sk, 2)).
const ecnEchoQuickACKs = 2

// ecnSYN is the flags of a SYN that asks for ECN. RFC 3168 6.1.1: "we call a SYN packet with the ECE and CWR flags set an
// 'ECN-setup SYN packet'". 6.1.1.1: "A host that receives no reply to an ECN-setup SYN within the normal SYN retransmission
// timeout interval MAY resend the SYN and any subsequent SYN retransmissions with CWR and ECE cleared."
func (c *Conn) ecnSYN() wire.TCPFlags {
	if c.retransmits == 0 {
		c.ecn = 0
		if c.set.ecn == ECNOn || c.set.cc.NeedsECN() {
			c.ecn = ecnOK
		}
	}
	if c.ecn&ecnOK == 0 || c.retransmits > 0 && c.set.ecnFallback {
		return 0
	}
	return wire.FlagECE | wire.FlagCWR
}

// ecnAccepts decides, as a listener, on a SYN with such flags and such an ECN codepoint; the SYN+ACK then has ECE. RFC
// 3168 6.1.1: an "ECN-setup SYN-ACK packet" has the ECE flag alone. Linux (tcp_ecn_create_request): tcp_ecn 2, the
// default, agrees to what the peer asks for; a SYN that is itself marked as ECN-capable comes over a path that mangles
// the bits, unless the congestion control is one that marks all.
func (s *settings) ecnAccepts(flags wire.TCPFlags, cp ECN) bool {
	const setup = wire.FlagECE | wire.FlagCWR
	return flags&setup == setup && (s.ecn != ECNOff && cp == NotECT || s.cc.NeedsECN())
}

// ecnAnswered takes the peer's answer to a SYN: a SYN+ACK with ECE and without CWR, or in a simultaneous open a SYN
// with both. RFC 3168 6.1.1: "If a host has received at least one non-ECN-setup SYN or non-ECN-setup SYN-ACK packet,
// then it SHOULD NOT set ECT on data packets."
func (c *Conn) ecnAnswered(g *segment) {
	want := wire.FlagECE | wire.FlagCWR
	if g.has(wire.FlagACK) {
		want = wire.FlagECE
	}
	if g.flags&(wire.FlagECE|wire.FlagCWR) != want {
		c.ecn &^= ecnOK
	}
}

// ecnMark puts ECN's marks on a segment with n bytes of data that is about to leave, and returns the codepoint of its
// packet (Linux: tcp_ecn_send).
//
// RFC 3168 6.1.4: "pure acknowledgement packets ... MUST be sent with the not-ECT codepoint"; 6.1.5: "ECN-capable TCP
// implementations MUST NOT set either ECT codepoint ... for retransmitted data packets"; RFC 8257's sender marks all.
func (c *Conn) ecnMark(f *sim.Frame, flags *wire.TCPFlags, n int, fresh bool) ECN {
	h := c.tcpHeader(f)
	cp := NotECT
	if n > 0 && fresh {
		cp = ECT0
		if c.ecn&ecnQueueCWR != 0 {
			// 6.1.2: "the data sender MUST set the CWR flag in the first new data packet sent after the window reduction".
			c.ecn &^= ecnQueueCWR
			*flags |= wire.FlagCWR
		}
	} else if c.set.cc.NeedsECN() {
		cp = ECT0
	}
	if c.ecn&ecnDemandCWR != 0 {
		// 6.1.3: "the TCP receiver sets the ECN-Echo flag in the TCP header of the subsequent ACK packet" and goes on "until
		// it receives a CWR packet".
		*flags |= wire.FlagECE
	}
	h[wire.TCPOffFlags] = uint8(*flags)
	if cp != NotECT {
		ip := f.Header()
		setTrafficClass(ip, trafficClass(ip)|uint8(cp))
	}
	return cp
}

// ecnReceived looks at the marks of a segment with data (Linux: tcp_ecn_accept_cwr, tcp_ecn_check_ce).
func (c *Conn) ecnReceived(g *segment) {
	if c.ecn&ecnOK == 0 {
		return
	}
	if g.has(wire.FlagCWR) {
		// RFC 3168 6.1.3: "After the receipt of the CWR packet, acknowledgments for subsequent non-CE data packets will not
		// have the ECN-Echo flag set." The sender's window may be one segment: its ACK goes at once.
		c.ecn &^= ecnDemandCWR
		c.ackNow = true
	}
	mark := ECN(g.ecn())
	if mark == NotECT {
		if c.ecn&ecnSeen != 0 {
			c.enterQuickACK(ecnEchoQuickACKs) // a retransmission, probably: its sender waits for it
		}
		return
	}
	if c.set.cc.NeedsECN() {
		c.dctcpReceived(mark == CE)
	}
	if mark == CE && c.ecn&ecnDemandCWR == 0 {
		c.enterQuickACK(ecnEchoQuickACKs)
		c.ecn |= ecnDemandCWR
	}
	c.ecn |= ecnSeen
}

// dctcpReceived is RFC 8257 3.2's receiver: "If the CE codepoint is set and DCTCP.CE is false, set DCTCP.CE to true and
// send an immediate ACK" of what came before with the old value, so that each ACK tells of packets of one kind only; and
// the other way round (Linux: dctcp_ece_ack_update).
func (c *Conn) dctcpReceived(ce bool) {
	if ce != (c.ecn&ecnCE != 0) {
		if c.delackAt != sim.Never {
			c.sendACK(SendDelACK)
		}
		c.ackNow = true
	}
	c.ecn &^= ecnCE | ecnDemandCWR
	if ce {
		c.ecn |= ecnCE | ecnDemandCWR
	}
}

// ecnEchoed says whether an ACK echoes a mark (Linux: tcp_ecn_rcv_ecn_echo).
func (c *Conn) ecnEchoed(g *segment) bool {
	return c.ecn&ecnOK != 0 && g.flags&(wire.FlagECE|wire.FlagSYN) == wire.FlagECE
}

// queueCWR: the window has been reduced, and the peer is to be told.
func (c *Conn) queueCWR() {
	if c.ecn&ecnOK != 0 {
		c.ecn |= ecnQueueCWR
	}
}

// withdrawCWR: the reduction was undone before the peer was told.
func (c *Conn) withdrawCWR() { c.ecn &^= ecnQueueCWR }

// tos is the type of service that the application asked for. RFC 3168 6: ECN's bits are the transport's own (Linux:
// IP_TOS leaves them alone on a stream).
func (c *Conn) tos() uint8 { return c.set.tos &^ uint8(CE) }

// withTOS is settings with the type of service that a SYN came with (Linux: tcp_v4_syn_recv_sock with tcp_reflect_tos).
func (s *settings) withTOS(tos uint8) *settings {
	own := *s
	own.tos = tos &^ uint8(CE)
	own.from.TOS = new(uint32(own.tos))
	return &own
}
