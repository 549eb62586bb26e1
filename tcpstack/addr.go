package tcpstack

import (
	"encoding/binary"
	"net/netip"
)

// ipAddr is an IP address as TCP keys on it: 16 bytes, an IPv4 address mapped (RFC 4291 2.5.5.2), so that nothing above
// IP depends on the family.
type ipAddr struct{ hi, lo uint64 }

// mapped4 precedes the 32 bits of a mapped IPv4 address.
const mapped4 = 0xffff << 32

func ipAddr4(v uint32) ipAddr { return ipAddr{0, mapped4 | uint64(v)} }

// ipAddr6 reads an address from a packet.
func ipAddr6(b []byte) ipAddr {
	return ipAddr{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

// put writes the address's 16 bytes.
func (a ipAddr) put(b []byte) {
	binary.BigEndian.PutUint64(b, a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
}

// is4 reports a mapped IPv4 address.
func (a ipAddr) is4() bool { return a.hi == 0 && a.lo>>32 == 0xffff }

func ipAddrOf(a netip.Addr) ipAddr {
	b := a.As16()
	return ipAddr{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (a ipAddr) netip() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	return netip.AddrFrom16(b).Unmap()
}

// netip6 is netip that leaves a mapped IPv4 address in IPv6's form: of a packet that had no business to carry it.
func (a ipAddr) netip6() netip.Addr {
	var b [16]byte
	a.put(b[:])
	return netip.AddrFrom16(b)
}

// tuple names a connection within its stack.
type tuple struct {
	local, remote         ipAddr
	localPort, remotePort uint16
}

func (t *tuple) localAddr() netip.AddrPort { return netip.AddrPortFrom(t.local.netip(), t.localPort) }
func (t *tuple) remoteAddr() netip.AddrPort {
	return netip.AddrPortFrom(t.remote.netip(), t.remotePort)
}

// hash is the demultiplexer's; the stack's key keeps peers from choosing collisions.
func (t *tuple) hash(key uint64) uint32 {
	h := key ^ t.remote.lo ^ t.local.lo<<13 ^ t.remote.hi*0x9e3779b97f4a7c15 ^ t.local.hi*0xc2b2ae3d27d4eb4f
	h *= 0xff51afd7ed558ccd
	h ^= h>>32 ^ uint64(t.localPort)<<16 ^ uint64(t.remotePort)
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 29
	h *= key | 1
	return uint32(h >> 32)
}
