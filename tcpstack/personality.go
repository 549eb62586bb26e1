package tcpstack

import "labd.dev/sim"

// freebsdDefaults are what absent settings are with personality: freebsd, where FreeBSD's netinet (14.x) differs from
// Linux. What no setting says, the personality itself decides: the timeout's estimator, the order of a SYN's options, and
// whether text that comes with a SYN,ACK is taken.
var freebsdDefaults = TCPConfig{
	DelayedACK:  new(40 * sim.Millisecond), // net.inet.tcp.delacktime
	QuickACK:    new(false),                // a connection's start is acknowledged like the rest of it
	MinRTO:      30 * sim.Millisecond,      // net.inet.tcp.rexmit_min
	MaxRTO:      new(64 * sim.Second),      // TCPTV_REXMTMAX
	DataRetries: new(uint32(12)),           // TCP_MAXRXTSHIFT

	// Loss is found as RFC 6675 says: RACK is another stack's (tcp_rack), and not the default one.
	RACK:          new(false),
	TLP:           new(false),
	FRTO:          new(false),
	DSACKUndo:     new(false),
	MaxReordering: new(uint32(3)), // tcprexmtthresh does not adapt

	HyStart:        "rfc9406",  // CUBICFLAG_HYSTART_ENABLED
	CwndValidation: new(false), // net.inet.tcp.newcwv
	CompressedACKs: new(uint32(0)),

	SYNRetries:       new(uint32(12)),       // TCP_MAXRXTSHIFT: the time to open ends it before
	OpenTimeout:      new(75 * sim.Second),  // net.inet.tcp.keepinit
	PersistMin:       new(5 * sim.Second),   // TCPTV_PERSMIN
	PersistMax:       new(60 * sim.Second),  // TCPTV_PERSMAX
	InvalidBurst:     new(uint32(5)),        // net.inet.tcp.ack_war_cnt
	InvalidRatelimit: new(sim.Second),       // net.inet.tcp.ack_war_timewindow
	SYNACKRetries:    new(uint32(3)),        // net.inet.tcp.syncache.rexmtlimit
	KeepAlive:        new(true),             // net.inet.tcp.always_keepalive
	KeepAliveProbes:  new(uint32(8)),        // net.inet.tcp.keepcnt
	Minshall:         new(false),            // Nagle waits while anything is in flight
	StartSendBuffer:  new(uint64(32 << 10)), // net.inet.tcp.sendspace
	MaxSendBuffer:    new(uint64(2 << 20)),  // net.inet.tcp.sendbuf_max
	MaxRecvBuffer:    new(uint64(2 << 20)),  // net.inet.tcp.recvbuf_max
	RFC1337:          new(true),             // a reset in TIME-WAIT is dropped
	TimeWaitReuse:    "off",
	MinPMTU:          new(uint32(256)), // net.inet.tcp.minmss and 40 bytes of headers
}

// rexmitSlop is added to FreeBSD's timeout (net.inet.tcp.rexmit_slop): the most that a peer may delay its ACK.
const rexmitSlop = 200 * sim.Millisecond

// rexmtval is FreeBSD's timeout: TCP_REXMTVAL, not below the least, and the slop upon it.
func (c *Conn) rexmtval() sim.Time {
	return min(max(ceilMs(int64(c.srtt8>>3)+int64(c.mdev4)), c.set.minRTO)+rexmitSlop, c.set.maxRTO)
}

// persistval is how long FreeBSD waits before it probes a closed window (tcp_setpersist), within the personality's bounds.
func (c *Conn) persistval() sim.Time {
	t := ceilMs(int64(c.srtt8>>1) + 2*int64(c.mdev4))
	return t<<min(c.backoff, maxBackoff) + rexmitSlop
}

// sampleRFC6298 takes a round-trip time in as RFC 6298 has it, without what Linux adds to it.
//
// RFC 6298 2.2: "SRTT <- R, RTTVAR <- R/2". 2.3: "RTTVAR <- (1 - beta) * RTTVAR + beta * |SRTT - R'|, SRTT <- (1 - alpha) *
// SRTT + alpha * R'".
func (c *Conn) sampleRFC6298(m int64) {
	if c.srtt8 == 0 {
		c.srtt8, c.mdev4 = uint32(max(m<<3, 1)), uint32(m<<1)
	} else {
		d := m - int64(c.srtt8>>3)
		c.srtt8 = uint32(max(int64(c.srtt8)+d, 1))
		c.mdev4 = uint32(int64(c.mdev4) + max(d, -d) - int64(c.mdev4>>2))
	}
	c.rttvar4, c.mdevMax4 = c.mdev4, c.mdev4
	c.rto, c.backoff = c.rexmtval(), 0
}
