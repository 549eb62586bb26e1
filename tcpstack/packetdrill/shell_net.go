package packetdrill

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// shellTC is tc qdisc: plain queues change nothing, fq paces every connection. What delays or drops has no place between
// the stack and the script.
func (m *machine) shellTC(s shellCommand) (bool, error) {
	w := s.words[1:]
	if len(w) < 2 || w[0] != "qdisc" {
		return s.unknown()
	}
	switch w[1] {
	case "show", "list", "ls":
		return true, nil
	case "add", "replace", "change", "del", "delete":
	default:
		return s.unknown()
	}
	kind := ""
	for i := 2; i < len(w); i++ {
		switch w[i] {
		case "dev", "handle", "parent":
			i++
		case "root":
		default:
			kind = w[i]
			i = len(w)
		}
	}
	fq := false
	switch {
	case w[1] == "del" || w[1] == "delete":
	case kind == "pfifo" || kind == "bfifo" || kind == "pfifo_fast" || kind == "pfifo_head_drop" || kind == "noqueue" || kind == "mq" || kind == "fq_codel":
	case kind == "fq":
		fq = true
	default:
		return s.unknown()
	}
	m.sysctls.route.Pacing = nil
	if fq {
		m.sysctls.route.Pacing = new(true)
	}
	return true, m.sysctls.update()
}

// shellIP is ip route, ip tcp_metrics flush and ip link set mtu.
func (m *machine) shellIP(s shellCommand) (bool, error) {
	w := s.words[1:]
	for len(w) > 0 && strings.HasPrefix(w[0], "-") {
		w = w[1:]
	}
	if len(w) < 2 {
		return s.unknown()
	}
	switch {
	case w[0] == "tcp_metrics" || w[0] == "tcpmetrics" || w[0] == "tcp_m":
		switch w[1] {
		case "flush", "delete", "del":
			m.flushMetrics()
			return true, nil
		case "show", "list":
			return true, nil
		}
	case w[0] == "route" || w[0] == "ro" || w[0] == "r":
		switch w[1] {
		case "add", "change", "replace", "append":
			return m.ipRoute(s, w[2:])
		case "show", "list", "get", "flush":
			if w[1] != "flush" {
				return true, nil
			}
			if len(w) > 2 && w[2] == "cache" {
				m.h.stack.FlushPathMTUs()
				return true, nil
			}
		}
	case w[0] == "link" || w[0] == "li" || w[0] == "l":
		if w[1] == "set" {
			return m.ipLink(s, w[2:])
		}
	}
	return s.unknown()
}

// ipRoute takes the metrics of a route: all routes of a script lead to its peer.
func (m *machine) ipRoute(s shellCommand, w []string) (bool, error) {
	r := m.sysctls.route
	for i := 0; i < len(w); i++ {
		value := func() string {
			i++
			if i < len(w) && w[i] == "lock" {
				i++
			}
			if i < len(w) {
				return w[i]
			}
			return ""
		}
		number := func(most uint64) (uint64, bool) {
			n, err := strconv.ParseUint(value(), 0, 64)
			return n, err == nil && n <= most
		}
		ok := true
		var n uint64
		switch w[i] {
		case "initcwnd":
			n, ok = number(1 << 16)
			r.InitialWindow = uint32(n)
		case "initrwnd":
			n, ok = number(1 << 16)
			m.initialReceiveWindow(&r, n)
		case "rto_min":
			r.MinRTO, ok = routeTime(value())
		case "quickack":
			n, ok = number(1)
			if n == 1 {
				r.DelayedACK = new(sim.Time(0)) // tcp_in_quickack_mode: "dst_metric(dst, RTAX_QUICKACK)"
			} else {
				r.DelayedACK = nil
			}
		case "congctl":
			r.Congestion = value()
			ok = knownCongestion(r.Congestion)
		case "advmss":
			n, ok = number(65495)
			r.MSS = uint32(n)
		case "reordering":
			n, ok = number(1 << 20)
			r.Reordering = new(uint32(n))
		case "fastopen_no_cookie":
			n, ok = number(1)
			r.FastOpenNoCookie = new(n == 1)
		case "features":
			if ok = value() == "ecn"; ok {
				r.ECN = "on"
			}
		case "via", "dev", "src", "proto", "scope", "table", "metric", "from", "tos", "hoplimit", "rtt", "rttvar", "ssthresh", "pref":
			value()
		case "default", "unicast", "local", "onlink":
		default:
			_, prefixErr := netip.ParsePrefix(w[i])
			_, addrErr := netip.ParseAddr(w[i])
			ok = prefixErr == nil || addrErr == nil
		}
		if !ok {
			return s.unknown()
		}
	}
	m.sysctls.route = r
	return true, m.sysctls.update()
}

// initialReceiveWindow: tcp_select_initial_window: "*rcv_wnd = min(*rcv_wnd, init_rcv_wnd * mss)".
func (m *machine) initialReceiveWindow(r *tcpstack.TCPConfig, segments uint64) {
	const headers = 40
	r.RecvBuffer = max(segments*uint64(m.h.iface.MTU()-headers), leastBuffer)
}

// routeTime reads "10ms", "0.2s"; a bare number is milliseconds here.
func routeTime(v string) (sim.Time, bool) {
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return sim.Time(n) * sim.Millisecond, n > 0
	}
	d, err := time.ParseDuration(strings.Replace(v, "usecs", "us", 1))
	return sim.Time(d), err == nil && d > 0
}

// ipLink is ip link set dev tun0 mtu N; up and queue lengths change nothing.
func (m *machine) ipLink(s shellCommand, w []string) (bool, error) {
	for i := 0; i < len(w); i++ {
		switch w[i] {
		case "dev", "txqueuelen", "qlen":
			i++
		case "up":
		case "mtu":
			if i++; i == len(w) {
				return s.unknown()
			}
			if ok, err := m.setMTU(s, w[i]); !ok {
				return ok, err
			}
		case "gso_max_size", "gso_max_segs", "gro_max_size":
			i++ // segments are compared as the original compares aggregates
		default:
			if !strings.HasPrefix(w[i], "tun") {
				return s.unknown()
			}
		}
	}
	return true, nil
}

// shellIfconfig is ifconfig tun0 mtu N.
func (m *machine) shellIfconfig(s shellCommand) (bool, error) {
	w := s.words[1:]
	if len(w) == 3 && strings.HasPrefix(w[0], "tun") && w[1] == "mtu" {
		return m.setMTU(s, w[2])
	}
	return s.unknown()
}

// setMTU gives the interface another MTU; what is known of its neighbours stays.
func (m *machine) setMTU(s shellCommand, v string) (bool, error) {
	n, err := strconv.Atoi(v)
	if err != nil || n < tcpstack.MinMTU || n > tcpstack.MaxMTU {
		return s.unknown()
	}
	m.h.iface.SetMTU(n)
	return true, nil
}

// shellEthtool: offloads only change into how large pieces the original's segments come.
func (m *machine) shellEthtool(s shellCommand) (bool, error) {
	if len(s.words) > 2 && s.words[1] == "-K" {
		return true, nil
	}
	return s.unknown()
}

// flushMetrics forgets what is kept of peers: Fast Open cookies, and what connections have measured.
func (m *machine) flushMetrics() { m.h.stack.FlushMetrics() }
