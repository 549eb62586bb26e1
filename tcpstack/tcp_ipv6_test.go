package tcpstack

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// TCP is the same over IPv6, but for its headers: RFC 9293 3.7.1's MSS is 60 bytes below the MTU, RFC 6437's flow label is
// that of the flow in every segment, and RFC 4861 7.3.1 hears of its progress.
func TestTCPOverIPv6(t *testing.T) {
	for _, mode := range []ChecksumMode{ChecksumsLazy, ChecksumsAlways} {
		t.Run(fmt.Sprint(mode), func(t *testing.T) {
			p := newTCPPair(t, [2]Config{{Checksums: mode}, {Checksums: mode}}, sim.Millisecond)
			p.useIPv6()
			labels := map[uint32]int{}
			longest := 0
			p.pipe[0].fate = func(_ uint64, f *sim.Frame) (bool, sim.Time, int) {
				if h := f.Header()[wire.EthernetLen:]; h[wire.IPv6OffNextHeader] == uint8(wire.ProtoTCP) {
					labels[be32(h)&wire.IPv6FlowLabelMask]++
					longest = max(longest, f.Len()-wire.EthernetLen)
				}
				return false, 0, 0
			}
			data := pattern(2_000_000, 1)
			a, b := &peer{t: t, out: data, closeOut: true}, &peer{t: t, closeEOF: true}
			p.connect(TCPConfig{}, a, b)
			p.run(30 * sim.Second)
			if !bytes.Equal(b.in.Bytes(), data) || !a.closed || a.err != nil {
				t.Fatalf("%d of %d bytes came; %v", b.in.Len(), len(data), a.heard)
			}
			if a.c.peerMSS != 1440 || longest != 1500 || len(labels) != 1 || labels[0] != 0 {
				t.Errorf("the MSS is %d, the longest packet %d, flow labels %v", a.c.peerMSS, longest, labels)
			}
			if got := a.c.RemoteAddr(); got != netip.AddrPortFrom(addrs6[1], 80) {
				t.Errorf("the peer is %v", got)
			}
			p.teardown()
		})
	}
}

// RFC 9293 3.9.2.2 over IPv6: nobody has the port, nobody has the address, there is no way.
func TestTCPRefusedOverIPv6(t *testing.T) {
	p := newTCPPair(t, [2]Config{}, sim.Millisecond)
	p.useIPv6()
	for _, c := range []struct {
		to   string
		want error
	}{{"[fd00::2]:81", ErrRefused}, {"[fd00::9]:80", ErrUnreachable}} {
		a := &peer{t: t}
		if _, err := p.stack[0].Dial(netip.AddrPort{}, netip.MustParseAddrPort(c.to), TCPConfig{}, a); err != nil {
			t.Fatal(err)
		}
		p.run(4 * sim.Second)
		if !a.closed || !errors.Is(a.err, c.want) {
			t.Errorf("to %s: %v", c.to, a.heard)
		}
	}
	if _, err := p.stack[0].Dial(netip.AddrPort{}, netip.MustParseAddrPort("[fd01::9]:80"), TCPConfig{}, &peer{t: t}); err != ErrNoRoute {
		t.Errorf("no way: %v", err)
	}
	p.teardown()
}

// A listener of the IPv6 address does not hear IPv4; one of all addresses hears both.
func TestListenOnOneVersion(t *testing.T) {
	p := newTCPPair(t, [2]Config{}, sim.Millisecond)
	if _, err := p.stack[1].Listen(netip.AddrPortFrom(addrs6[1], 80), TCPConfig{}, func(*Conn) ConnHandler { return &peer{t: t} }); err != nil {
		t.Fatal(err)
	}
	for i, to := range []netip.Addr{p.addr[1], addrs6[1]} {
		a := &peer{t: t}
		c, err := p.stack[0].Dial(netip.AddrPort{}, netip.AddrPortFrom(to, 80), TCPConfig{}, a)
		if err != nil {
			t.Fatal(err)
		}
		p.run(sim.Second)
		if up := c.State() == StateEstablished; up != (i == 1) {
			t.Errorf("to %v: %v", to, a.heard)
		}
	}
	p.teardown()
}

// RFC 8201: a Packet Too Big that quotes a segment in flight makes what follows fit the path; one that quotes another
// sequence number does not (RFC 5927 4.1).
func TestTCPPathMTUOverIPv6(t *testing.T) {
	for _, forged := range []bool{false, true} {
		p := newTCPPair(t, [2]Config{}, sim.Millisecond)
		p.useIPv6()
		var tooBig []byte
		p.pipe[0].fate = func(_ uint64, f *sim.Frame) (bool, sim.Time, int) {
			if f.Len()-wire.EthernetLen <= 1300 {
				return false, 0, 0
			}
			quoted := append([]byte{}, f.Header()[wire.EthernetLen:]...)
			if forged {
				quoted[wire.IPv6Len+wire.TCPOffSeq] ^= 0x40
			}
			tooBig = icmp6("fd00::99", "fd00::1", wire.ICMPv6PacketTooBig, 0, 1300, string(quoted))
			return true, 0, 0
		}
		data := pattern(100_000, 1)
		a, b := &peer{t: t, out: data, closeOut: true}, &peer{t: t, closeEOF: true}
		p.connect(TCPConfig{}, a, b)
		for range 2000 {
			p.run(10 * sim.Millisecond)
			if tooBig != nil {
				x := &ipBench{loop: p.loop, cut: 14 + 48}
				p.stack[0].Receive(p.pipe[1].ifc, x.frame(ethernet(p.pipe[1].ifc.cfg.MAC, stationMAC(0), wire.EtherTypeIPv6, tooBig)))
				tooBig = nil
			}
		}
		if came := bytes.Equal(b.in.Bytes(), data); came == forged {
			t.Errorf("forged %v: %d of %d bytes came", forged, b.in.Len(), len(data))
		}
		p.pipe[0].fate = nil
		p.run(600 * sim.Second)
		p.teardown()
	}
}
