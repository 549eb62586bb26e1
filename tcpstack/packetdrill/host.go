package packetdrill

import (
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack"
	"labd.dev/tcpstack/wire"
)

// burstShare is tcp_tso_win_divisor: the original's host has its segments cut behind TCP, so that bursts wait.
const burstShare = 3

// bootTime is the lab time at which a script's time begins: as on a host that has
// been up for a while, nothing in the stack happened at time 0.
const bootTime = 100 * sim.Second

// The link's two stations. The peer's answers for every address beyond it.
var (
	hostMAC = wire.MAC{2, 0, 0, 0, 0, 1}
	peerMAC = wire.MAC{2, 0, 0, 0, 0, 2}
)

// hostOrigin names the stack's events in the loop; the script's own are inputs,
// which come first at their instant.
const hostOrigin = 1

// newHost makes the machine under test: a stack with one interface, whose
// neighbour is known, so that no packet waits for ARP. tx takes what it sends, as
// the bytes of an Ethernet frame.
func newHost(g *settings, o Options, tx func(frame []byte)) (*host, error) {
	h := &host{loop: sim.NewLoop(sim.LoopConfig{Name: "packetdrill", Budget: budget}), family: g.family, tolerance: g.tolerance,
		bind: netip.AddrPortFrom(g.local, g.bindPort), dial: netip.AddrPortFrom(g.remote, g.connectPort),
		config: tcpstack.Config{Name: "packetdrill", Checksums: tcpstack.ChecksumsAlways, TCP: o.TCP}}
	if h.config.TCP.BurstShare == nil && o.TCP.Personality != "freebsd" {
		h.config.TCP.BurstShare = new(uint32(burstShare))
	}
	if err := h.loop.RunBefore(bootTime); err != nil {
		return nil, err
	}
	var err error
	h.stack, err = tcpstack.New(h.loop, &sim.Identity{Src: sim.Source{ID: hostOrigin}, Name: "packetdrill", Boots: 1}, h.config)
	if err != nil {
		return nil, err
	}
	ic := tcpstack.InterfaceConfig{Name: "tun0", MAC: hostMAC, MTU: g.mtu}
	anywhere := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	if own := netip.PrefixFrom(g.local, g.netmask); g.family == familyIPv6 {
		ic.Prefixes6 = []netip.Prefix{own}
		anywhere = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	} else {
		ic.Prefix = own
	}
	h.iface = h.stack.AddInterface(ic, func(f *sim.Frame) {
		tcpstack.FillChecksums(f)
		tx(append(append([]byte(nil), f.Header()...), f.Payload...))
		f.Release()
	})
	h.stack.SetRoutes([]tcpstack.Route{{Dst: anywhere, Via: g.gateway, Ifc: h.iface}})
	h.iface.SetNeighbour(g.gateway, peerMAC)
	if netip.PrefixFrom(g.local, g.netmask).Masked().Contains(g.remote) {
		h.iface.SetNeighbour(g.remote, peerMAC)
	}
	return h, nil
}

// inject lets an IP datagram from the peer arrive.
func (h *host) inject(ip []byte) {
	h.syns.note(ip)
	f := h.loop.NewFrame()
	b := f.Append(wire.EthernetLen)
	typ := wire.EtherTypeIPv4
	if ip[0]>>4 == 6 {
		typ = etherTypeIPv6
	}
	wire.Ethernet{Dst: hostMAC, Src: peerMAC, Type: typ}.Put(b)
	n := min(len(ip), headerBytes(ip))
	copy(f.Append(n), ip)
	if n < len(ip) {
		c := h.loop.NewChunk(len(ip) - n)
		copy(c.Data, ip[n:])
		f.SetPayload(c, 0, len(c.Data))
		c.Release()
	}
	h.stack.Receive(h.iface, f)
	h.arrived()
}
