package capfilter

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

var (
	client = netip.MustParseAddr("10.0.0.1")
	server = netip.MustParseAddr("10.0.1.2")
)

func resolve(name string) ([]netip.Addr, bool) {
	switch name {
	case "client":
		return []netip.Addr{client}, true
	case "r1":
		return []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.1.1")}, true
	case "server":
		return []netip.Addr{server}, true
	}
	return nil, false
}

func frame(proto byte, src, dst netip.Addr, srcPort, dstPort uint16) []byte {
	b := make([]byte, 14+20+20)
	binary.BigEndian.PutUint16(b[12:], etherTypeIPv4)
	b[14], b[23] = 0x45, proto
	copy(b[26:], src.AsSlice())
	copy(b[30:], dst.AsSlice())
	binary.BigEndian.PutUint16(b[34:], srcPort)
	binary.BigEndian.PutUint16(b[36:], dstPort)
	return b
}

func arp(src, dst netip.Addr) []byte {
	b := make([]byte, 14+28)
	binary.BigEndian.PutUint16(b[12:], etherTypeARP)
	copy(b[28:], src.AsSlice())
	copy(b[38:], dst.AsSlice())
	return b
}

func TestMatch(t *testing.T) {
	web := frame(protoTCP, client, server, 40000, 80)
	back := frame(protoTCP, server, client, 80, 40000)
	dns := frame(protoUDP, client, server, 40000, 53)
	echo := frame(protoICMP, client, server, 0, 0)
	who := arp(client, netip.MustParseAddr("10.0.0.2"))
	later := frame(protoTCP, client, server, 40000, 80)
	binary.BigEndian.PutUint16(later[20:], 100) // a later fragment: what looks like ports is data
	for _, c := range []struct {
		filter string
		yes    [][]byte
		no     [][]byte
	}{
		{"", [][]byte{web, back, dns, echo, who, later, nil}, nil},
		{"tcp", [][]byte{web, back, later}, [][]byte{dns, echo, who, nil}},
		{"tcp port 80 and host client", [][]byte{web, back}, [][]byte{dns, echo, who, later}},
		{"tcp dst port 80", [][]byte{web}, [][]byte{back, dns}},
		{"src host client", [][]byte{web, dns, echo, who}, [][]byte{back}},
		{"src client", [][]byte{web, dns, echo, who}, [][]byte{back}},
		{"client", [][]byte{web, back, dns, echo, who}, nil},
		{"dst 10.0.1.2", [][]byte{web, dns, echo}, [][]byte{back, who}},
		{"host r1", [][]byte{who}, [][]byte{web, back}},
		{"net 10.0.1.0/24", [][]byte{web, back, dns}, [][]byte{who}},
		{"udp or icmp", [][]byte{dns, echo}, [][]byte{web, who}},
		{"not ip", [][]byte{who}, [][]byte{web, dns, echo}},
		{"!(tcp||udp)", [][]byte{echo, who}, [][]byte{web, dns}},
		{"portrange 50-60", [][]byte{dns}, [][]byte{web}},
		{"icmp host client", [][]byte{echo}, [][]byte{web}},
		// "Negation has highest precedence. Alternation and concatenation have equal precedence and associate left to right."
		{"tcp or udp and port 53", [][]byte{dns}, [][]byte{web}},
		{"tcp or (udp and port 53)", [][]byte{dns, web}, [][]byte{echo}},
		{"not tcp and not arp", [][]byte{dns, echo}, [][]byte{web, who}},
	} {
		f, err := Compile(c.filter, resolve)
		if err != nil {
			t.Errorf("%q: %v", c.filter, err)
			continue
		}
		for i, b := range c.yes {
			if !f.Match(b) {
				t.Errorf("%q does not pick frame %d of those it should", c.filter, i)
			}
		}
		for i, b := range c.no {
			if f.Match(b) {
				t.Errorf("%q picks frame %d of those it should not", c.filter, i)
			}
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		filter string
		column int
		says   string
	}{
		{"tcp port http", 10, `"http" is no port`},
		{"host nobody", 6, `"nobody" is no node`},
		{"tcp and", 8, "ends where a test is expected"},
		{"(tcp or udp", 12, "parenthesis of column 1"},
		{"tcp udp", 5, "`and`, `or` or the end"},
		{"port 80 or 443", 12, "port 443"},
		{"net 10.0.1", 5, "10.0.1.0/24"},
		{"port", 5, "which port?"},
		{"icmp port 3", 6, "icmp has no ports"},
		{"and tcp", 1, `"and"`},
		{"src", 4, "ends where"},
		{"portrange 5", 11, "8000-8080"},
		{"port 70000", 6, "0 to 65535"},
		{"tcp & udp", 5, "`and`"},
		{strings.Repeat("(", 100) + "tcp", 66, "more than 64"},
		{strings.Repeat(" ", 5000), 4097, "at most 4096"},
	} {
		_, err := Compile(c.filter, resolve)
		var e *Error
		if !errors.As(err, &e) || e.Column != c.column || !strings.Contains(e.Text, c.says) {
			t.Errorf("%.40q: %v; want column %d, %q", c.filter, err, c.column, c.says)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add("tcp port 80 and not (host client or src net 10.0.0.0/8)", []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, text string, frame []byte) {
		if c, err := Compile(text, resolve); err == nil {
			c.Match(frame)
		}
	})
}

func frame6(proto byte, src, dst string, srcPort, dstPort uint16, extension ...byte) []byte {
	b := make([]byte, 14+40, 14+40+60)
	binary.BigEndian.PutUint16(b[12:], etherTypeIPv6)
	b[14], b[20] = 0x60, proto
	if len(extension) > 0 {
		b[20] = 60
	}
	copy(b[22:], netip.MustParseAddr(src).AsSlice())
	copy(b[38:], netip.MustParseAddr(dst).AsSlice())
	b = append(b, extension...)
	b = binary.BigEndian.AppendUint16(b, srcPort)
	b = binary.BigEndian.AppendUint16(b, dstPort)
	return append(b, make([]byte, 16)...)
}

func TestMatchIPv6(t *testing.T) {
	web := frame6(protoTCP, "fd00::1", "fd00::2", 40000, 80)
	behind := frame6(protoTCP, "fd00::1", "fd00::2", 40000, 80, protoTCP, 0, 1, 4, 0, 0, 0, 0)
	asks := frame6(protoICMPv6, "fe80::1", "ff02::1:ff00:2", 0x8700, 0)
	old := frame(protoTCP, client, server, 40000, 80)
	for _, c := range []struct {
		filter  string
		yes, no [][]byte
	}{
		{"ip6", [][]byte{web, asks}, [][]byte{old}},
		{"ip", [][]byte{old}, [][]byte{web}},
		{"tcp", [][]byte{web, behind, old}, [][]byte{asks}},
		{"icmp6", [][]byte{asks}, [][]byte{web}},
		{"icmp", nil, [][]byte{asks}},
		{"ip6 port 80", [][]byte{web, behind}, [][]byte{old, asks}},
		{"host fd00::2", [][]byte{web}, [][]byte{asks, old}},
		{"src net fe80::/10", [][]byte{asks}, [][]byte{web}},
	} {
		f, err := Compile(c.filter, resolve)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range c.yes {
			if !f.Match(b) {
				t.Errorf("%q does not match %x", c.filter, b)
			}
		}
		for _, b := range c.no {
			if f.Match(b) {
				t.Errorf("%q matches %x", c.filter, b)
			}
		}
	}
}
