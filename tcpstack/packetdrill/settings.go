package packetdrill

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"labd.dev/tcpstack"
	"labd.dev/tcpstack/wire"
)

// Options say how scripts are run. The zero Options are the original's defaults.
type Options struct {
	// Tolerance is how far the time of an event may lie from the script's: nil is
	// the script's --tolerance_usecs, else DefaultTolerance; 0 wants every event
	// at its microsecond.
	Tolerance *time.Duration
	// LaxPSH leaves the PSH flag of outbound data segments uncompared.
	LaxPSH bool
	// TCP is what the stack under test runs with; zero fields are Linux's
	// defaults.
	TCP tcpstack.TCPConfig
	// Defines are symbols of the script with their values (-D of the original),
	// beside the ones that the original's own test driver defines.
	Defines map[string]string
	// Lines are option lines that stand before the script's own, which win over them.
	Lines []Option
}

// ParseLine reads an option line, "mtu=1400", and says what is wrong with it.
func ParseLine(text string) (Option, error) {
	o := Option{Line: 1}
	o.Name, o.Value, o.HasValue = strings.Cut(text, "=")
	if err := new(settings).set(o); err != nil {
		return o, fmt.Errorf("%s: %w", text, err)
	}
	return o, nil
}

const (
	// DefaultTolerance is the original's --tolerance_usecs: four ticks of a
	// kernel with 1000 Hz.
	DefaultTolerance = 4 * time.Millisecond
	// tolerancePercent is the original's --tolerance_percent, which widens the
	// tolerance of events long after the one before: Linux's timer wheel may be
	// late by an eighth of a timer's time.
	tolerancePercent = 12.5
)

// settings are what the --option lines of a script and Options come to.
type settings struct {
	family           family
	local, remote    netip.Addr
	gateway          netip.Addr
	netmask          int // prefix length
	bindPort         uint16
	connectPort      uint16
	mtu              int
	tolerance        time.Duration
	percent          float64
	tsTick           time.Duration // 0: outbound timestamps are not compared
	ecrScaled        bool
	strictSegments   bool
	nonFatalPackets  bool
	nonFatalSyscalls bool
	laxPSH           bool
	initScripts      []string
}

// The addresses of the original's driver: the host under test is on a private
// network, its peer beyond a gateway in a documentation network (RFC 5737, 3849).
const (
	defaultLocal4   = "192.168.0.2"
	defaultGateway4 = "192.168.0.1"
	defaultRemote4  = "192.0.2.1"
	defaultLocal6   = "fd3d:fa7b:d17d::"
	defaultGateway6 = "fd3d:fa7b:d17d:8888::"
	defaultRemote6  = "2001:db8::1"
	defaultMask4    = 16
	defaultMask6    = 48
	defaultPort     = 8080
	ipv6MTU         = 1520 // room for the MSS of IPv4 and 1500 bytes
)

// newSettings reads the script's options. The error is a *skipError: an option
// that this host cannot do is no failure of the stack.
func newSettings(s *Script, o Options) (*settings, error) {
	g := &settings{bindPort: defaultPort, connectPort: defaultPort, mtu: tcpstack.DefaultMTU,
		tolerance: DefaultTolerance, percent: tolerancePercent, laxPSH: o.LaxPSH}
	if strings.HasSuffix(s.Name, "v6.pkt") {
		// The original's driver runs such scripts with these options.
		g.family, g.mtu = familyIPv6, ipv6MTU
	}
	for _, opt := range slices.Concat(o.Lines, s.Options) {
		if err := g.set(opt); err != nil {
			return nil, &skipError{line: opt.Line, reason: fmt.Sprintf("--%s: %v", opt.Name, err)}
		}
	}
	if o.Tolerance != nil {
		g.tolerance = *o.Tolerance
		if g.tolerance == 0 {
			g.percent = 0
		}
	}
	g.addresses()
	return g, g.checkAddresses()
}

// checkAddresses refuses addresses that a host could not have, before the stack is
// made with them.
func (g *settings) checkAddresses() error {
	six := g.family == familyIPv6
	for _, a := range []netip.Addr{g.local, g.remote, g.gateway} {
		if a.IsUnspecified() || a.IsMulticast() {
			return skipf("%v is not the address of a host", a)
		}
		if a.Is4() == six || a.Is4In6() {
			return skipf("addresses %v and %v are not of the script's --ip_version", g.local, g.remote)
		}
	}
	switch {
	case g.local == g.remote || g.local == g.gateway:
		return skipf("the host and its peer have one address, %v", g.local)
	case six && g.mtu < wire.IPv6MinMTU:
		return skipf("an MTU of %d is too small for IPv6", g.mtu)
	}
	return nil
}

// addresses fills in what the options left open.
func (g *settings) addresses() {
	local, gateway, remote, mask := defaultLocal4, defaultGateway4, defaultRemote4, defaultMask4
	if g.family == familyIPv6 {
		local, gateway, remote, mask = defaultLocal6, defaultGateway6, defaultRemote6, defaultMask6
	}
	for _, a := range []struct {
		at *netip.Addr
		by string
	}{{&g.local, local}, {&g.gateway, gateway}, {&g.remote, remote}} {
		if !a.at.IsValid() {
			*a.at = netip.MustParseAddr(a.by)
		}
	}
	if g.netmask == 0 {
		g.netmask = mask
	}
}

// set takes in one option. Options that only concern the original's machinery
// (its tun device's speed, its verbosity) have no effect.
func (g *settings) set(o Option) (err error) {
	switch o.Name {
	case "ip_version":
		return g.setFamily(o.Value)
	case "local_ip":
		g.local, err = parseIP(o.Value)
	case "remote_ip":
		g.remote, err = parseIP(o.Value)
	case "gateway_ip":
		g.gateway, err = parseIP(o.Value)
	case "netmask_ip":
		return g.setNetmask(o.Value)
	case "bind_port":
		g.bindPort, err = parsePort(o.Value)
	case "connect_port":
		g.connectPort, err = parsePort(o.Value)
	case "mtu":
		g.mtu, err = parseWithin(o.Value, tcpstack.MinMTU, tcpstack.MaxMTU)
	case "tolerance_usecs":
		var us int
		us, err = parseWithin(o.Value, 1, 1e9)
		g.tolerance = time.Duration(us) * time.Microsecond
	case "tolerance_percent":
		g.percent, err = strconv.ParseFloat(o.Value, 64)
		if err == nil && !(g.percent >= 0 && g.percent <= 100) {
			err = fmt.Errorf("%s is not within 0 and 100", o.Value)
		}
	case "tcp_ts_tick_usecs":
		var us int
		us, err = parseWithin(o.Value, 0, 1e6)
		g.tsTick = time.Duration(us) * time.Microsecond
	case "tcp_ts_ecr_scaled":
		g.ecrScaled = true
	case "strict_segments":
		g.strictSegments = true
	case "non_fatal":
		g.nonFatalPackets = strings.Contains(o.Value, "packet")
		g.nonFatalSyscalls = strings.Contains(o.Value, "syscall")
	case "init_scripts":
		g.initScripts = strings.FieldsFunc(o.Value, func(c rune) bool { return c == ',' || c == ' ' })
	case "define", "speed", "mss", "send_omit_free", "debug", "verbose", "is_anyip",
		"code_command", "code_format", "code_sockopt":
	default:
		err = fmt.Errorf("this host has no such option")
	}
	return err
}

func (g *settings) setFamily(v string) error {
	switch v {
	case "ipv4":
		g.family = familyIPv4
	case "ipv4-mapped-ipv6":
		g.family = familyIPv4Mapped
	case "ipv6":
		g.family = familyIPv6
	default:
		return fmt.Errorf("no IP version %q", v)
	}
	return nil
}

func (g *settings) setNetmask(v string) error {
	a, err := netip.ParseAddr(v)
	if err != nil || !a.Is4() {
		return fmt.Errorf("no netmask %q", v)
	}
	b := a.As4()
	m := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	n := 0
	for m&(1<<31) != 0 {
		n, m = n+1, m<<1
	}
	if m != 0 || n == 0 {
		return fmt.Errorf("no netmask %q", v)
	}
	g.netmask = n
	return nil
}

// parseIP reads an address; a prefix length behind it, which the original allows
// for the peer's network, has no meaning here.
func parseIP(v string) (netip.Addr, error) {
	v, _, _ = strings.Cut(v, "/")
	return netip.ParseAddr(v)
}

func parsePort(v string) (uint16, error) {
	p, err := parseWithin(v, 1, 0xffff)
	return uint16(p), err
}

func parseWithin(v string, least, most int) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", v)
	}
	if n < least || n > most {
		return 0, fmt.Errorf("%d is not within %d and %d", n, least, most)
	}
	return n, nil
}

// driverDefines are the symbols that the original's test driver defines for a
// family. TFO_COOKIE is the Fast Open cookie of its addresses under the key that
// its scripts set.
func driverDefines(f family) map[string]string {
	d := map[string]string{
		"TFO_COOKIE":        "de4f234f0f433a55",
		"CMSG_LEVEL_IP":     "SOL_IP",
		"CMSG_TYPE_RECVERR": "IP_RECVERR",
	}
	switch f {
	case familyIPv4Mapped:
		d["CMSG_LEVEL_IP"], d["CMSG_TYPE_RECVERR"] = "SOL_IPV6", "IPV6_RECVERR"
	case familyIPv6:
		d["TFO_COOKIE"] = "6aa6ae70c288023b"
		d["CMSG_LEVEL_IP"], d["CMSG_TYPE_RECVERR"] = "SOL_IPV6", "IPV6_RECVERR"
	}
	return d
}
