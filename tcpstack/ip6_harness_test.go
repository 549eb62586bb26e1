package tcpstack

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// ipv6 builds IPv6 bytes; mod changes the header first.
func ipv6(src, dst string, p wire.Protocol, body []byte, mod ...func(*wire.IPv6)) []byte {
	h := wire.IPv6{HopLimit: 64, NextHeader: p, PayloadLen: len(body), Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst)}
	for _, m := range mod {
		m(&h)
	}
	b := make([]byte, wire.IPv6Len, wire.IPv6Len+len(body))
	h.Put(b)
	return append(b, body...)
}

// hops sets a hop limit.
func hops(n uint8) func(*wire.IPv6) { return func(h *wire.IPv6) { h.HopLimit = n } }

// sum6 makes the checksum at off of an upper-layer packet true.
func sum6(src, dst string, p wire.Protocol, b []byte, off int) []byte {
	b[off], b[off+1] = 0, 0
	s, d := netip.MustParseAddr(src).As16(), netip.MustParseAddr(dst).As16()
	c := ^wire.AddSums(wire.PseudoSum6(s, d, p, len(b)), wire.Sum(b))
	binary.BigEndian.PutUint16(b[off:], c)
	return b
}

// udp6 builds UDP bytes with true checksum.
func udp6(src, dst string, sport, dport uint16, data string) []byte {
	b := make([]byte, wire.UDPLen, wire.UDPLen+len(data))
	wire.UDP{SrcPort: sport, DstPort: dport, Length: wire.UDPLen + len(data)}.Put(b)
	return sum6(src, dst, wire.ProtoUDP, append(b, data...), wire.UDPOffChecksum)
}

// icmp6 builds an ICMPv6 packet with true checksum.
func icmp6(src, dst string, typ, code uint8, word uint32, data string, mod ...func(*wire.IPv6)) []byte {
	b := append([]byte{typ, code, 0, 0}, binary.BigEndian.AppendUint32(nil, word)...)
	return ipv6(src, dst, wire.ProtoICMPv6, sum6(src, dst, wire.ProtoICMPv6, append(b, data...), 2), mod...)
}

// neighbor6 builds a neighbour solicitation or advertisement.
func neighbor6(src, dst string, m wire.Neighbor, mod ...func(*wire.IPv6)) []byte {
	b := make([]byte, wire.NeighborLen+m.Options.Len())
	m.Put(b)
	return ipv6(src, dst, wire.ProtoICMPv6, sum6(src, dst, wire.ProtoICMPv6, b, 2), append([]func(*wire.IPv6){hops(255)}, mod...)...)
}

// routerAdvert6 builds a router advertisement to all nodes.
func routerAdvert6(src string, m wire.RouterAdvert) []byte {
	b := make([]byte, wire.RouterAdvertLen+m.Options.Len())
	m.Put(b)
	return ipv6(src, "ff02::1", wire.ProtoICMPv6, sum6(src, "ff02::1", wire.ProtoICMPv6, b, 2), hops(255))
}

// sendIP6 lets an IPv6 packet arrive at an interface, from the test's station there.
func (x *ipBench) sendIP6(ifc int, ip []byte) {
	x.send(ifc, ethernet(x.ifcs[ifc].cfg.MAC, stationMAC(ifc), wire.EtherTypeIPv6, ip))
}

// sendGroup lets an IPv6 packet arrive that is for a group.
func (x *ipBench) sendGroup(ifc int, ip []byte) {
	h, err := wire.ParseIPv6(ip)
	if err != nil {
		x.t.Fatal(err)
	}
	x.send(ifc, ethernet(wire.MulticastMAC(h.Dst), stationMAC(ifc), wire.EtherTypeIPv6, ip))
}

// summariseIPv6 prints what the tests compare of a packet, and any checksum that does not hold.
func summariseIPv6(b []byte) string {
	h, err := wire.ParseIPv6(b)
	if err != nil {
		return err.Error()
	}
	var s strings.Builder
	fmt.Fprintf(&s, "%v > %v hlim %d", h.Src, h.Dst, h.HopLimit)
	body := b[wire.IPv6Len:]
	if h.PayloadLen != len(body) {
		fmt.Fprintf(&s, " payload %d of %d", h.PayloadLen, len(body))
	}
	if h.NextHeader == wire.ProtoFragment {
		f, err := wire.ParseIPv6Fragment(body)
		if err != nil {
			return s.String() + " " + err.Error()
		}
		fmt.Fprintf(&s, " frag %d+%d", f.Offset, len(body)-wire.FragmentHeaderLen)
		if f.More {
			s.WriteString(" more")
		}
		return s.String()
	}
	if n := wire.RouterAlertLen; h.NextHeader == wire.ProtoHopByHop && len(body) > n && [wire.RouterAlertLen]byte(body) == wire.RouterAlert {
		s.WriteString(" router-alert")
		h.NextHeader, body = wire.ProtoICMPv6, body[n:]
	}
	if wire.AddSums(wire.PseudoSum6(h.Src.As16(), h.Dst.As16(), h.NextHeader, len(body)), wire.Sum(body)) != 0xffff {
		s.WriteString(" BAD CHECKSUM")
	}
	switch h.NextHeader {
	case wire.ProtoUDP:
		u, err := wire.ParseUDP(body)
		if err != nil {
			return s.String() + " " + err.Error()
		}
		fmt.Fprintf(&s, " udp %d > %d len %d", u.SrcPort, u.DstPort, u.Length-wire.UDPLen)
	case wire.ProtoICMPv6:
		s.WriteString(" " + summariseICMPv6(body))
	default:
		fmt.Fprintf(&s, " proto %d len %d", h.NextHeader, len(body))
	}
	return s.String()
}

func summariseICMPv6(b []byte) string {
	switch b[0] {
	case wire.ICMPv6NeighSolicit:
		n, err := wire.ParseNeighbor(b)
		if err != nil {
			return err.Error()
		}
		if n.Options.HasSource {
			return fmt.Sprintf("ns %v from %v", n.Target, n.Options.SourceMAC)
		}
		return fmt.Sprintf("ns %v", n.Target)
	case wire.ICMPv6NeighAdvert:
		n, err := wire.ParseNeighbor(b)
		if err != nil {
			return err.Error()
		}
		flags := ""
		for i, set := range []bool{n.Router, n.Solicited, n.Override} {
			if set {
				flags += "RSO"[i : i+1]
			}
		}
		return fmt.Sprintf("na %v is-at %v %s", n.Target, n.Options.TargetMAC, flags)
	case wire.ICMPv6Redirect:
		r, err := wire.ParseRedirect(b)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("redirect %v to %v is-at %v with %d", r.Destination, r.Target, r.Options.TargetMAC, len(b)-wire.RedirectLen-r.Options.Len()-8)
	case wire.ICMPv6MLDv2Report:
		text := "mld"
		for i := range binary.BigEndian.Uint16(b[6:]) {
			r := b[wire.MLDReportLen+wire.MLDRecordLen*int(i):]
			text += fmt.Sprintf(" %s %v", [...]string{2: "is", 3: "left", 4: "joined"}[r[0]], netip.AddrFrom16([16]byte(r[4:])))
		}
		return text
	case wire.ICMPv6RouterSolicit:
		return "rs"
	case wire.ICMPv6RouterAdvert:
		r, err := wire.ParseRouterAdvert(b)
		if err != nil {
			return err.Error()
		}
		text := fmt.Sprintf("ra hlim %d lifetime %v mtu %d", r.HopLimit, r.Lifetime, r.Options.MTU)
		for _, p := range r.Options.Prefixes[:r.Options.NPrefixes] {
			text += " prefix " + p.Prefix.String()
		}
		return text
	}
	m, err := wire.ParseICMP(b)
	if err != nil {
		return err.Error()
	}
	if wire.ICMPv6IsError(m.Type) {
		text := fmt.Sprintf("icmp6 %d/%d", m.Type, m.Code)
		if word := binary.BigEndian.Uint32(b[4:]); word != 0 {
			text += fmt.Sprintf(" word %d", word)
		}
		return fmt.Sprintf("%s quoting %d", text, len(b)-wire.ICMPLen)
	}
	return fmt.Sprintf("icmp6 %d/%d seq %d len %d", m.Type, m.Code, m.Seq, len(b)-wire.ICMPLen)
}

// wantAddresses compares an interface's IPv6 addresses and their states.
func (x *ipBench) wantAddresses(ifc int, want ...string) {
	x.t.Helper()
	var got []string
	for _, a := range x.ifcs[ifc].Addresses() {
		got = append(got, a.Prefix.String()+" "+a.State.String())
	}
	if g, w := strings.Join(got, ", "), strings.Join(want, ", "); g != w {
		x.t.Fatalf("eth%d has %s, want %s", ifc, g, w)
	}
}

// skipTo lets time pass until something is sent, at most d.
func (x *ipBench) skipTo(d sim.Time) sim.Time {
	x.t.Helper()
	start, end := x.loop.Now(), x.loop.Now()+d
	for len(x.out) == 0 && x.loop.Next() < end {
		x.advance(x.loop.Next() + 1 - x.loop.Now())
	}
	if len(x.out) == 0 {
		x.t.Fatalf("nothing was sent within %v", d)
	}
	return x.loop.Now() - start
}

func newIPv6Router(t *testing.T, mtu int) *ipBench {
	x := newIPBench(t, Config{Forwarding: true}, mtu, "fd00:1::1/64", "fd00:2::1/64")
	x.know(0, "fd00:1::2")
	x.know(1, "fd00:2::2")
	return x
}
