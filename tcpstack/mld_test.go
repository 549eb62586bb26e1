package tcpstack

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

const (
	toMLD   = "to 33:33:00:00:00:16: "
	ownNode = "ff02::1:ff00:1"
)

// A host that makes its addresses joins their group before it checks them: RFC 4862 5.4.2: "Before sending a Neighbor
// Solicitation, an interface MUST join the all-nodes multicast address and the solicited-node multicast address of the
// tentative address." Each report comes twice, and anew once there is an address to send it from.
func TestMLDOfSLAACHost(t *testing.T) {
	x := newIPBench(t, Config{SLAAC: true, MLD: true}, 0, "10.0.0.1/24")
	x.skipTo(sim.Second + 2)
	x.want(0, toMLD+":: > ff02::16 hlim 1 router-alert mld joined "+ownNode)
	x.want(0, "to 33:33:ff:00:00:01: :: > "+ownNode+" hlim 255 ns "+linkLocal0)
	x.skipTo(sim.Second)
	x.want(0, toMLD+":: > ff02::16 hlim 1 router-alert mld joined "+ownNode)
	x.skipTo(sim.Second)
	x.want(0, toMLD+linkLocal0+" > ff02::16 hlim 1 router-alert mld joined "+ownNode)
	x.want(0, "to 33:33:00:00:00:02: "+linkLocal0+" > ff02::2 hlim 255 rs")
	x.skipTo(sim.Second)
	x.want(0, toMLD+linkLocal0+" > ff02::16 hlim 1 router-alert mld joined "+ownNode)
	x.wantCount("mld.reports_sent", 4)
	x.wantIdle()
	x.s.Shutdown()
	x.out, x.from = nil, nil
}

// An address that somebody else has leaves its group again.
func TestMLDLeaves(t *testing.T) {
	x := newIPBench(t, Config{SLAAC: true, MLD: true}, 0, "10.0.0.1/24")
	x.skipTo(sim.Second + 2)
	x.out, x.from = nil, nil
	x.sendGroup(0, neighbor6("::", ownNode, wire.Neighbor{Type: wire.ICMPv6NeighSolicit, Target: LinkLocal(x.ifcs[0].cfg.MAC)}))
	x.wantAddresses(0, linkLocal0+"/64 duplicate")
	x.skipTo(sim.Second)
	x.want(0, toMLD+":: > ff02::16 hlim 1 router-alert mld left "+ownNode)
	x.skipTo(sim.Second + 2)
	x.want(0, toMLD+":: > ff02::16 hlim 1 router-alert mld left "+ownNode)
	x.advance(10 * sim.Second)
	x.wantIdle()
}

// mldQuery is a query as a multicast router sends it.
func mldQuery(src, dst, group string, maxDelay uint16, mod ...func(*wire.IPv6)) []byte {
	b := make([]byte, wire.MLDv2QueryLen)
	b[0] = wire.ICMPv6MLDQuery
	binary.BigEndian.PutUint16(b[4:], maxDelay)
	if group != "" {
		g := netip.MustParseAddr(group).As16()
		copy(b[8:], g[:])
	}
	b = sum6(src, dst, wire.ProtoICMPv6, b, wire.ICMPOffChecksum)
	return ipv6(src, dst, wire.ProtoHopByHop, append(wire.RouterAlert[:len(wire.RouterAlert):len(wire.RouterAlert)], b...),
		append([]func(*wire.IPv6){hops(1)}, mod...)...)
}

// RFC 3810 6.2: a query is answered within the time that it leaves, with the groups that it asks for; many at once with one
// answer. One that has come from elsewhere, or that nobody reports to, is not.
func TestMLDQuery(t *testing.T) {
	for _, c := range []struct {
		name  string
		mld   bool
		query []byte
		times int
		want  string
	}{
		{"general", true, mldQuery(station0, "ff02::1", "", 1000), 1, "is ff02::2 is " + ownNode},
		{"a thousand", true, mldQuery(station0, "ff02::1", "", 1000), 1000, "is ff02::2 is " + ownNode},
		{"of a group", true, mldQuery(station0, ownNode, ownNode, 1000), 1, "is " + ownNode},
		{"of another group", true, mldQuery(station0, "ff02::1", "ff02::1:ff00:77", 1000), 1, ""},
		{"after a longer time: (5 | 0x1000) << 3 ms", true, mldQuery(station0, "ff02::1", "", 1<<15|5), 1, "is ff02::2 is " + ownNode},
		{"from another link", true, mldQuery(station0, "ff02::1", "", 1000, hops(2)), 1, ""},
		{"of no link-local address", true, mldQuery(them6, "ff02::1", "", 1000), 1, ""},
		{"switched off", false, mldQuery(station0, "ff02::1", "", 1000), 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newIPBench(t, Config{Forwarding: true, RouterAdvertisements: true, MLD: c.mld}, 0, us6+"/64")
			settle := func() {
				x.advance(30 * sim.Second)
				x.out, x.from = nil, nil
			}
			settle()
			for range c.times {
				x.sendGroup(0, c.query)
			}
			x.wantCount("mld.queries_received", uint64(c.times))
			sent := x.counted("mld.reports_sent")
			x.advance(33 * sim.Second)
			var reports []string
			for _, b := range x.out {
				if b[wire.EthernetLen+wire.IPv6OffNextHeader] == uint8(wire.ProtoHopByHop) {
					reports = append(reports, summarise(b))
				}
			}
			x.out, x.from = nil, nil
			switch want := toMLD + linkLocal0 + " > ff02::16 hlim 1 router-alert mld " + c.want; {
			case c.want == "" && len(reports) > 0, c.want != "" && (len(reports) != 1 || reports[0] != want):
				t.Errorf("%q, want %q", reports, want)
			}
			if n := x.counted("mld.reports_sent") - sent; int(n) != len(reports) {
				t.Errorf("%d reports are counted", n)
			}
		})
	}
}

// A router hears what hosts report, and counts it.
func TestMLDReportReceived(t *testing.T) {
	x := newIPBench(t, Config{Forwarding: true, RouterAdvertisements: true, MLD: true}, 0, us6+"/64")
	b := make([]byte, wire.MLDReportLen+wire.MLDRecordLen)
	wire.PutMLDReport(b, []wire.MLDRecord{{Type: wire.MLDChangeToExclude, Group: netip.MustParseAddr("ff02::1:ff00:77")}})
	x.sendGroup(0, ipv6(station0, "ff02::16", wire.ProtoHopByHop,
		append(wire.RouterAlert[:len(wire.RouterAlert):len(wire.RouterAlert)], sum6(station0, "ff02::16", wire.ProtoICMPv6, b, wire.ICMPOffChecksum)...), hops(1)))
	x.wantCount("mld.reports_received", 1)
	x.out, x.from = nil, nil
}
