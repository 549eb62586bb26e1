package tcpstack

import (
	"errors"
	"net/netip"
	"testing"

	"labd.dev/tcpstack/wire"
)

// A raw packet goes by the address it is sent to, whatever it says itself: a router passes on what claims to be anybody's.
// To a group it goes at once, on the link whose address it bears (RFC 2464 7: to 33:33 and the group's last four bytes).
func TestSendRawIPv6(t *testing.T) {
	x := newIPv6Router(t, 0)
	send := func(b []byte, to string) error {
		t.Helper()
		_, err := x.s.SendRaw(b, netip.MustParseAddr(to), 0)
		return err
	}
	packet := func(src, dst string, mod ...func(*wire.IPv6)) []byte {
		return ipv6(src, dst, wire.ProtoUDP, udp6(src, dst, 1, 9, "hello"), mod...)
	}
	for _, c := range []struct {
		src, dst string
		ifc      int
		want     string
	}{
		{"2001:db8::66", "fd00:2::2", 1, "to 02:00:00:00:01:99: 2001:db8::66 > fd00:2::2 hlim 64 udp 1 > 9 len 5"},
		{"fd00:2::1", "ff02::1", 1, "to 33:33:00:00:00:01: fd00:2::1 > ff02::1 hlim 64 udp 1 > 9 len 5"},
		{linkLocal0, "ff02::2", 0, "to 33:33:00:00:00:02: fe80::ff:fe00:1 > ff02::2 hlim 64 udp 1 > 9 len 5"},
	} {
		if err := send(packet(c.src, c.dst), c.dst); err != nil {
			t.Fatalf("%s: %v", c.dst, err)
		}
		x.want(c.ifc, c.want)
	}
	x.wantCount("ip6.sent", 3)
	for _, c := range []struct {
		b    []byte
		to   string
		want error
	}{
		{packet("fd00:9::9", "ff02::1"), "ff02::1", ErrNoRoute}, // which of two links?
		{packet("fd00:1::1", "2001:db8::1"), "2001:db8::1", ErrNoRoute},
		{packet("fd00:1::1", "fd00:2::2")[:wire.IPv6Len-1], "fd00:2::2", ErrBadAddress},
		{append(packet("fd00:1::1", "fd00:2::2"), make([]byte, 1500)...), "fd00:2::2", ErrMessageTooLong},
		{append(packet("fd00:1::1", "ff02::1"), make([]byte, 1500)...), "ff02::1", ErrMessageTooLong},
	} {
		if err := send(c.b, c.to); !errors.Is(err, c.want) {
			t.Errorf("%d bytes to %s: %v, want %v", len(c.b), c.to, err, c.want)
		}
	}
	if a, ok := x.s.SourceTo(netip.MustParseAddr("fd00:2::2")); !ok || a.String() != "fd00:2::1" {
		t.Errorf("source %v, %v", a, ok)
	}
	if a, ok := x.s.SourceTo(netip.MustParseAddr("ff02::1")); ok {
		t.Errorf("source %v of what leaves on neither link", a)
	}
	one := newIPBench(t, Config{}, 0, us6+"/64")
	if a, ok := one.s.SourceTo(netip.MustParseAddr("ff02::1")); !ok || a.String() != linkLocal0 {
		t.Errorf("source of what stays on the link: %v, %v", a, ok)
	}
}
