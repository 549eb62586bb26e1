package wire

// ICMPv6's header is ICMPv4's: type, code, checksum and four bytes that depend on the type (RFC 4443 2.1). ParseICMP and
// ICMP.Put serve both.

// Types of ICMPv6 messages (RFC 4443, RFC 4861).
const (
	ICMPv6Unreachable   = 1
	ICMPv6PacketTooBig  = 2
	ICMPv6TimeExceeded  = 3
	ICMPv6ParamProblem  = 4
	ICMPv6EchoRequest   = 128
	ICMPv6EchoReply     = 129
	ICMPv6RouterSolicit = 133
	ICMPv6RouterAdvert  = 134
	ICMPv6NeighSolicit  = 135
	ICMPv6NeighAdvert   = 136
	ICMPv6Redirect      = 137
)

// Codes of ICMPv6Unreachable.
const (
	ICMPv6NoRoute            = 0
	ICMPv6AdminProhibited    = 1
	ICMPv6BeyondScope        = 2
	ICMPv6AddrUnreachable    = 3
	ICMPv6PortUnreachable    = 4
	ICMPv6PolicyFailed       = 5
	ICMPv6RejectRoute        = 6
	ICMPv6HopLimitExceeded   = 0 // of ICMPv6TimeExceeded
	ICMPv6ReassemblyExceeded = 1
)

// Codes of ICMPv6ParamProblem.
const (
	ICMPv6ErroneousField    = 0
	ICMPv6UnknownNextHeader = 1
	ICMPv6UnknownOption     = 2
)

// ICMPv6IsError reports whether a message of this type is an error message. RFC 4443 2.1: "Error messages are identified
// as such by a zero in the high-order bit of their message Type field values."
func ICMPv6IsError(typ uint8) bool { return typ < 128 }
