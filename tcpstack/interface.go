package tcpstack

import (
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// DefaultMTU is the largest IP datagram of an interface that names none: Ethernet's.
const DefaultMTU = 1500

// InterfaceConfig describes an interface to AddInterface.
type InterfaceConfig struct {
	Name   string // "eth0"
	MAC    wire.MAC
	Prefix netip.Prefix // the interface's own address and its network's length
	MTU    int          // largest IP datagram, bytes; 0: DefaultMTU
}

// Interface joins the stack to one link.
type Interface struct {
	stack *Stack
	cfg   InterfaceConfig
	index int
	addr  uint32
	tx    func(*sim.Frame)
}

// Name is the interface's name.
func (i *Interface) Name() string { return i.cfg.Name }

// Addr is the interface's own address.
func (i *Interface) Addr() netip.Addr { return i.cfg.Prefix.Addr() }

// MTU is the largest IP datagram that the interface sends, bytes.
func (i *Interface) MTU() int { return i.cfg.MTU }

// AddInterface adds an interface; tx takes ownership of each complete Ethernet frame it is handed.
func (s *Stack) AddInterface(ic InterfaceConfig, tx func(*sim.Frame)) *Interface {
	if ic.MTU == 0 {
		ic.MTU = DefaultMTU
	}
	i := &Interface{stack: s, cfg: ic, index: len(s.ifcs), addr: num4(ic.Prefix.Addr()), tx: tx}
	s.ifcs = append(s.ifcs, i)
	s.addrs = append(s.addrs, i.addr)
	s.gen++
	return i
}
