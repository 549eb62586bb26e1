package tcpstack

import (
	"fmt"

	"labd.dev/sim"
	"labd.dev/tcpstack/congestion"
)

// TCPConfig switches and tunes TCP, per stack (Config.TCP) and per connection (Dial, Listen). What is left out (nil,
// zero, empty) is taken from the next outer configuration, at last from the defaults, which are current Linux's. Fields
// for which zero means something are pointers.
type TCPConfig struct {
	Congestion     string    // reno | cubic; default cubic (tcp_congestion_control)
	SACK           *bool     // RFC 2018; default on (tcp_sack)
	Timestamps     *bool     // RFC 7323; default on (tcp_timestamps)
	WindowScaling  *bool     // RFC 7323; default on (tcp_window_scaling)
	ISN            *uint32   // fixed initial sequence number; default: RFC 6528
	DelayedACK     *sim.Time // longest time an ACK is held; 0: never held; default 40 ms (TCP_DELACK_MIN)
	Nagle          *bool     // RFC 9293 3.7.4; default on (no TCP_NODELAY)
	MSS            uint32    // upper bound of the MSS announced and used, bytes; default: what the MTU allows (TCP_MAXSEG)
	SendBuffer     uint64    // bytes; default 128 KiB (tcp_wmem)
	RecvBuffer     uint64    // bytes; default 128 KiB (tcp_rmem)
	InitialWindow  uint32    // segments; RFC 6928; default 10 (TCP_INIT_CWND)
	MinRTO         sim.Time  // default 200 ms (TCP_RTO_MIN)
	InitialRTO     sim.Time  // default 1 s (TCP_TIMEOUT_INIT)
	TimeWait       *sim.Time // default 60 s (TCP_TIMEWAIT_LEN); 0: none
	SYNRetries     *uint32   // default 6 (tcp_syn_retries)
	DataRetries    *uint32   // default 15 (tcp_retries2)
	FastRetransmit *bool     // RFC 5681 3.2; default on. Off: only the retransmission timer repairs loss
	Backlog        uint32    // connections a listener holds half open; default 128 (tcp_max_syn_backlog of a small host)
	QuickACK       *bool     // ACK at once at a connection's start; default on (TCP_MAX_QUICKACKS)

	// Tag is the journal index of the input that opens the connection; it rides on every frame as metadata.
	Tag uint32
}

// Merge returns c with what it leaves out taken from outer. Tag is c's own.
func (c TCPConfig) Merge(outer TCPConfig) TCPConfig {
	inherit(&c.Congestion, outer.Congestion)
	inherit(&c.SACK, outer.SACK)
	inherit(&c.Timestamps, outer.Timestamps)
	inherit(&c.WindowScaling, outer.WindowScaling)
	inherit(&c.ISN, outer.ISN)
	inherit(&c.DelayedACK, outer.DelayedACK)
	inherit(&c.Nagle, outer.Nagle)
	inherit(&c.MSS, outer.MSS)
	inherit(&c.SendBuffer, outer.SendBuffer)
	inherit(&c.RecvBuffer, outer.RecvBuffer)
	inherit(&c.InitialWindow, outer.InitialWindow)
	inherit(&c.MinRTO, outer.MinRTO)
	inherit(&c.InitialRTO, outer.InitialRTO)
	inherit(&c.TimeWait, outer.TimeWait)
	inherit(&c.SYNRetries, outer.SYNRetries)
	inherit(&c.DataRetries, outer.DataRetries)
	inherit(&c.FastRetransmit, outer.FastRetransmit)
	inherit(&c.Backlog, outer.Backlog)
	inherit(&c.QuickACK, outer.QuickACK)
	return c
}

func inherit[T comparable](p *T, outer T) {
	var zero T
	if *p == zero {
		*p = outer
	}
}

// Bounds of the settings. Outside them a configuration is refused.
const (
	minBuffer = 2 << 10 // a buffer below two small segments could not keep any connection going (Linux: SOCK_MIN_SNDBUF)
	maxBuffer = 1 << 30 // the largest window that RFC 7323 2.2's largest shift can announce
	minMSS    = 48      // Linux's TCP_MIN_MSS is 88 less options: room for at least some data beside 40 bytes of options
	maxMSS    = 65495   // 65535 less the least headers
	maxIW     = 1 << 16
	maxTimer  = 3600 * sim.Second
	maxRetry  = 255 // counted in a byte
	maxQueue  = 65535
)

// settings are a connection's configuration with nothing left open; connections share them.
type settings struct {
	cc                                congestion.ID
	sack, timestamps, windowScaling   bool
	fixedISN, nagle, fastRtx, quickAC bool
	isn                               uint32
	delAck                            sim.Time
	mss                               uint32 // 0: the MTU's
	sndBuf, rcvBuf                    uint32
	iw                                uint32
	minRTO, initialRTO, timeWait      sim.Time
	synRetries, dataRetries           uint8
	backlog                           int
}

// resolve fills in the defaults and checks the bounds.
func (c TCPConfig) resolve() (*settings, error) {
	cc, ok := congestion.Find(c.Congestion)
	if !ok {
		return nil, fmt.Errorf("tcpstack: no congestion control %q", c.Congestion)
	}
	s := &settings{
		cc: cc, sack: or(c.SACK, true), timestamps: or(c.Timestamps, true), windowScaling: or(c.WindowScaling, true),
		nagle: or(c.Nagle, true), fastRtx: or(c.FastRetransmit, true), quickAC: or(c.QuickACK, true),
		fixedISN: c.ISN != nil, isn: or(c.ISN, 0), delAck: or(c.DelayedACK, 40*sim.Millisecond),
		mss: c.MSS, minRTO: c.MinRTO, initialRTO: c.InitialRTO, timeWait: or(c.TimeWait, 60*sim.Second),
	}
	inherit(&c.SendBuffer, 128<<10)
	inherit(&c.RecvBuffer, 128<<10)
	inherit(&c.InitialWindow, 10)
	inherit(&c.Backlog, 128)
	inherit(&s.minRTO, 200*sim.Millisecond)
	inherit(&s.initialRTO, sim.Second)
	syn, data := or(c.SYNRetries, 6), or(c.DataRetries, 15)
	switch {
	case c.SendBuffer < minBuffer || c.SendBuffer > maxBuffer:
		return nil, fmt.Errorf("tcpstack: send buffer of %d bytes is not within %d and %d", c.SendBuffer, minBuffer, maxBuffer)
	case c.RecvBuffer < minBuffer || c.RecvBuffer > maxBuffer:
		return nil, fmt.Errorf("tcpstack: receive buffer of %d bytes is not within %d and %d", c.RecvBuffer, minBuffer, maxBuffer)
	case c.MSS != 0 && (c.MSS < minMSS || c.MSS > maxMSS):
		return nil, fmt.Errorf("tcpstack: MSS %d is not within %d and %d", c.MSS, minMSS, maxMSS)
	case c.InitialWindow > maxIW:
		return nil, fmt.Errorf("tcpstack: initial window of %d segments is above %d", c.InitialWindow, maxIW)
	case c.Backlog > maxQueue:
		return nil, fmt.Errorf("tcpstack: backlog %d is above %d", c.Backlog, maxQueue)
	case syn > maxRetry || data > maxRetry:
		return nil, fmt.Errorf("tcpstack: more than %d retries", maxRetry)
	case s.minRTO < 0 || s.initialRTO < 0 || s.delAck < 0 || s.timeWait < 0,
		s.minRTO > maxTimer || s.initialRTO > maxTimer || s.delAck > maxTimer || s.timeWait > maxTimer:
		return nil, fmt.Errorf("tcpstack: a timer is not within 0 and %v", maxTimer)
	}
	s.sndBuf, s.rcvBuf, s.iw, s.backlog = uint32(c.SendBuffer), uint32(c.RecvBuffer), c.InitialWindow, int(c.Backlog)
	s.synRetries, s.dataRetries = uint8(syn), uint8(data)
	return s, nil
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
