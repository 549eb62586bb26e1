package tcpstack

import (
	"fmt"
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

const (
	// DefaultMTU is the largest IP datagram of an interface that names none: Ethernet's.
	DefaultMTU = 1500
	// MinMTU is the least MTU of an interface. RFC 791 3.2: "Every internet module must be able to forward a datagram of
	// 68 octets without further fragmentation."
	MinMTU = 68
	// MaxMTU is the longest IPv4 datagram.
	MaxMTU = 65535
)

// InterfaceConfig describes an interface to AddInterface.
type InterfaceConfig struct {
	MAC    wire.MAC
	MTU    int          // largest IP datagram, bytes; 0: DefaultMTU
	Name   string       // "eth0"
	Prefix netip.Prefix // the interface's own IPv4 address and its network's length; zero: no IPv4

	Prefixes6 []netip.Prefix // IPv6 addresses beside the link-local one, which is made of MAC
}

// Interface joins the stack to one link.
type Interface struct {
	// What each frame needs lies in the first cache line, cfg's MAC included; the size is three of them.

	stack *Stack
	tx    Device
	mtu   int
	addr  uint32
	mask  uint32
	six   *interface6 // nil: no IPv6
	cfg   InterfaceConfig

	index      int // in order of AddInterface, from 0; -1: the loopback
	neighbours map[ipAddr]*neighbour

	_ [40]byte
}

// Name is the interface's name.
func (i *Interface) Name() string { return i.cfg.Name }

// Addr is the interface's own address.
func (i *Interface) Addr() netip.Addr { return i.cfg.Prefix.Addr() }

// MAC is the interface's hardware address.
func (i *Interface) MAC() wire.MAC { return i.cfg.MAC }

// MTU is the largest IP datagram that the interface sends, bytes.
func (i *Interface) MTU() int { return i.mtu }

// Device is the link that an interface sends to. It takes ownership of each complete Ethernet frame it is handed.
type Device interface{ Transmit(*sim.Frame) }

// DeviceFunc makes a Device of a function.
type DeviceFunc func(*sim.Frame)

// Transmit implements Device.
func (fn DeviceFunc) Transmit(f *sim.Frame) { fn(f) }

// Receive takes a frame that arrived on the link, Ethernet header first, and owns it.
func (i *Interface) Receive(f *sim.Frame) { i.stack.Receive(i, f) }

// AddInterface attaches an interface to a function.
func (s *Stack) AddInterface(ic InterfaceConfig, tx func(*sim.Frame)) *Interface {
	return s.Attach(ic, DeviceFunc(tx))
}

// Attach adds an interface to a link. The configuration has been validated with the lab's: an address of the other version
// or an impossible MTU panics.
func (s *Stack) Attach(ic InterfaceConfig, tx Device) *Interface {
	if ic.MTU == 0 {
		ic.MTU = DefaultMTU
	}
	if ic.Prefix.IsValid() && !ic.Prefix.Addr().Is4() || ic.MTU < MinMTU || ic.MTU > MaxMTU {
		panic(fmt.Sprintf("tcpstack: interface %s of %s: prefix %v, MTU %d", ic.Name, s.cfg.Name, ic.Prefix, ic.MTU))
	}
	i := &Interface{stack: s, cfg: ic, index: s.made, tx: tx, neighbours: make(map[ipAddr]*neighbour)}
	s.made++
	s.ifcs = append(s.ifcs, i)
	i.configure(ic)
	if !s.cfg.DisableIPv6 {
		i.startIPv6()
	}
	s.listAddrs()
	return i
}

// configure takes over an address, if there is one, and an MTU.
func (i *Interface) configure(ic InterfaceConfig) {
	i.cfg, i.mtu = ic, ic.MTU
	i.addr, i.mask = 0, prefixMask(32)
	if ic.Prefix.IsValid() {
		i.addr, i.mask = num4(ic.Prefix.Addr()), prefixMask(ic.Prefix.Bits())
	}
}

// onLink reports whether a is another station's address in the interface's network.
func (i *Interface) onLink(a uint32) bool {
	return (a^i.addr)&i.mask == 0 && a != i.addr && !i.isBroadcast(a)
}

// isBroadcast reports whether a addresses every station of the interface's network. RFC 3021 2.1: a 31-bit prefix has no
// broadcast addresses.
func (i *Interface) isBroadcast(a uint32) bool {
	host := ^i.mask
	return host > 1 && (a^i.addr)&i.mask == 0 && (a&host == host || a&host == 0)
}

// prefixMask is the mask of a prefix length of 0 to 32.
func prefixMask(bits int) uint32 { return uint32(0xffffffff << (32 - uint(bits))) }

// loopbackQueue bounds the datagrams on their way to the stack itself (Linux: net.core.netdev_max_backlog).
const loopbackQueue = 1000

// loopback is the way from the stack to itself. Nothing arrives at the instant it is sent: a datagram takes 1 ns.
type loopback struct {
	ifc   *Interface
	queue []looped
	timer sim.Timer
}

type looped struct {
	at sim.Time
	f  *sim.Frame
}

// init makes the loopback interface, 127.0.0.1/8, which is not in the stack's list.
func (l *loopback) init(s *Stack) {
	l.ifc = &Interface{stack: s, index: -1, addr: 127<<24 | 1, mask: prefixMask(8), mtu: MaxMTU,
		cfg: InterfaceConfig{Name: "lo", Prefix: netip.PrefixFrom(addr4(127<<24|1), 8), MTU: MaxMTU}}
	l.timer.H = l
}

// push sends a datagram, IP header first.
func (l *loopback) push(f *sim.Frame) {
	s := l.ifc.stack
	if len(l.queue) == loopbackQueue {
		s.drop(f, dropLoopbackQueue)
		return
	}
	at := s.loop.Now() + 1
	l.queue = append(l.queue, looped{at, f})
	if !l.timer.Armed() {
		s.loop.Arm(&l.timer, &s.id.Src, at)
	}
}

// Fire delivers what has arrived. What that makes the stack send to itself arrives later.
func (l *loopback) Fire(now sim.Time) {
	s := l.ifc.stack
	for len(l.queue) > 0 && l.queue[0].at <= now && !s.stopped {
		f := l.queue[0].f
		l.queue = l.queue[:copy(l.queue, l.queue[1:])]
		if f.Header()[0]>>4 == 6 {
			s.ipv6Input(l.ifc, f, false)
		} else {
			s.ipv4Input(l.ifc, f, false)
		}
	}
	if len(l.queue) > 0 && !s.stopped && !l.timer.Armed() {
		s.loop.Arm(&l.timer, &s.id.Src, l.queue[0].at)
	}
}

// release is the crash of the node.
func (l *loopback) release() {
	l.ifc.stack.loop.Stop(&l.timer)
	for _, e := range l.queue {
		e.f.Release()
	}
	l.queue = nil
}

// SetMTU changes the largest IP datagram that the interface sends, bytes; routes are looked up anew.
func (i *Interface) SetMTU(mtu int) {
	i.cfg.MTU, i.mtu = mtu, mtu
	i.stack.gen++
}
