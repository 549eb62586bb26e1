package wire

import (
	"encoding/binary"
	"net/netip"
)

// RedirectLen is the length of an ICMPv6 redirect without its options.
const RedirectLen = 40

// ndpRedirectedHeader is the type of the option that holds the packet redirected (RFC 4861 4.6.3).
const ndpRedirectedHeader = 4

// Redirect is an ICMPv6 redirect (RFC 4861 4.5): packets to Destination had better go to Target, who is Destination itself
// where that is on the link.
type Redirect struct {
	Target, Destination netip.Addr
	Options             NDPOptions
	Packet              []byte // what was redirected, as much of it as fits; whole words of 8 bytes
}

// ParseRedirect reads a redirect, its ICMPv6 header included. RFC 4861 8.1: "ICMP Code is 0", "ICMP length (derived from
// the IP length) is 40 or more octets", "All included options have a length that is greater than zero."
func ParseRedirect(b []byte) (Redirect, error) {
	var r Redirect
	if len(b) < RedirectLen || b[0] != ICMPv6Redirect || b[1] != 0 {
		return r, ErrNDP
	}
	r.Target, r.Destination = netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	return r, r.Options.Parse(b[RedirectLen:])
}

// Len is how many bytes Put writes.
func (r *Redirect) Len() int {
	n := RedirectLen + r.Options.Len()
	if len(r.Packet) > 0 {
		n += 8 + len(r.Packet)
	}
	return n
}

// Put writes the redirect with a checksum of zero.
func (r *Redirect) Put(b []byte) {
	clear(b[:RedirectLen])
	b[0] = ICMPv6Redirect
	target, dst := r.Target.As16(), r.Destination.As16()
	copy(b[8:], target[:])
	copy(b[24:], dst[:])
	n := RedirectLen + r.Options.Put(b[RedirectLen:])
	if len(r.Packet) > 0 {
		clear(b[n : n+8])
		binary.BigEndian.PutUint16(b[n:], ndpRedirectedHeader<<8|uint16(1+len(r.Packet)/8))
		copy(b[n+8:], r.Packet)
	}
}
