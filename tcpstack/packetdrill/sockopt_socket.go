package packetdrill

import (
	"encoding/binary"
	"slices"
	"strings"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// Least buffers that SO_SNDBUF and SO_RCVBUF lead to: SOCK_MIN_SNDBUF is twice TCP_SKB_MIN_TRUESIZE, SOCK_MIN_RCVBUF once.
const (
	minSndbuf = 4608
	minRcvbuf = 2304
)

// socketOptions are the options that are known, by level.
var socketOptions = slices.Concat(solSocketOptions, solTCPOptions, solIPOptions, solIPv6Options, solUDPOptions)

var solSocketOptions = []sockopt{
	{level: solSocket, symbol: "SO_DEBUG", harmless: "the stack has no kernel log"},
	{level: solSocket, symbol: "SO_REUSEADDR",
		set: func(s *socket, v optval) Errno { s.opts.reuseAddr = v.on(); return 0 },
		get: func(s *socket) optval { return boolval(s.opts.reuseAddr) }},
	{level: solSocket, symbol: "SO_REUSEPORT",
		set: func(s *socket, v optval) Errno {
			s.opts.reusePort = v.on()
			return s.configure(tcpstack.TCPConfig{ReusePort: v.ptr()})
		},
		get: func(s *socket) optval { return boolval(s.opts.reusePort) }},
	{level: solSocket, symbol: "SO_TYPE", get: func(s *socket) optval {
		if s.datagram != nil {
			return intval(sockDgram)
		}
		return intval(sockStream)
	}},
	{level: solSocket, symbol: "SO_PROTOCOL", get: func(s *socket) optval {
		if s.datagram != nil {
			return intval(protoUDP)
		}
		return intval(protoTCP)
	}},
	{level: solSocket, symbol: "SO_DOMAIN", get: func(s *socket) optval { return intval(s.domain) }},
	{level: solSocket, symbol: "SO_ERROR", get: func(s *socket) optval { return intval(int64(s.takeError())) }},
	{level: solSocket, symbol: "SO_ACCEPTCONN", get: func(s *socket) optval { return boolval(s.phase == phaseListening) }},
	{level: solSocket, symbol: "SO_DONTROUTE", harmless: "the peer is on the link"},
	{level: solSocket, symbol: "SO_BROADCAST", harmless: "scripts send to one peer"},
	{level: solSocket, symbol: "SO_SNDBUF", set: bounded((*socket).setSndbuf), get: (*socket).getSndbuf},
	{level: solSocket, symbol: "SO_SNDBUFFORCE", set: forced((*socket).setSndbuf)},
	{level: solSocket, symbol: "SO_RCVBUF", set: bounded((*socket).setRcvbuf), get: (*socket).getRcvbuf},
	{level: solSocket, symbol: "SO_RCVBUFFORCE", set: forced((*socket).setRcvbuf)},
	{level: solSocket, symbol: "SO_KEEPALIVE",
		set: func(s *socket, v optval) Errno { return s.configure(tcpstack.TCPConfig{KeepAlive: v.ptr()}) },
		get: func(s *socket) optval { return boolval(isOn(s.config().KeepAlive, false)) }},
	{level: solSocket, symbol: "SO_OOBINLINE",
		set: func(s *socket, v optval) Errno { return s.setOOBInline(v.on()) },
		get: func(s *socket) optval { return boolval(s.opts.oobInline) }},
	{level: solSocket, symbol: "SO_LINGER", set: (*socket).setLinger, get: func(s *socket) optval {
		b := binary.LittleEndian.AppendUint32(nil, uint32(b2i(s.opts.lingers)))
		return bytesval(binary.LittleEndian.AppendUint32(b, uint32(s.opts.linger)))
	}},
	{level: solSocket, symbol: "SO_RCVLOWAT",
		set: func(s *socket, v optval) Errno {
			switch s.opts.rcvlowat = v.n; {
			case v.n < 0:
				s.opts.rcvlowat = 1<<31 - 1
			case v.n == 0:
				s.opts.rcvlowat = 1
			}
			// tcp_set_rcvlowat: no more than half of what the buffer may grow to.
			most := s.m.sysctls.vector("net.ipv4.tcp_rmem", 2)
			if s.opts.rcvbuf != 0 {
				most = s.opts.rcvbuf
			}
			s.opts.rcvlowat = max(min(s.opts.rcvlowat, most/2), 1)
			s.change(readableBits)
			return s.configure(tcpstack.TCPConfig{RecvLowat: new(uint64(s.opts.rcvlowat))})
		},
		get: func(s *socket) optval { return intval(max(1, s.opts.rcvlowat)) }},
	{level: solSocket, symbol: "SO_SNDLOWAT", get: func(*socket) optval { return intval(1) }},
	{level: solSocket, symbol: "SO_ZEROCOPY",
		set: func(s *socket, v optval) Errno {
			if v.n < 0 || v.n > 1 {
				return EINVAL
			}
			s.opts.zerocopy = v.on()
			return 0
		},
		get: func(s *socket) optval { return boolval(s.opts.zerocopy) }},
	{level: solSocket, symbol: "SO_TIMESTAMPING", set: (*socket).setTimestamping,
		get: func(s *socket) optval { return intval(s.opts.timestamping) }},
	{level: solSocket, symbol: "SO_MAX_PACING_RATE", set: (*socket).setPacingRate, get: func(s *socket) optval {
		if p := s.opts.tcp.MaxPacingRate; p != nil {
			return intval(int64(*p))
		}
		return intval(-1)
	}},
	{level: solSocket, symbol: "SO_BINDTODEVICE", set: func(s *socket, v optval) Errno {
		// The runner's one interface stands for whatever TUN device a script names.
		if name := strings.TrimRight(string(v.b), "\x00"); v.isBytes && name != "" && !strings.HasPrefix(name, "tun") {
			return ENODEV
		}
		return 0
	}},
	{level: solSocket, symbol: "SO_MEMINFO", get: func(s *socket) optval {
		var b []byte
		for _, n := range s.memory() {
			b = binary.LittleEndian.AppendUint32(b, uint32(n))
		}
		return bytesval(b)
	}},
	{level: solSocket, symbol: "SO_PRIORITY", harmless: "the link has one queue"},
	{level: solSocket, symbol: "SO_NO_CHECK", harmless: "checksums are always made"},
	{level: solSocket, symbol: "SO_MARK", harmless: "no routing rule looks at marks"},
	{level: solSocket, symbol: "SO_BUSY_POLL", harmless: "there is no device to poll"},
	{level: solSocket, symbol: "SO_PREFER_BUSY_POLL", harmless: "there is no device to poll"},
	{level: solSocket, symbol: "SO_INCOMING_CPU", harmless: "there is one processor"},
	{level: solSocket, symbol: "SO_TXREHASH", harmless: "there is one path"},
	{level: solSocket, symbol: "SO_SELECT_ERR_QUEUE", harmless: "poll reports the error queue anyway"},
	{level: solSocket, symbol: "SO_PASSCRED", harmless: "it is for AF_UNIX"},
	{level: solSocket, symbol: "SO_RCVTIMEO",
		set: func(s *socket, v optval) Errno { return v.timeout(&s.opts.rcvtimeo) },
		get: func(s *socket) optval { return timeval(s.opts.rcvtimeo) }},
	{level: solSocket, symbol: "SO_SNDTIMEO",
		set: func(s *socket, v optval) Errno { return v.timeout(&s.opts.sndtimeo) },
		get: func(s *socket) optval { return timeval(s.opts.sndtimeo) }},
	{level: solSocket, symbol: "SO_TIMESTAMP", why: "the time at which data came is not kept"},
	{level: solSocket, symbol: "SO_TIMESTAMPNS", why: "the time at which data came is not kept"},
	{level: solSocket, symbol: "SO_ATTACH_FILTER", why: "there is no BPF"},
	{level: solSocket, symbol: "SO_DETACH_FILTER", why: "there is no BPF"},
	{level: solSocket, symbol: "SO_ATTACH_BPF", why: "there is no BPF"},
	{level: solSocket, symbol: "SO_LOCK_FILTER", why: "there is no BPF"},
	{level: solSocket, symbol: "SO_PEEK_OFF", why: "MSG_PEEK looks at the front only"},
	{level: solSocket, symbol: "SO_TXTIME", why: "there is no qdisc that sends at a time"},
	{level: solSocket, symbol: "SO_RESERVE_MEM", why: "buffers are not reserved"},
	{level: solSocket, symbol: "SO_BUF_LOCK", why: "buffers are locked by setting them"},
}

// forced is an option that asks for CAP_NET_ADMIN, and has no bound then.
func forced(set func(*socket, optval, bool) Errno) func(*socket, optval) Errno {
	return func(s *socket, v optval) Errno {
		if s.m.unprivileged {
			return EPERM
		}
		return set(s, v, true)
	}
}

// bounded is the same option without.
func bounded(set func(*socket, optval, bool) Errno) func(*socket, optval) Errno {
	return func(s *socket, v optval) Errno { return set(s, v, false) }
}

// timeout reads a struct timeval (sock_set_timeout): 0 is none, below 0 it is over at once.
func (v optval) timeout(t *sim.Time) Errno {
	if len(v.b) < 16 {
		return EINVAL
	}
	sec, usec := int64(binary.LittleEndian.Uint64(v.b)), int64(binary.LittleEndian.Uint64(v.b[8:]))
	switch {
	case usec < 0 || usec >= 1_000_000:
		return EDOM
	case sec < 0:
		*t = timeoutOver
	case sec > maxTimeout:
		*t = 0
	default:
		*t = sim.Time(sec)*sim.Second + sim.Time(usec)*sim.Microsecond
	}
	return 0
}

const (
	timeoutOver = 1 // the least time there is
	// maxTimeout is the longest that is taken, s; beyond, a call waits without end.
	maxTimeout = 1 << 30
)

// timeval writes one.
func timeval(t sim.Time) optval {
	if t == timeoutOver {
		t = 0
	}
	b := binary.LittleEndian.AppendUint64(nil, uint64(t/sim.Second))
	return bytesval(binary.LittleEndian.AppendUint64(b, uint64(t%sim.Second/sim.Microsecond)))
}

func isOn(p *bool, otherwise bool) bool {
	if p == nil {
		return otherwise
	}
	return *p
}

// config is what the socket's connections are made with: its own settings, then the stack's.
func (s *socket) config() tcpstack.TCPConfig { return s.opts.tcp.Merge(s.m.h.config.TCP) }

// setSndbuf: "sk->sk_sndbuf = max(val * 2, SOCK_MIN_SNDBUF)", val at most net.core.wmem_max. Large writes take little more
// of it than their bytes.
func (s *socket) setSndbuf(v optval, force bool) Errno {
	n := v.n
	if !force {
		n = min(n, s.m.sysctls.number("net.core.wmem_max"))
	}
	s.opts.sndbuf = max(2*n, minSndbuf)
	if s.datagram != nil {
		return 0
	}
	return s.configure(tcpstack.TCPConfig{SendBuffer: uint64(s.opts.sndbuf)})
}

func (s *socket) getSndbuf() optval {
	if s.opts.sndbuf == 0 && s.conn != nil {
		return intval(int64(s.conn.SendBuffer())) // it grows with the connection
	}
	if s.opts.sndbuf == 0 {
		return intval(s.m.sysctls.vector("net.ipv4.tcp_wmem", 1))
	}
	return intval(s.opts.sndbuf)
}

// setRcvbuf: "sk->sk_rcvbuf = max(val * 2, SOCK_MIN_RCVBUF)", val at most net.core.rmem_max: half of it is window.
func (s *socket) setRcvbuf(v optval, force bool) Errno {
	n := v.n
	if !force {
		n = min(n, s.m.sysctls.number("net.core.rmem_max"))
	}
	s.opts.rcvbuf = max(2*n, minRcvbuf)
	if s.datagram != nil {
		return 0
	}
	return s.configure(tcpstack.TCPConfig{RecvBuffer: uint64(max(s.opts.rcvbuf/2, leastBuffer))})
}

// leastBuffer is the stack's own bound.
const leastBuffer = 2048

func (s *socket) getRcvbuf() optval {
	if s.opts.rcvbuf == 0 && s.conn != nil {
		return intval(int64(s.conn.RecvBuffer()))
	}
	if s.opts.rcvbuf == 0 {
		return intval(s.m.sysctls.vector("net.ipv4.tcp_rmem", 1))
	}
	return intval(s.opts.rcvbuf)
}

func (s *socket) setLinger(v optval) Errno {
	if len(v.b) < 8 {
		return EINVAL
	}
	s.opts.lingers = v.n != 0
	if s.opts.lingers {
		s.opts.linger = int64(int32(binary.LittleEndian.Uint32(v.b[4:])))
	}
	return 0
}

// setPacingRate: ~0 is no bound.
func (s *socket) setPacingRate(v optval) Errno {
	rate := uint64(uint32(v.n))
	if len(v.b) == 8 {
		rate = binary.LittleEndian.Uint64(v.b)
	}
	if rate == 1<<32-1 || rate == 1<<64-1 {
		return 0
	}
	return s.configure(tcpstack.TCPConfig{MaxPacingRate: &rate})
}

func (s *socket) setOOBInline(on bool) Errno {
	s.opts.oobInline = on
	if s.conn != nil {
		s.conn.SetUrgentInline(on)
	}
	return 0
}

// memory is SO_MEMINFO: SK_MEMINFO_RMEM_ALLOC, RCVBUF, WMEM_ALLOC, SNDBUF, FWD_ALLOC, WMEM_QUEUED, OPTMEM, BACKLOG, DROPS.
// What has come is payload alone: the stack does not keep Linux's account of the buffers that it came in.
func (s *socket) memory() [9]int64 {
	var mem [9]int64
	mem[1], mem[3] = s.getRcvbuf().n, s.getSndbuf().n
	if s.conn != nil {
		mem[0], mem[5] = int64(s.conn.Buffered()), int64(s.conn.SendMemory())
	}
	return mem
}
