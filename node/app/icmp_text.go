package app

import (
	"fmt"

	"labd.dev/tcpstack"
	"labd.dev/tcpstack/wire"
)

// Codes of ICMP destination unreachable that no stack here sends, but a peer may (RFC 792, RFC 1812 5.2.7.1).
const (
	codeSourceRoute = 5
	codeProhibited  = 13
)

// icmpText is an ICMP error in the words of Linux's ping.
func icmpText(e tcpstack.ICMPError) string {
	if e.Six {
		return icmpv6Text(e)
	}
	switch e.Type {
	case wire.ICMPUnreachable:
		switch e.Code {
		case wire.ICMPNetUnreachable:
			return "Destination Net Unreachable"
		case wire.ICMPHostUnreachable:
			return "Destination Host Unreachable"
		case wire.ICMPProtoUnreachable:
			return "Destination Protocol Unreachable"
		case wire.ICMPPortUnreachable:
			return "Destination Port Unreachable"
		case wire.ICMPFragNeeded:
			return fmt.Sprintf("Frag needed and DF set (mtu = %d)", e.MTU)
		case codeSourceRoute:
			return "Source Route Failed"
		case codeProhibited:
			return "Packet filtered"
		}
		return fmt.Sprintf("Dest Unreachable, Bad Code: %d", e.Code)
	case wire.ICMPTimeExceeded:
		if e.Code == wire.ICMPReassemblyExceeded {
			return "Frag reassembly time exceeded"
		}
		return "Time to live exceeded"
	}
	return fmt.Sprintf("Bad ICMP type: %d", e.Type)
}

// icmpv6Text is what ping -6 prints of an error, which is told in ICMPv4's terms.
func icmpv6Text(e tcpstack.ICMPError) string {
	switch e.Type {
	case wire.ICMPUnreachable:
		switch e.Code {
		case wire.ICMPNetUnreachable:
			return "Destination unreachable: No route"
		case wire.ICMPHostUnreachable:
			return "Destination unreachable: Address unreachable"
		case wire.ICMPPortUnreachable:
			return "Destination unreachable: Port unreachable"
		case wire.ICMPFragNeeded:
			return fmt.Sprintf("Packet too big: mtu=%d", e.MTU)
		case wire.ICMPProtoUnreachable:
			return "Parameter problem: Unknown Header"
		}
		return "Destination unreachable: Administratively prohibited"
	case wire.ICMPTimeExceeded:
		if e.Code == wire.ICMPReassemblyExceeded {
			return "Time exceeded: Defragmentation failure"
		}
		return "Time exceeded: Hop limit"
	}
	return "Parameter problem: Wrong header field"
}

// icmpMark is what traceroute appends to a probe's time: "!H" and the like; empty for the answer of the host itself.
func icmpMark(e tcpstack.ICMPError) string {
	if e.Type != wire.ICMPUnreachable {
		return ""
	}
	switch e.Code {
	case wire.ICMPNetUnreachable:
		return "!N"
	case wire.ICMPHostUnreachable:
		return "!H"
	case wire.ICMPProtoUnreachable:
		return "!P"
	case wire.ICMPPortUnreachable:
		return ""
	case wire.ICMPFragNeeded:
		return fmt.Sprintf("!F-%d", e.MTU)
	case codeSourceRoute:
		return "!S"
	case codeProhibited:
		return "!X"
	}
	return fmt.Sprintf("!<%d>", e.Code)
}
