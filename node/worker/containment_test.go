package worker

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	labv1 "labd.dev/proto/lab/v1"
)

// outside is what of the machine a packet could reach: a TCP and a UDP socket at one address.
type outside struct {
	t   *testing.T
	tcp net.Listener
	udp net.PacketConn
}

// openOutside listens on loopback and at each address of the machine, as a labd and its neighbours do.
func openOutside(t *testing.T) []*outside {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	var all []*outside
	for _, a := range addrs {
		ip, ok := a.(*net.IPNet)
		if !ok || ip.IP.To4() == nil {
			continue
		}
		o := &outside{t: t}
		if o.tcp, err = net.Listen("tcp4", net.JoinHostPort(ip.IP.String(), "0")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.tcp.Close() })
		if o.udp, err = net.ListenPacket("udp4", net.JoinHostPort(ip.IP.String(), "0")); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { o.udp.Close() })
		all = append(all, o)
	}
	if len(all) == 0 {
		t.Fatal("this machine has no address, not even loopback")
	}
	return all
}

// wantUntouched holds the sockets to what the test itself sends there now: whatever came before would be the first to come out.
func (o *outside) wantUntouched() {
	o.t.Helper()
	conn, err := net.Dial("tcp4", o.tcp.Addr().String())
	if err != nil {
		o.t.Fatal(err)
	}
	defer conn.Close()
	first, err := o.tcp.Accept()
	if err != nil {
		o.t.Fatal(err)
	}
	defer first.Close()
	if first.RemoteAddr().String() != conn.LocalAddr().String() {
		o.t.Errorf("a connection from %v reached the machine at %v", first.RemoteAddr(), o.tcp.Addr())
	}
	if _, err := o.udp.WriteTo([]byte("the test"), o.udp.LocalAddr()); err != nil {
		o.t.Fatal(err)
	}
	b := make([]byte, 2000)
	n, from, err := o.udp.ReadFrom(b)
	if err != nil {
		o.t.Fatal(err)
	}
	if string(b[:n]) != "the test" {
		o.t.Errorf("a datagram of %d bytes from %v reached the machine at %v", n, from, o.udp.LocalAddr())
	}
}

// sockets are those of this process, where the system lists them in /proc.
func sockets() map[string]bool {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	open := map[string]bool{}
	for _, f := range files {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			open[to] = true
		}
	}
	return open
}

func crafted(count uint32, fields ...string) *labv1.RawPacket {
	p := &labv1.RawPacket{Count: count}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		p.Fields = append(p.Fields, &labv1.RawField{Name: name, Value: value})
	}
	return p
}

// attacks are packets at an address outside of the lab: a flood, spoofed ones, pieces of fragments, a forged reset.
func attacks(at netip.Addr, tcp, udp uint16) []*labv1.RawPacket {
	to, sport := "ip.dst="+at.String(), "tcp.sport=rand"
	dport, udpPort := fmt.Sprintf("tcp.dport=%d", tcp), fmt.Sprintf("udp.dport=%d", udp)
	return []*labv1.RawPacket{
		crafted(500, to, sport, dport, "tcp.flags=S", "tcp.seq=rand"),
		crafted(500, to, "udp.sport=rand", udpPort, "data=attack"),
		crafted(50, to, "ip.src="+at.String(), sport, dport, "tcp.flags=S", "tcp.seq=rand"),
		crafted(50, to, "ip.src=127.0.0.1", "udp.sport=53", udpPort, "data=attack"),
		crafted(50, to, "ip.src=10.0.0.0/24", sport, dport, "tcp.flags=R", "tcp.seq=rand"),
		crafted(500, to, "ip.id=rand", "ip.mf=1", "ip.offset=1", "ip.proto=17", "size=1000"),
		crafted(50, to, "icmp.type=8", "size=1400"),
	}
}

func portOf(a net.Addr) uint16 { return netip.MustParseAddrPort(a.String()).Port() }

// No packet of a lab reaches the machine, or another lab, whatever it is and wherever it says that it goes: a lab has no
// edge to the outside. The other lab's addresses are those of the first, and more.
func TestPacketsStayInTheLab(t *testing.T) {
	machine := openOutside(t)
	b := newBench(t)
	bad := b.start(standing("bad", labv1.Clock_CLOCK_VIRTUAL))
	req := standing("other", labv1.Clock_CLOCK_VIRTUAL)
	for i := range 8 {
		name := fmt.Sprintf("more%d", i)
		req.Spec.Nodes = append(req.Spec.Nodes, host(name))
		req.Spec.Links = append(req.Spec.Links, joined("r2", name, &labv1.DirectionSpec{RateBps: 100e6}))
	}
	other := b.start(req)
	b.input("other", transfer("", 300_000))
	then := b.until("other", "the transfer's end", settled).Progress.NowNs
	before := sockets()

	send := func(from string, packets []*labv1.RawPacket) {
		t.Helper()
		b.input("bad", &labv1.Input{Kind: &labv1.Input_Send{Send: &labv1.RawSend{From: from, Packets: packets}}})
	}
	for _, o := range machine {
		at := netip.MustParseAddrPort(o.tcp.Addr().String())
		for _, from := range []string{"client", "r1"} {
			send(from, attacks(at.Addr(), at.Port(), portOf(o.udp.LocalAddr())))
		}
	}
	for i := range 48 { // of the other lab, beyond what this one has
		send("client", attacks(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 5001, 5001)[2:5])
	}
	for _, to := range []string{"255.255.255.255", "224.0.0.1", "0.0.0.0"} {
		send("client", attacks(netip.MustParseAddr(to), 5001, 5001)[:2])
	}
	r := b.until("bad", "the attacks' end", settled)
	if want := 2*len(machine) + 48 + 3; len(r.Execs) != want {
		t.Errorf("%d attacks were made, want %d", len(r.Execs), want)
	}
	for _, e := range r.Execs {
		if last := e.Lines[len(e.Lines)-1]; !strings.HasSuffix(last, "packets sent") {
			t.Errorf("%s: %q: it was no attack", e.Command, last)
		}
	}
	if bad.err != nil {
		t.Errorf("the attacking lab: %v", bad.err)
	}

	for socket := range sockets() {
		if !before[socket] {
			t.Errorf("%s was opened", socket)
		}
	}
	for _, o := range machine {
		o.wantUntouched()
	}
	if now := b.get("other").Progress.NowNs; now != then {
		t.Errorf("the other lab, which nobody has given anything, went on from %d to %d", then, now)
	}
	b.input("other", transfer("", 300_000))
	for _, tr := range b.until("other", "the transfers' end", settled).Transfers {
		if !tr.Match {
			t.Errorf("the other lab: %v", tr)
		}
	}
	undisturbed(b, other)
}
