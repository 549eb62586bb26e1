package packetdrill

import (
	"encoding/hex"
	"slices"
	"strings"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// Bounds of Linux's options (include/net/tcp.h).
const (
	maxKeepIdle  = 32767 // MAX_TCP_KEEPIDLE, s
	maxKeepIntvl = 32767 // MAX_TCP_KEEPINTVL, s
	maxKeepCount = 127   // MAX_TCP_KEEPCNT
	maxSYNCount  = 127   // MAX_TCP_SYNCNT
	leastUserMSS = 88    // TCP_MIN_MSS
	mostUserMSS  = 32767 // MAX_TCP_WINDOW
	defaultMSS   = 536   // TCP_MSS_DEFAULT
	caNameMax    = 16    // TCP_CA_NAME_MAX
)

var solTCPOptions = []sockopt{
	{level: solTCP, symbol: "TCP_NODELAY",
		set: func(s *socket, v optval) Errno { return s.configure(tcpstack.TCPConfig{Nagle: new(!v.on())}) },
		get: func(s *socket) optval { return boolval(!isOn(s.config().Nagle, true)) }},
	{level: solTCP, symbol: "TCP_CORK",
		set: func(s *socket, v optval) Errno { return s.configure(tcpstack.TCPConfig{Cork: v.ptr()}) },
		get: func(s *socket) optval { return boolval(isOn(s.config().Cork, false)) }},
	{level: solTCP, symbol: "TCP_MAXSEG", set: (*socket).setMaxseg, get: (*socket).getMaxseg},
	{level: solTCP, symbol: "TCP_KEEPIDLE",
		set: secondsOption(maxKeepIdle, func(t *sim.Time) tcpstack.TCPConfig { return tcpstack.TCPConfig{KeepAliveTime: t} }),
		get: func(s *socket) optval { return seconds(s.config().KeepAliveTime, 7200) }},
	{level: solTCP, symbol: "TCP_KEEPINTVL",
		set: secondsOption(maxKeepIntvl, func(t *sim.Time) tcpstack.TCPConfig { return tcpstack.TCPConfig{KeepAliveInterval: t} }),
		get: func(s *socket) optval { return seconds(s.config().KeepAliveInterval, 75) }},
	{level: solTCP, symbol: "TCP_KEEPCNT",
		set: countOption(maxKeepCount, func(n *uint32) tcpstack.TCPConfig { return tcpstack.TCPConfig{KeepAliveProbes: n} }),
		get: func(s *socket) optval { return count(s.config().KeepAliveProbes, 9) }},
	{level: solTCP, symbol: "TCP_SYNCNT",
		set: countOption(maxSYNCount, func(n *uint32) tcpstack.TCPConfig { // a listener's are its SYN,ACKs (reqsk_timer_handler)
			return tcpstack.TCPConfig{SYNCount: n}
		}),
		get: func(s *socket) optval {
			if n := s.config().SYNCount; n != nil {
				return count(n, 0)
			}
			return count(s.config().SYNRetries, 6)
		}},
	{level: solTCP, symbol: "TCP_LINGER2", set: (*socket).setLinger2, get: func(s *socket) optval {
		if t := s.config().FINTimeout; t != nil && *t == 0 {
			return intval(-1)
		}
		return seconds(s.config().FINTimeout, 60)
	}},
	{level: solTCP, symbol: "TCP_DEFER_ACCEPT",
		set: func(s *socket, v optval) Errno {
			return s.configure(tcpstack.TCPConfig{DeferAccept: new(sim.Time(max(0, v.n)) * sim.Second)})
		},
		get: func(s *socket) optval { return intval(deferAcceptSeconds(s.config().DeferAccept)) }},
	{level: solTCP, symbol: "TCP_WINDOW_CLAMP",
		set: func(s *socket, v optval) Errno {
			if v.n == 0 {
				if s.state() != tcpstack.StateClosed {
					return EINVAL
				}
				return 0
			}
			return s.configure(tcpstack.TCPConfig{WindowClamp: new(uint64(max(v.n, minRcvbuf/2)))})
		},
		get: func(s *socket) optval {
			if p := s.opts.tcp.WindowClamp; p != nil {
				return intval(int64(*p))
			}
			return intval(0)
		}},
	{level: solTCP, symbol: "TCP_INFO", get: func(s *socket) optval { return bytesval(s.tcpInfo().bytes()) }},
	{level: solTCP, symbol: "TCP_QUICKACK", set: (*socket).setQuickACK, get: (*socket).getQuickACK},
	{level: solTCP, symbol: "TCP_CONGESTION", set: (*socket).setCongestion, get: func(s *socket) optval {
		name := s.config().Congestion
		if name == "" {
			name = "cubic"
		}
		return bytesval(append([]byte(name), make([]byte, caNameMax-len(name))...))
	}},
	{level: solTCP, symbol: "TCP_USER_TIMEOUT",
		set: func(s *socket, v optval) Errno {
			if v.n < 0 {
				return EINVAL
			}
			return s.configure(tcpstack.TCPConfig{UserTimeout: new(sim.Time(v.n) * sim.Millisecond)})
		},
		get: func(s *socket) optval {
			if p := s.config().UserTimeout; p != nil {
				return intval(int64(*p / sim.Millisecond))
			}
			return intval(0)
		}},
	{level: solTCP, symbol: "TCP_FASTOPEN", set: (*socket).setFastOpen, get: func(s *socket) optval {
		return intval(max(0, s.opts.fastOpenQueue))
	}},
	{level: solTCP, symbol: "TCP_FASTOPEN_CONNECT",
		set: func(s *socket, v optval) Errno {
			switch {
			case v.n < 0 || v.n > 1:
				return EINVAL
			case !s.m.sysctls.fastOpen(fastOpenClient):
				return EOPNOTSUPP
			case s.state() != tcpstack.StateClosed:
				return EINVAL
			}
			s.opts.fastOpenConnect = v.on()
			return 0
		},
		get: func(s *socket) optval { return boolval(s.opts.fastOpenConnect) }},
	{level: solTCP, symbol: "TCP_FASTOPEN_NO_COOKIE",
		set: func(s *socket, v optval) Errno {
			switch {
			case v.n < 0 || v.n > 1:
				return EINVAL
			case s.state() != tcpstack.StateClosed && s.state() != tcpstack.StateListen:
				return EINVAL
			}
			s.opts.fastOpenNoCookie = v.on()
			return s.configure(tcpstack.TCPConfig{FastOpenNoCookie: v.ptr()})
		},
		get: func(s *socket) optval { return boolval(s.opts.fastOpenNoCookie) }},
	{level: solTCP, symbol: "TCP_FASTOPEN_KEY", set: (*socket).setFastOpenKey, get: func(s *socket) optval {
		return bytesval(s.opts.fastOpenKey) // tcp_fastopen_get_cipher: the socket's own alone
	}},
	{level: solTCP, symbol: "TCP_TIMESTAMP", get: func(s *socket) optval {
		if s.conn == nil {
			return intval(0)
		}
		return intval(int64(s.conn.Timestamp()))
	}},
	{level: solTCP, symbol: "TCP_NOTSENT_LOWAT",
		set: func(s *socket, v optval) Errno {
			s.opts.notsentLowat = int64(uint32(v.n))
			return s.configure(tcpstack.TCPConfig{NotsentLowat: notsentLowat(uint64(uint32(v.n)))})
		},
		get: func(s *socket) optval { return intval(s.opts.notsentLowat) }},
	{level: solTCP, symbol: "TCP_INQ",
		set: func(s *socket, v optval) Errno {
			if v.n < 0 || v.n > 1 {
				return EINVAL
			}
			s.opts.inq = v.on()
			return 0
		},
		get: func(s *socket) optval { return boolval(s.opts.inq) }},
	{level: solTCP, symbol: "TCP_TX_DELAY",
		set: func(s *socket, v optval) Errno {
			if s.m.sysctls.route.Pacing != nil && v.n != 0 { // fq, which alone looks at the time that the delay moves
				return errnoSkip
			}
			s.opts.txDelay = v.n
			return 0
		},
		get: func(s *socket) optval { return intval(s.opts.txDelay) }},
	{level: solTCP, symbol: "TCP_THIN_LINEAR_TIMEOUTS",
		set: func(s *socket, v optval) Errno {
			if v.n < 0 || v.n > 1 {
				return EINVAL
			}
			return s.configure(tcpstack.TCPConfig{ThinLinear: v.ptr()})
		},
		get: func(s *socket) optval { return boolval(isOn(s.config().ThinLinear, false)) }},
	{level: solTCP, symbol: "TCP_RTO_MAX_MS",
		set: func(s *socket, v optval) Errno {
			if v.n < 1000 || v.n > 120_000 {
				return EINVAL
			}
			return s.configure(tcpstack.TCPConfig{MaxRTO: new(sim.Time(v.n) * sim.Millisecond)})
		},
		get: func(s *socket) optval {
			if p := s.config().MaxRTO; p != nil {
				return intval(int64(*p / sim.Millisecond))
			}
			return intval(120_000)
		}},
	{level: solTCP, symbol: "TCP_RTO_MIN_US", set: func(s *socket, v optval) Errno {
		if v.n < 1 || v.n > 200_000 {
			return EINVAL
		}
		return s.configure(tcpstack.TCPConfig{MinRTO: sim.Time(v.n) * sim.Microsecond})
	}},
	{level: solTCP, symbol: "TCP_DELACK_MAX_US", set: func(s *socket, v optval) Errno {
		if v.n < 1 || v.n > 200_000 {
			return EINVAL
		}
		return s.configure(tcpstack.TCPConfig{DelayedACK: new(min(sim.Time(v.n)*sim.Microsecond, 40*sim.Millisecond))})
	}},
	{level: solTCP, symbol: "TCP_THIN_DUPACK", harmless: "Linux ignores it as well"},
	{level: solTCP, symbol: "TCP_CC_INFO", get: (*socket).ccInfoBytes},
	{level: solTCP, symbol: "TCP_SAVE_SYN",
		set: func(s *socket, v optval) Errno {
			if v.n < 0 || v.n > 2 {
				return EINVAL
			}
			s.opts.saveSYN = v.n
			return 0
		},
		get: func(s *socket) optval { return intval(s.opts.saveSYN) }},
	{level: solTCP, symbol: "TCP_SAVED_SYN", get: func(s *socket) optval {
		b := s.savedSYN
		s.savedSYN = nil // it is told once
		return bytesval(b)
	}},
	{level: solTCP, symbol: "TCP_MD5SIG", set: (*socket).setMD5Key},
	{level: solTCP, symbol: "TCP_MD5SIG_EXT", why: "keys for a range of addresses: a script has one peer"},
	{level: solTCP, symbol: "TCP_COOKIE_TRANSACTIONS", why: "Linux has none any more"},
	{level: solTCP, symbol: "TCP_REPAIR", why: "connections cannot be rebuilt"},
	{level: solTCP, symbol: "TCP_REPAIR_QUEUE", why: "connections cannot be rebuilt"},
	{level: solTCP, symbol: "TCP_REPAIR_OPTIONS", why: "connections cannot be rebuilt"},
	{level: solTCP, symbol: "TCP_REPAIR_WINDOW", why: "connections cannot be rebuilt"},
	{level: solTCP, symbol: "TCP_QUEUE_SEQ", why: "connections cannot be rebuilt"},
	{level: solTCP, symbol: "TCP_IS_MPTCP", get: func(*socket) optval { return intval(0) }},
	{level: solTCP, symbol: "TCP_AO_ADD_KEY", why: "there is no TCP-AO"},
	{level: solTCP, symbol: "TCP_AO_DEL_KEY", why: "there is no TCP-AO"},
	{level: solTCP, symbol: "TCP_AO_INFO", why: "there is no TCP-AO"},
	{level: solTCP, symbol: "TCP_AO_GET_KEYS", why: "there is no TCP-AO"},
	{level: solTCP, symbol: "TCP_AO_REPAIR", why: "there is no TCP-AO"},
	{level: solTCP, symbol: "TCP_ULP", why: "there are no upper layer protocols"},
	{level: solTCP, symbol: "TCP_ZEROCOPY_RECEIVE", why: "there is no memory to map"},
}

// secondsOption sets a time of 1 to most seconds.
func secondsOption(most int64, delta func(*sim.Time) tcpstack.TCPConfig) func(*socket, optval) Errno {
	return func(s *socket, v optval) Errno {
		if v.n < 1 || v.n > most {
			return EINVAL
		}
		return s.configure(delta(new(sim.Time(v.n) * sim.Second)))
	}
}

// countOption sets a number from 1 to most.
func countOption(most int64, delta func(*uint32) tcpstack.TCPConfig) func(*socket, optval) Errno {
	return func(s *socket, v optval) Errno {
		if v.n < 1 || v.n > most {
			return EINVAL
		}
		return s.configure(delta(new(uint32(v.n))))
	}
}

func seconds(p *sim.Time, otherwise int64) optval {
	if p == nil {
		return intval(otherwise)
	}
	return intval(int64(*p / sim.Second))
}

func count(p *uint32, otherwise int64) optval {
	if p == nil {
		return intval(otherwise)
	}
	return intval(int64(*p))
}

// deferAcceptSeconds is what TCP_DEFER_ACCEPT tells: the time is kept as a number of retransmissions and rounded up to
// what they last (secs_to_retrans, retrans_to_secs).
func deferAcceptSeconds(p *sim.Time) int64 {
	if p == nil || *p == 0 {
		return 0
	}
	want, period, timeout := int64(*p/sim.Second), int64(1), int64(1)
	for period < want {
		timeout = min(2*timeout, 120)
		period += timeout
	}
	return period
}

// setMD5Key takes {tcpm_key="..."}: the key for the peer that a script has. Without one Linux would take an old key away.
func (s *socket) setMD5Key(v optval) Errno {
	switch {
	case !v.isBytes:
		return EINVAL
	case len(v.b) == 0:
		return ENOENT
	}
	s.m.h.md5Key = string(v.b)
	return s.configure(tcpstack.TCPConfig{MD5Key: s.m.h.md5Key})
}

func (s *socket) setMaxseg(v optval) Errno {
	if v.n != 0 && (v.n < leastUserMSS || v.n > mostUserMSS) {
		return EINVAL
	}
	s.opts.userMSS = v.n
	return s.configure(tcpstack.TCPConfig{MSS: uint32(v.n)})
}

// getMaxseg is tp->mss_cache, of a socket without a connection the value set.
func (s *socket) getMaxseg() optval {
	if s.conn != nil {
		return intval(int64(s.conn.Info().SndMSS))
	}
	if s.opts.userMSS != 0 {
		return intval(s.opts.userMSS)
	}
	return intval(defaultMSS)
}

// setLinger2: negative: no FIN-WAIT-2 without an owner; above TCP_FIN_TIMEOUT_MAX: that; 0: the sysctl's.
func (s *socket) setLinger2(v optval) Errno {
	const most = 120
	t := sim.Time(min(max(v.n, 0), most)) * sim.Second
	if v.n == 0 {
		t = s.m.sysctls.time("net.ipv4.tcp_fin_timeout")
	}
	return s.configure(tcpstack.TCPConfig{FINTimeout: &t})
}

func (s *socket) setQuickACK(v optval) Errno {
	s.opts.pingPong = v.n == 0
	if s.conn != nil {
		s.conn.SetQuickACK(v.n&1 != 0)
	}
	return 0
}

func (s *socket) getQuickACK() optval {
	if s.conn == nil {
		return boolval(!s.opts.pingPong)
	}
	return boolval(s.conn.QuickACK())
}

func (s *socket) setCongestion(v optval) Errno {
	name := strings.TrimRight(string(v.b), "\x00")
	switch {
	case !v.isBytes || name == "":
		return EINVAL
	case !knownCongestion(name):
		return ENOENT
	case s.m.unprivileged && !slices.Contains(strings.Fields(s.m.sysctls.text("net.ipv4.tcp_allowed_congestion_control")), name):
		return EPERM
	}
	return s.configure(tcpstack.TCPConfig{Congestion: name})
}

// setFastOpen is the length of the queue of Fast Open connections.
func (s *socket) setFastOpen(v optval) Errno {
	state := s.state()
	if v.n < 0 || state != tcpstack.StateClosed && state != tcpstack.StateListen {
		return EINVAL
	}
	s.opts.fastOpenQueue = min(v.n, s.m.sysctls.somaxconn()) // fastopen_queue_tune
	return s.configure(s.fastOpenServer())
}

// fastOpenServer is what a listener needs: tcp_fastopen lets servers, and a queue was asked for.
func (s *socket) fastOpenServer() tcpstack.TCPConfig {
	queue := s.opts.fastOpenQueue
	cfg := tcpstack.TCPConfig{FastOpen: "off"}
	if queue > 0 && s.m.sysctls.fastOpen(fastOpenServer) {
		cfg.FastOpen = "server"
		cfg.FastOpenBacklog = new(uint32(min(queue, 65535)))
	}
	if !s.opts.fastOpenNoCookie {
		cfg.FastOpenNoCookie = new(s.m.sysctls.fastOpen(fastOpenServerNoCookie))
	}
	return cfg
}

// setFastOpenKey takes 16 bytes, or 32 for a second key that cookies are still accepted by.
func (s *socket) setFastOpenKey(v optval) Errno {
	if !v.isBytes || len(v.b) != 16 && len(v.b) != 32 {
		return EINVAL
	}
	s.opts.fastOpenKey = v.b
	return s.configure(tcpstack.TCPConfig{FastOpenKey: keyText(v.b)})
}

// keyText writes keys as the stack's configuration has them.
func keyText(b []byte) string {
	if len(b) == 32 {
		return hex.EncodeToString(b[:16]) + "," + hex.EncodeToString(b[16:])
	}
	return hex.EncodeToString(b)
}
