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
	Congestion     string    // reno | cubic | bbr | bbr3 | dctcp; default cubic (tcp_congestion_control)
	SACK           *bool     // RFC 2018; default on (tcp_sack)
	Timestamps     *bool     // RFC 7323; default on (tcp_timestamps)
	WindowScaling  *bool     // RFC 7323; default on (tcp_window_scaling)
	ISN            *uint32   // fixed initial sequence number; default: RFC 6528
	DelayedACK     *sim.Time // longest time an ACK is held; 0: never held; absent: 40 to 200 ms as data comes (TCP_ATO_MIN, TCP_DELACK_MAX)
	Nagle          *bool     // RFC 9293 3.7.4; default on (no TCP_NODELAY)
	MSS            uint32    // upper bound of the MSS announced and used, bytes; default: what the MTU allows (TCP_MAXSEG)
	SendBuffer     uint64    // bytes; absent: grows from 16 KiB on (tcp_wmem)
	RecvBuffer     uint64    // bytes; absent: 128 KiB of memory that grow (tcp_rmem)
	InitialWindow  uint32    // segments; RFC 6928; default 10 (TCP_INIT_CWND)
	MinRTO         sim.Time  // default 200 ms (TCP_RTO_MIN)
	InitialRTO     sim.Time  // default 1 s (TCP_TIMEOUT_INIT)
	TimeWait       *sim.Time // default 60 s (TCP_TIMEWAIT_LEN); 0: none
	SYNRetries     *uint32   // default 6 (tcp_syn_retries)
	DataRetries    *uint32   // default 15 (tcp_retries2)
	FastRetransmit *bool     // RFC 5681 3.2; default on. Off: only the retransmission timer repairs loss
	Backlog        uint32    // connections a listener holds half open, less one; default 128 (tcp_max_syn_backlog of a small host)
	QuickACK       *bool     // ACK at once at a connection's start; default on (TCP_MAX_QUICKACKS)

	// Loss recovery.
	DSACK           *bool     // Reports duplicates by SACK blocks (RFC 2883); absent: on (tcp_dsack)
	RACK            *bool     // Detects loss by time (RFC 8985); off: by duplicate ACKs and SACKed bytes (RFC 6675); absent: on (tcp_recovery bit 0)
	RACKDupThresh   *bool     // RACK waits for no reordering once DupThresh segments were SACKed and none has been seen (RFC 8985 6.2); absent: on (tcp_recovery bit 2 unset)
	MinRTTWindow    *sim.Time // How long a least round-trip time counts; absent: 300s (tcp_min_rtt_wlen)
	RACKAdapt       *bool     // RACK's reordering window grows when a DSACK shows that it was too small (RFC 8985 3.3.2); absent: on (tcp_recovery bit 1 unset)
	TLP             *bool     // Tail loss probes (RFC 8985 7); absent: on (tcp_early_retrans)
	PRR             *bool     // Proportional rate reduction (RFC 9937); off: the window drops to ssthresh at once; absent: on
	FRTO            *bool     // F-RTO finds spurious timeouts (RFC 5682); absent: on (tcp_frto)
	Eifel           *bool     // Eifel: timestamps tell that a retransmission was spurious (RFC 3522), and the window is restored (RFC 4015); absent: on
	DSACKUndo       *bool     // The window is restored once DSACKs show that all retransmissions were spurious; absent: on
	LimitedTransmit *bool     // New data on the first two duplicate ACKs (RFC 3042); absent: on
	Reordering      *uint32   // Segments that a path is first taken to reorder by; absent: 3 (tcp_reordering)
	MaxReordering   *uint32   // The most that the reordering found may grow to; absent: 300 (tcp_max_reordering)
	MaxRTO          *sim.Time // Largest retransmission timeout; absent: 120s (TCP_RTO_MAX)

	// Congestion control.
	HyStart            string  // How CUBIC leaves slow start before a loss: linux (ACK train and delay, as Linux's CUBIC), rfc9406 (HyStart++) or off; absent: linux
	SlowStartAfterIdle *bool   // The window shrinks while a connection is idle (RFC 2861); absent: on (tcp_slow_start_after_idle)
	CwndValidation     *bool   // A window that was not used does not grow (RFC 7661); absent: on
	ABC                *bool   // Appropriate byte counting (RFC 3465): the window grows by what an ACK covers; off: by one segment an ACK; absent: on
	Pacing             *bool   // Spreads segments over the round trip; absent: off, but BBR always paces (SO_MAX_PACING_RATE, fq)
	PacingSSRatio      *uint32 // Pacing rate in slow start, percent of cwnd/srtt; absent: 200 (tcp_pacing_ss_ratio)
	PacingCARatio      *uint32 // Pacing rate in congestion avoidance, percent of cwnd/srtt; absent: 120 (tcp_pacing_ca_ratio)
	MaxPacingRate      *uint64 // Upper bound of the pacing rate, bytes a second; given, it switches pacing on; absent: none (SO_MAX_PACING_RATE)
	ECN                string  // Explicit congestion notification (RFC 3168): on asks for it, passive only agrees to it; absent: passive (tcp_ecn)
	ECNFallback        *bool   // A SYN for ECN that times out is sent again without (RFC 3168 6.1.1.1); absent: on (tcp_ecn_fallback)
	ABE                *bool   // The window is reduced less on ECN's mark than on a loss (RFC 8511); absent: off

	// Handshake and its defences.
	FastOpen          string    // TCP Fast Open (RFC 7413): client, server, both or off; absent: client (tcp_fastopen)
	FastOpenNoCookie  *bool     // Fast Open without a cookie, asked for or sent; absent: off (tcp_fastopen 0x4, 0x200)
	FastOpenKey       string    // 32 hex digits, or two keys joined by a comma, that cookies are made with; absent: from the lab's seed (tcp_fastopen_key)
	FastOpenBacklog   *uint32   // Fast Open connections that a listener holds before their handshake ends; absent: as backlog (TCP_FASTOPEN)
	SYNCookies        string    // Answers with SYN cookies (RFC 4987 3.6) when the queue of half-open connections is full; always: to every SYN; absent: on (tcp_syncookies)
	SYNACKRetries     *uint32   // Retransmissions of a SYN+ACK; absent: 5 (tcp_synack_retries)
	SYNLinearTimeouts *uint32   // Retransmissions of a SYN before its timeout doubles; absent: 4 (tcp_syn_linear_timeouts)
	AbortOnOverflow   *bool     // Resets what the full accept queue has no room for; off: the peer tries again; absent: off (tcp_abort_on_overflow)
	PortRandomization *bool     // Ephemeral ports are hard to guess (RFC 6056); off: they count up; absent: on
	ISNGenerator      string    // How initial sequence numbers are chosen: rfc6528 (keyed), or rfc793 (a clock that anyone can guess); absent: rfc6528
	ChallengeACKs     *bool     // Blind resets, SYNs and data are met with challenge ACKs (RFC 5961); off: as RFC 793 had it; absent: on
	ChallengeACKLimit *uint32   // Challenge ACKs a second, whole stack; absent: no limit (tcp_challenge_ack_limit)
	InvalidRatelimit  *sim.Time // At most one ACK to invalid segments of a connection in this time; absent: 500ms (tcp_invalid_ratelimit)
	ICMPHardening     *bool     // ICMP errors count only when they quote a sequence number in flight, and hard errors do not end a connection (RFC 5927); absent: on
	DeferAccept       *sim.Time // A connection is accepted only once data has come, or after this long; absent: at once (TCP_DEFER_ACCEPT)

	// Data, timers and memory.
	KeepAlive         *bool     // Probes an idle peer (RFC 9293 3.8.4); absent: off (SO_KEEPALIVE)
	KeepAliveTime     *sim.Time // Idle time before the first probe; absent: 2h (tcp_keepalive_time)
	KeepAliveInterval *sim.Time // Between probes; absent: 75s (tcp_keepalive_intvl)
	KeepAliveProbes   *uint32   // Probes without an answer that end the connection; absent: 9 (tcp_keepalive_probes)
	UserTimeout       *sim.Time // Data unacknowledged this long ends the connection (RFC 9293 3.8.3); absent: by the retries (TCP_USER_TIMEOUT)
	UserTimeoutOption *bool     // Tells the peer the user timeout and adopts the peer's (RFC 5482); absent: off
	StdUrg            *bool     // The urgent pointer points at the urgent byte (RFC 1122) and not behind it (RFC 6093); absent: off (tcp_stdurg)
	Minshall          *bool     // Nagle holds a small segment back only while another small one is in flight (Minshall); off: while any is; absent: on
	Cork              *bool     // Sends full segments only; what is less waits for one retransmission timeout at most; absent: off (TCP_CORK)
	SendAutotuning    *bool     // The send buffer grows with the window, unless sendBuffer fixes it; absent: on
	RecvAutotuning    *bool     // The receive buffer grows with what the application reads a round trip, unless recvBuffer fixes it; absent: on (tcp_moderate_rcvbuf)
	MaxSendBuffer     *uint64   // What autotuning may grow the send buffer to; absent: 4MiB (tcp_wmem)
	MaxRecvBuffer     *uint64   // What autotuning may grow the receive buffer to; absent: 6MiB (tcp_rmem)
	StartSendBuffer   *uint64   // What autotuning begins with; absent: 16 KiB (tcp_wmem)
	StartRecvBuffer   *uint64   // What autotuning begins with, bytes of memory; absent: 128 KiB (tcp_rmem)
	CompressedACKs    *uint32   // Duplicate ACKs that one may stand for; absent: 44 (tcp_comp_sack_nr); 0: each is sent
	CompressedDelay   *sim.Time // The longest they wait; absent: 1ms (tcp_comp_sack_delay_ns)
	FastOpenBlackhole *sim.Time // How long Fast Open is not used after a path has swallowed it; absent: it is (tcp_fastopen_blackhole_timeout_sec)
	MemoryLimit       *uint64   // Bytes that all buffers of a node's stack may hold; beyond it buffers are pruned and segments dropped; absent: the lab's own limit (tcp_mem)
	NotsentLowat      *uint64   // Unsent bytes above which a connection is not writable; absent: none (tcp_notsent_lowat)
	WindowClamp       *uint64   // Upper bound of the window announced; absent: none (TCP_WINDOW_CLAMP)
	FINTimeout        *sim.Time // How long a connection that nobody owns stays in FIN-WAIT-2; absent: 60s (tcp_fin_timeout)
	OrphanRetries     *uint32   // Retransmissions before a connection that nobody owns fails; absent: 8 (tcp_orphan_retries)
	RFC1337           *bool     // A reset does not end TIME-WAIT (RFC 1337); absent: off (tcp_rfc1337)
	TimeWaitReuse     string    // A new connection may take over one in TIME-WAIT by timestamps (RFC 6191): on, off, loopback; absent: loopback (tcp_tw_reuse)
	SourceRoute       string    // IPv4 routers that the segments of a connection opened here pass (RFC 9293 3.9.2.1): loose or strict, and their addresses; absent: none (IP_OPTIONS)
	TOS               *uint32   // The IP header's type of service byte; absent: 0 (IP_TOS)
	BurstShare        *uint32   // A burst that the window cuts short waits for ACKs that are about to come, unless it is this part of the window; absent, as in labs, and 0: it never waits (tcp_tso_win_divisor)
	TTL               *uint32   // The IP header's time to live, or hop limit; absent: the stack's (IP_TTL)
	PingPong          *uint32   // Answers with data after which an exchange counts as interactive, and its ACKs wait; absent: 1 (tcp_pingpong_thresh)
	MetricsSave       *bool     // What a connection has measured of its path is kept for those to come; absent: on (tcp_no_metrics_save 0)
	SSThreshMetrics   *bool     // The end of slow start is kept of a path, too; absent: off (tcp_no_ssthresh_metrics_save 1)
	MD5Key            string    // What all segments are signed with, and must be (RFC 2385); absent: none (TCP_MD5SIG)
	ReusePort         *bool     // Several listeners may share an address and port, and the connections to it, if all have it; absent: off (SO_REUSEPORT)
	OpenTimeout       *sim.Time // How long a connection may take to open at the end that opens it; absent: as its SYN's retransmissions take (FreeBSD: net.inet.tcp.keepinit)
	PersistMin        *sim.Time // Least time between probes of a closed window; absent: none but the timeout's (FreeBSD: TCPTV_PERSMIN)
	PersistMax        *sim.Time // Most time between them; absent: MaxRTO (FreeBSD: TCPTV_PERSMAX)
	InvalidBurst      *uint32   // ACKs to invalid segments that may go in InvalidRatelimit; absent: 1 (FreeBSD: net.inet.tcp.ack_war_cnt)
	CompressedShare   *uint32   // Percent of the round trip that duplicate ACKs wait at most for each other; absent: 5 (tcp_comp_sack_rtt_percent)
	SYNCount          *uint32   // Retransmissions of a SYN, and of a listener's SYN+ACKs, in place of SYNRetries and SYNACKRetries; absent: those (TCP_SYNCNT)
	RecvLowat         *uint64   // Bytes that must have come before the application is told, and before it is left to it to acknowledge them; absent: 1 (SO_RCVLOWAT)
	ShrinkWindow      *bool     // The window that is announced may shrink, to what memory is left; absent: off (tcp_shrink_window)
	SignedWindows     *bool     // No window above 32767 is announced without a scale, for peers that take it for a signed number; absent: off (tcp_workaround_signed_windows)
	ReflectTOS        *bool     // A listener answers, and its connections send, with the type of service that the SYN had; absent: off (tcp_reflect_tos)
	SYNBacklog        *uint32   // Half-open connections of a listener, of whose last quarter only peers that are known get one without SYN cookies; absent: 4096 (tcp_max_syn_backlog)
	ThinLinear        *bool     // Timeouts of a flow of less than four segments do not double, six times; absent: off (tcp_thin_linear_timeouts)

	// Path MTU and personality.
	PMTUDiscovery    *bool   // Path MTU discovery (RFC 1191, 8201); absent: on (ip_no_pmtu_disc)
	MTUProbing       string  // Packetization layer path MTU discovery (RFC 4821): off, blackhole (once segments vanish) or always; absent: off (tcp_mtu_probing)
	BaseMSS          *uint32 // MSS that probing starts from; absent: 1024 (tcp_base_mss)
	MTUProbeFloor    *uint32 // Least MSS that a black hole leads to; absent: 48 (tcp_mtu_probe_floor)
	MinPMTU          *uint32 // Least path MTU that an ICMP message may set; absent: 552 (min_pmtu)
	BlackholeRetries *uint32 // Timeouts before the path is suspected; absent: 3 (tcp_retries1)
	Personality      string  // Whose constants the absent settings are: linux or freebsd; absent: linux

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
	c.mergeSwitches(&outer)
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
	maxTimer  = 24 * 3600 * sim.Second // keepalive counts in hours (RFC 9293 3.8.4)
	maxRetry  = 255                    // counted in a byte
	maxQueue  = 65535
)

// settings are a connection's configuration with nothing left open; connections share them.
type settings struct {
	from TCPConfig // what they were resolved from

	cc                                congestion.ID
	sack, timestamps, windowScaling   bool
	fixedISN, nagle, fastRtx, quickAC bool
	isn                               uint32
	delAck                            sim.Time
	fixedDelAck                       bool   // delAck was given
	mss                               uint32 // 0: the MTU's
	sndBuf, rcvBuf                    uint32 // 0: tuned
	iw                                uint32
	minRTO, initialRTO, timeWait      sim.Time
	synRetries, dataRetries           uint8
	backlog                           int

	dsack              bool
	rack               bool
	rackAdapt          bool
	tlp                bool
	prr                bool
	frto               bool
	eifel              bool
	dsackUndo          bool
	limitedTransmit    bool
	reordering         uint32
	maxReordering      uint32
	maxRTO             sim.Time
	hystart            HyStartMode
	slowStartAfterIdle bool
	cwndValidation     bool
	abc                bool
	pacing             bool
	pacingSSRatio      uint32
	pacingCARatio      uint32
	maxPacingRate      uint64
	ecn                ECNMode
	ecnFallback        bool
	abe                bool
	fastOpen           FastOpenMode
	fastOpenNoCookie   bool
	fastOpenKeys       []fastOpenKey
	fastOpenBacklog    uint32
	fastOpenBlackhole  sim.Time
	synCookies         SYNCookiesMode
	synAckRetries      uint8
	synLinear          uint8
	abortOnOverflow    bool
	portRandomization  bool
	isnGenerator       ISNGeneratorMode
	challengeACKs      bool
	challengeACKLimit  uint32
	invalidRatelimit   sim.Time
	icmpHardening      bool
	deferAccept        sim.Time
	keepAlive          bool
	keepAliveTime      sim.Time
	keepAliveInterval  sim.Time
	keepAliveProbes    uint8
	userTimeout        sim.Time
	userTimeoutOption  bool
	stdUrg             bool
	minshall           bool
	cork               bool
	sendAutotuning     bool
	recvAutotuning     bool
	maxSendBuffer      uint32
	maxRecvBuffer      uint32
	compressedACKs     uint8
	compressedDelay    sim.Time
	startSendBuffer    uint32
	startRecvBuffer    uint32
	memoryLimit        uint32
	notsentLowat       uint32
	windowClamp        uint32
	finTimeout         sim.Time
	orphanRetries      uint8
	rfc1337            bool
	timeWaitReuse      TimeWaitReuseMode
	sourceRoute        *givenRoute
	tos, ttl           uint8
	burstShare         uint8
	pingPong           uint8
	thinLinear         bool
	synCount           bool // was given
	reusePort          bool
	md5Key             string
	openTimeout        sim.Time // 0: none
	persistMin         sim.Time
	persistMax         sim.Time
	invalidBurst       uint8
	compressedShare    uint8
	recvLowat          uint32
	shrinkWindow       bool
	signedWindows      bool
	reflectTOS         bool
	synBacklog         uint32
	rackDupThresh      bool
	minRTTWindow       sim.Time
	metricsSave        bool
	ssthreshMetrics    bool
	pmtuDiscovery      bool
	mtuProbing         MTUProbingMode
	baseMSS            uint32
	mtuProbeFloor      uint32
	minPMTU            uint32
	blackholeRetries   uint8
	personality        Personality
}

// resolve fills in the defaults and checks the bounds.
func (c TCPConfig) resolve() (*settings, error) {
	given := c
	if c.Personality == personalityWords[PersonalityFreeBSD] {
		c = c.Merge(freebsdDefaults)
	}
	cc, ok := congestion.Find(c.Congestion)
	if !ok {
		return nil, fmt.Errorf("tcpstack: no congestion control %q", c.Congestion)
	}
	s := &settings{
		from: given,
		cc:   cc, sack: or(c.SACK, true), timestamps: or(c.Timestamps, true), windowScaling: or(c.WindowScaling, true),
		nagle: or(c.Nagle, true), fastRtx: or(c.FastRetransmit, true), quickAC: or(c.QuickACK, true),
		fixedISN: c.ISN != nil, isn: or(c.ISN, 0), delAck: or(c.DelayedACK, 0), fixedDelAck: c.DelayedACK != nil,
		mss: c.MSS, minRTO: c.MinRTO, initialRTO: c.InitialRTO, timeWait: or(c.TimeWait, 60*sim.Second),
	}
	inherit(&c.InitialWindow, 10)
	inherit(&c.Backlog, 128)
	inherit(&s.minRTO, 200*sim.Millisecond)
	inherit(&s.initialRTO, sim.Second)
	syn, data := or(c.SYNRetries, 6), or(c.DataRetries, 15)
	switch {
	case c.SendBuffer != 0 && c.SendBuffer < minBuffer || c.SendBuffer > maxBuffer:
		return nil, fmt.Errorf("tcpstack: send buffer of %d bytes is not within %d and %d", c.SendBuffer, minBuffer, maxBuffer)
	case c.RecvBuffer != 0 && c.RecvBuffer < minBuffer || c.RecvBuffer > maxBuffer:
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
	case s.initialRTO < leastRTO:
		return nil, fmt.Errorf("tcpstack: initialRto is %v, below %v", s.initialRTO, leastRTO)
	}
	s.sndBuf, s.rcvBuf, s.iw, s.backlog = uint32(c.SendBuffer), uint32(c.RecvBuffer), c.InitialWindow, int(c.Backlog)
	s.synRetries, s.dataRetries = uint8(syn), uint8(data)
	if err := c.resolveSwitches(s); err != nil {
		return nil, err
	}
	return s, nil
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
