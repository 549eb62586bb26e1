// Package tcpstack is a host's or router's TCP/IP stack: IPv4 with ARP, ICMP, UDP and TCP. It is pure: frames and time
// come in, frames go out, timers run on the loop it is given. It never blocks, starts nothing, and has one owner: the
// loop of its node.
package tcpstack

import (
	"errors"
	"fmt"
	"net/netip"

	"labd.dev/sim"
)

// ChecksumMode says when checksums are computed.
type ChecksumMode uint8

const (
	// ChecksumsLazy leaves the checksums of frames that a stack made, and nothing has changed since, to FillChecksums:
	// they are computed where somebody can see the bytes. All stacks of a lab have the same mode.
	ChecksumsLazy ChecksumMode = iota
	// ChecksumsAlways makes every sender compute and every receiver verify, over the actual bytes.
	ChecksumsAlways
)

// Config configures a Stack. Zero fields mean the defaults, which are Linux's where one is named.
type Config struct {
	Name       string // the node's name; names the random streams
	Forwarding bool   // a router: datagrams for others go on (net.ipv4.ip_forward)
	TTL        uint8  // of what the stack originates; 0: 64 (net.ipv4.ip_default_ttl)
	Checksums  ChecksumMode

	ARPTimeout        sim.Time // how long a neighbour is believed without a new answer; 0: 30 s (Linux: base_reachable_time_ms)
	ARPRetry          sim.Time // between two requests; 0: 1 s (net.ipv4.neigh.default.retrans_time_ms)
	IgnoreRedirects   bool     // routers' word of a better first hop is not taken (net.ipv4.conf.all.accept_redirects=0)
	NoRedirects       bool     // a router says no such word (net.ipv4.conf.all.send_redirects=0)
	AcceptSourceRoute bool     // IPv4 datagrams with source routes are taken, and by routers sent on; else dropped (net.ipv4.conf.all.accept_source_route)
	ReassemblyTimeout sim.Time // for the fragments of a datagram; 0: 30 s (net.ipv4.ipfrag_time)

	// IPv6 is on with a link-local address on each interface, made of its MAC address. By itself it sends nothing
	// unasked: addresses that are configured are taken to be unique, as a lab's are.
	DisableIPv6          bool     // net.ipv6.conf.all.disable_ipv6
	SLAAC                bool     // a host: address and router come from advertisements, after duplicate address detection (RFC 4862)
	RouterAdvertisements bool     // a router: advertises itself and its networks (RFC 4861 6.2)
	RAInterval           sim.Time // between advertisements at most; 0: 600 s (RFC 4861 6.2.1, MaxRtrAdvInterval)
	MLD                  bool     // with either of these two: groups are joined by multicast listener discovery (RFC 3810), as by Linux
	DADTransmits         uint8    // probes before SLAAC uses an address; 0: 1 (net.ipv6.conf.default.dad_transmits)

	Seed uint64    // the lab's; streams are named after Name and the boot count
	TCP  TCPConfig // what connections use unless they say otherwise
}

// withDefaults fills the zero fields and refuses what makes no sense.
func (c Config) withDefaults() (Config, error) {
	if c.TTL == 0 {
		c.TTL = 64
	}
	if c.ARPTimeout == 0 {
		c.ARPTimeout = 30 * sim.Second
	}
	if c.ARPRetry == 0 {
		c.ARPRetry = sim.Second
	}
	if c.ReassemblyTimeout == 0 {
		c.ReassemblyTimeout = 30 * sim.Second
	}
	if c.RAInterval == 0 {
		c.RAInterval = 600 * sim.Second
	}
	if c.DADTransmits == 0 {
		c.DADTransmits = 1
	}
	if c.RAInterval < minRAInterval {
		return c, fmt.Errorf("tcpstack: router advertisements every %v; at least 4 s lie between them", c.RAInterval)
	}
	if c.ARPTimeout < 0 || c.ARPRetry < 0 || c.ReassemblyTimeout < 0 {
		return c, errors.New("tcpstack: negative timeout")
	}
	if c.Checksums > ChecksumsAlways {
		return c, fmt.Errorf("tcpstack: no checksum mode %d", c.Checksums)
	}
	return c, nil
}

// Errors of the IP side that a caller may branch on.
var (
	ErrNoRoute        = errors.New("tcpstack: no route to host")
	ErrBadAddress     = errors.New("tcpstack: not an address this stack can use")
	ErrAddrInUse      = errors.New("tcpstack: address already in use")
	ErrNoPorts        = errors.New("tcpstack: no free ephemeral port")
	ErrMessageTooLong = errors.New("tcpstack: message too long")
	ErrStopped        = errors.New("tcpstack: stack or socket is closed")
)

// Stack is one node's protocol stack, from one boot to its shutdown.
type Stack struct {
	// What each packet needs comes first, to lie in few cache lines: in a lab of thousands of nodes all are cold.

	loop     *sim.Loop
	id       *sim.Identity
	addrs    []uint32  // own addresses, without 127.0.0.0/8
	ownAddrs [2]uint32 // where addrs begins
	gen      uint32    // of everything that a cached route depends on
	ipID     uint16    // of the last datagram that was given one
	stopped  bool

	flowKey  uint64
	taps     []*Tap
	forwards forwardCache[uint32]
	lo       loopback
	cfg      Config
	cache    [routeSlots]*route

	count [numCounters]uint64
	tcp   tcpState
	drops [numDropReasons]uint64

	name       string       // "node NAME boot N", what the streams' names begin with
	ifcs       []*Interface // in order of AddInterface
	made       int          // interfaces so far
	routes     []tableEntry // longest prefix first
	router     Router
	neighbours []*neighbour // all interfaces', in no order that matters
	frags      reassembly
	icmpLimit  errorLimit
	six        state6
	redirects  redirects
	udp        map[uint16]*UDPSocket  // by local port, chained
	echo       map[uint16]*EchoSocket // by identifier
	ports      ephemeralPorts
}

// New makes a stack without interfaces, but for its loopback. id.Boots must already count this boot: it names the
// streams.
func New(loop *sim.Loop, id *sim.Identity, cfg Config) (*Stack, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Stack{loop: loop, id: id, cfg: cfg, gen: 1, udp: make(map[uint16]*UDPSocket), echo: make(map[uint16]*EchoSocket)}
	s.addrs = s.ownAddrs[:0]
	s.name = fmt.Sprintf("node %s boot %d", cfg.Name, id.Boots)
	s.lo.init(s)
	s.frags.init(s)
	s.flowKey = s.stream("flow").Uint64(0)
	s.six.init(s)
	s.redirects.init(s)
	s.ipID = uint16(s.stream("ip id").Uint64(0))
	s.ports.init(s.stream("ports"))
	if err := s.tcpInit(); err != nil {
		return nil, err
	}
	return s, nil
}

// stream is the stack's dice for one purpose; a rebooted node rolls others.
func (s *Stack) stream(purpose string) sim.Stream {
	return sim.NewStream(s.cfg.Seed, s.name+" "+purpose)
}

// Now is the lab time.
func (s *Stack) Now() sim.Time { return s.loop.Now() }

// Shutdown is the node's crash: timers stop, every frame and chunk is released, no packet is sent, nothing is called
// back. The stack is of no further use.
func (s *Stack) Shutdown() {
	if s.stopped {
		return
	}
	s.stopped = true
	s.tcpShutdown()
	s.lo.release()
	s.frags.release()
	for _, n := range s.neighbours {
		n.release()
	}
	s.redirects.forgetAll()
	for _, i := range s.ifcs {
		i.stopIPv6()
	}
}

// ICMPError is an ICMP error that concerns something this stack sent, or the stack's own finding of the same kind (no
// neighbour answered, no route).
type ICMPError struct {
	Type, Code uint8          // ICMPv4's; an ICMPv6 error is told in its terms (RFC 7915 5.2)
	Six        bool           // it came over IPv6, as
	Type6      uint8          // this type
	Code6      uint8          // and this code
	From       netip.Addr     // who says so; this stack's own address where it found out itself
	To         netip.AddrPort // where the packet was going
	MTU        int            // of the next hop (fragmentation needed), else 0
}
