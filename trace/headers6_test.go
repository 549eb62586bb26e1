package trace

import (
	"net/netip"
	"strings"
	"testing"

	"labd.dev/tcpstack/wire"
)

// packet6 is an Ethernet frame with an IPv6 packet whose upper layer has a true checksum.
func packet6(first, upper wire.Protocol, extension, body []byte, off int) []byte {
	src, dst := netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
	b := make([]byte, 14+wire.IPv6Len)
	wire.Ethernet{Type: wire.EtherTypeIPv6}.Put(b)
	wire.IPv6{TrafficClass: 3, FlowLabel: 0xabcde, PayloadLen: len(extension) + len(body), NextHeader: first, HopLimit: 64, Src: src, Dst: dst}.Put(b[14:])
	body = append([]byte{}, body...)
	body[off], body[off+1] = 0, 0
	c := ^wire.AddSums(wire.PseudoSum6(src.As16(), dst.As16(), upper, len(body)), wire.Sum(body))
	body[off], body[off+1] = byte(c>>8), byte(c)
	return append(append(b, extension...), body...)
}

func TestHeadersIPv6(t *testing.T) {
	na := wire.Neighbor{Type: wire.ICMPv6NeighAdvert, Solicited: true, Target: netip.MustParseAddr("fd00::1"),
		Options: wire.NDPOptions{HasTarget: true, TargetMAC: wire.MAC{2, 0, 0, 0, 0, 1}}}
	advert := make([]byte, wire.NeighborLen+na.Options.Len())
	na.Put(advert)
	udp := make([]byte, wire.UDPLen+5)
	wire.UDP{SrcPort: 9, DstPort: 53, Length: len(udp)}.Put(udp)
	fragment := make([]byte, wire.FragmentHeaderLen)
	wire.IPv6Fragment{Next: wire.ProtoUDP, Offset: 8, ID: 7}.Put(fragment)
	for _, c := range []struct {
		name  string
		frame []byte
		want  []string // header names and "field=value"
	}{
		{"UDP", packet6(wire.ProtoUDP, wire.ProtoUDP, nil, udp, 6), []string{"Flow label=0xabcde", "Congestion notification=3", "Source address=fd00::1", "UDP header (RFC 768)", "Destination port=53", "correct"}},
		{"options", packet6(wire.ProtoHopByHop, wire.ProtoUDP, []byte{17, 0, 1, 4, 0, 0, 0, 0}, udp, 6), []string{"Hop-by-hop options (RFC 8200 4.3)", "Destination port=53", "correct"}},
		{"a later fragment", packet6(wire.ProtoFragment, wire.ProtoUDP, fragment, udp, 6), []string{"Fragment header (RFC 8200 4.5)", "Fragment offset=1", "a later fragment"}},
		{"advertisement", packet6(wire.ProtoICMPv6, wire.ProtoICMPv6, nil, advert, 2), []string{"Neighbour discovery (RFC 4861)", "Target address=fd00::1", "Solicited=1", "Target link-layer address=02:00:00:00:00:01", "correct"}},
	} {
		headers, _, remark := parseHeaders(c.frame)
		var all strings.Builder
		all.WriteString(remark + "\n")
		for _, h := range headers {
			all.WriteString(h.name + "\n")
			for _, f := range h.fields {
				all.WriteString(f.name + "=" + f.value + " " + f.note + "\n")
			}
		}
		for _, w := range c.want {
			if !strings.Contains(all.String(), w) {
				t.Errorf("%s: no %q in\n%s", c.name, w, &all)
			}
		}
		for cut := range c.frame {
			parseHeaders(c.frame[:cut])
		}
	}
}
