package labfile

import (
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

// TCP is the table of TCP settings.
var TCP = &schema.Object[labv1.TcpSettings]{
	Name: "tcp",
	Doc:  "Switches and settings of TCP, for a node or for one connection. What is absent is the next outer setting, at last current Linux's default.",
	Keys: []schema.Key[labv1.TcpSettings]{
		schema.Enum("congestion", "congestion", "Congestion control; absent: `cubic`.", []string{"reno", "cubic", "bbr", "bbr3", "dctcp"}, []string{"reno", "cubic", "bbr", "bbr3", "dctcp"}, func(t *labv1.TcpSettings, s string) { t.Congestion = &s }),
		schema.Switch("sack", "sack", "Selective acknowledgement (RFC 2018); absent: on (`tcp_sack`).", func(t *labv1.TcpSettings, on bool) { t.Sack = &on }),
		schema.Switch("timestamps", "timestamps", "Timestamps (RFC 7323); absent: on (`tcp_timestamps`).", func(t *labv1.TcpSettings, on bool) { t.Timestamps = &on }),
		schema.Switch("windowScaling", "window_scaling", "Window scale (RFC 7323); absent: on (`tcp_window_scaling`).", func(t *labv1.TcpSettings, on bool) { t.WindowScaling = &on }),
		schema.Whole("isn", "isn", "A fixed initial sequence number; absent: by RFC 6528.", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.Isn = &v }),
		schema.Duration("delayedAck", "delayed_ack_ns", "How long an ACK is held; `0s`: never; absent: `40ms` to `200ms`, as data comes (`TCP_ATO_MIN`, `TCP_DELACK_MAX`).", func(t *labv1.TcpSettings, ns int64) { t.DelayedAckNs = &ns }),
		schema.Switch("quickAck", "quick_ack", "ACK at once at a connection's start, as Linux does; absent: on.", func(t *labv1.TcpSettings, on bool) { t.QuickAck = &on }),
		schema.Switch("nagle", "nagle", "Nagle's algorithm (RFC 9293 3.7.4); absent: on.", func(t *labv1.TcpSettings, on bool) { t.Nagle = &on }),
		schema.Size("mss", "mss", "Upper bound of the MSS announced and used; absent: what the MTU allows.", func(t *labv1.TcpSettings, n uint64) { v := uint32(min(n, 1<<32-1)); t.Mss = &v }),
		schema.Size("sendBuffer", "send_buffer_bytes", "Fixes how many bytes may be written and not yet acknowledged; absent: grows with the window from `16KiB` on (`tcp_wmem`).", func(t *labv1.TcpSettings, n uint64) { t.SendBufferBytes = &n }),
		schema.Size("recvBuffer", "recv_buffer_bytes", "Fixes how many bytes may be received and not yet read, the largest window; absent: grows with what is read from `128KiB` of memory on (`tcp_rmem`).", func(t *labv1.TcpSettings, n uint64) { t.RecvBufferBytes = &n }),
		schema.Whole("initialWindow", "initial_window_segments", "Segments of the initial window (RFC 6928); absent: 10.", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.InitialWindowSegments = &v }),
		schema.Duration("minRto", "min_rto_ns", "Least retransmission timeout; absent: `200ms` (`TCP_RTO_MIN`).", func(t *labv1.TcpSettings, ns int64) { t.MinRtoNs = &ns }),
		schema.Duration("initialRto", "initial_rto_ns", "Timeout before there is an RTT (RFC 6298 2.1); absent: `1s`.", func(t *labv1.TcpSettings, ns int64) { t.InitialRtoNs = &ns }),
		schema.Duration("timeWait", "time_wait_ns", "2 MSL; absent: `60s` (`TCP_TIMEWAIT_LEN`).", func(t *labv1.TcpSettings, ns int64) { t.TimeWaitNs = &ns }),
		schema.Whole("synRetries", "syn_retries", "Retransmissions of a SYN; absent: 6 (`tcp_syn_retries`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.SynRetries = &v }),
		schema.Whole("dataRetries", "data_retries", "Retransmissions before a connection fails; absent: 15 (`tcp_retries2`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.DataRetries = &v }),
		schema.Switch("fastRetransmit", "fast_retransmit", "Fast retransmit and recovery (RFC 5681 3.2); off: only the timeout repairs loss; absent: on.", func(t *labv1.TcpSettings, on bool) { t.FastRetransmit = &on }),
		schema.Whole("backlog", "backlog", "Connections a listener holds that were not accepted; absent: 128.", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.Backlog = &v }),
		schema.Switch("dsack", "dsack", "Reports duplicates by SACK blocks (RFC 2883); absent: on (`tcp_dsack`).", func(t *labv1.TcpSettings, on bool) { t.Dsack = &on }),
		schema.Switch("rack", "rack", "Detects loss by time (RFC 8985); off: by duplicate ACKs and SACKed bytes (RFC 6675); absent: on (`tcp_recovery` bit 0).", func(t *labv1.TcpSettings, on bool) { t.Rack = &on }),
		schema.Switch("rackAdapt", "rack_adapt", "RACK's reordering window grows when a DSACK shows that it was too small (RFC 8985 3.3.2); absent: on (`tcp_recovery` bit 1 unset).", func(t *labv1.TcpSettings, on bool) { t.RackAdapt = &on }),
		schema.Switch("tlp", "tlp", "Tail loss probes (RFC 8985 7); absent: on (`tcp_early_retrans`).", func(t *labv1.TcpSettings, on bool) { t.Tlp = &on }),
		schema.Switch("prr", "prr", "Proportional rate reduction (RFC 9937); off: the window drops to ssthresh at once; absent: on.", func(t *labv1.TcpSettings, on bool) { t.Prr = &on }),
		schema.Switch("frto", "frto", "F-RTO finds spurious timeouts (RFC 5682); absent: on (`tcp_frto`).", func(t *labv1.TcpSettings, on bool) { t.Frto = &on }),
		schema.Switch("eifel", "eifel", "Eifel: timestamps tell that a retransmission was spurious (RFC 3522), and the window is restored (RFC 4015); absent: on.", func(t *labv1.TcpSettings, on bool) { t.Eifel = &on }),
		schema.Switch("dsackUndo", "dsack_undo", "The window is restored once DSACKs show that all retransmissions were spurious; absent: on.", func(t *labv1.TcpSettings, on bool) { t.DsackUndo = &on }),
		schema.Switch("limitedTransmit", "limited_transmit", "New data on the first two duplicate ACKs (RFC 3042); absent: on.", func(t *labv1.TcpSettings, on bool) { t.LimitedTransmit = &on }),
		schema.Whole("reordering", "reordering", "Segments that a path is first taken to reorder by; absent: 3 (`tcp_reordering`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.Reordering = &v }),
		schema.Whole("maxReordering", "max_reordering", "The most that the reordering found may grow to; absent: 300 (`tcp_max_reordering`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.MaxReordering = &v }),
		schema.Duration("maxRto", "max_rto_ns", "Largest retransmission timeout; absent: `120s` (`TCP_RTO_MAX`).", func(t *labv1.TcpSettings, ns int64) { t.MaxRtoNs = &ns }),
		schema.Enum("hystart", "hystart", "How CUBIC leaves slow start before a loss: `linux` (ACK train and delay, as Linux's CUBIC), `rfc9406` (HyStart++) or `off`; absent: `linux`.", []string{"linux", "rfc9406", "off"}, []string{"linux", "rfc9406", "off"}, func(t *labv1.TcpSettings, s string) { t.Hystart = &s }),
		schema.Switch("slowStartAfterIdle", "slow_start_after_idle", "The window shrinks while a connection is idle (RFC 2861); absent: on (`tcp_slow_start_after_idle`).", func(t *labv1.TcpSettings, on bool) { t.SlowStartAfterIdle = &on }),
		schema.Switch("cwndValidation", "cwnd_validation", "A window that was not used does not grow (RFC 7661); absent: on.", func(t *labv1.TcpSettings, on bool) { t.CwndValidation = &on }),
		schema.Switch("abc", "abc", "Appropriate byte counting (RFC 3465): the window grows by what an ACK covers; off: by one segment an ACK; absent: on.", func(t *labv1.TcpSettings, on bool) { t.Abc = &on }),
		schema.Switch("pacing", "pacing", "Spreads segments over the round trip; absent: off, but BBR always paces (`SO_MAX_PACING_RATE`, fq).", func(t *labv1.TcpSettings, on bool) { t.Pacing = &on }),
		schema.Whole("pacingSsRatio", "pacing_ss_ratio", "Pacing rate in slow start, percent of cwnd/srtt; absent: 200 (`tcp_pacing_ss_ratio`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.PacingSsRatio = &v }),
		schema.Whole("pacingCaRatio", "pacing_ca_ratio", "Pacing rate in congestion avoidance, percent of cwnd/srtt; absent: 120 (`tcp_pacing_ca_ratio`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.PacingCaRatio = &v }),
		schema.Rate("maxPacingRate", "max_pacing_rate_bps", "Upper bound of the pacing rate; given, it switches pacing on; absent: none (`SO_MAX_PACING_RATE`).", func(t *labv1.TcpSettings, n uint64) { t.MaxPacingRateBps = &n }),
		schema.Enum("ecn", "ecn", "Explicit congestion notification (RFC 3168): `on` asks for it, `passive` only agrees to it; absent: `passive` (`tcp_ecn`).", []string{"off", "on", "passive"}, []string{"off", "on", "passive"}, func(t *labv1.TcpSettings, s string) { t.Ecn = &s }),
		schema.Switch("ecnFallback", "ecn_fallback", "A SYN for ECN that times out is sent again without (RFC 3168 6.1.1.1); absent: on (`tcp_ecn_fallback`).", func(t *labv1.TcpSettings, on bool) { t.EcnFallback = &on }),
		schema.Switch("abe", "abe", "The window is reduced less on ECN's mark than on a loss (RFC 8511); absent: off.", func(t *labv1.TcpSettings, on bool) { t.Abe = &on }),
		schema.Enum("fastOpen", "fast_open", "TCP Fast Open (RFC 7413): `client`, `server`, `both` or `off`; transfers and downloads ask for it where the file names `client` or `both`. Absent: `client` (`tcp_fastopen`).", []string{"off", "client", "server", "both"}, []string{"off", "client", "server", "both"}, func(t *labv1.TcpSettings, s string) { t.FastOpen = &s }),
		schema.Switch("fastOpenNoCookie", "fast_open_no_cookie", "Fast Open without a cookie, asked for or sent; absent: off (`tcp_fastopen` 0x4, 0x200).", func(t *labv1.TcpSettings, on bool) { t.FastOpenNoCookie = &on }),
		schema.Text("fastOpenKey", "fast_open_key", "32 hex digits, or two keys joined by a comma, that cookies are made with; absent: from the lab's seed (`tcp_fastopen_key`).", func(t *labv1.TcpSettings, s string) { t.FastOpenKey = &s }),
		schema.Whole("fastOpenBacklog", "fast_open_backlog", "Fast Open connections that a listener holds before their handshake ends; 0: it makes none; absent: as `backlog` (`TCP_FASTOPEN`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.FastOpenBacklog = &v }),
		schema.Enum("synCookies", "syn_cookies", "Answers with SYN cookies (RFC 4987 3.6) when the queue of half-open connections is full; `always`: to every SYN; absent: `on` (`tcp_syncookies`).", []string{"off", "on", "always"}, []string{"off", "on", "always"}, func(t *labv1.TcpSettings, s string) { t.SynCookies = &s }),
		schema.Whole("synAckRetries", "syn_ack_retries", "Retransmissions of a SYN+ACK; absent: 5 (`tcp_synack_retries`).", 8, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.SynAckRetries = &v }),
		schema.Whole("synLinearTimeouts", "syn_linear_timeouts", "Retransmissions of a SYN before its timeout doubles; absent: 4 (`tcp_syn_linear_timeouts`).", 8, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.SynLinearTimeouts = &v }),
		schema.Switch("abortOnOverflow", "abort_on_overflow", "Resets what the full accept queue has no room for; off: the peer tries again; absent: off (`tcp_abort_on_overflow`).", func(t *labv1.TcpSettings, on bool) { t.AbortOnOverflow = &on }),
		schema.Switch("portRandomization", "port_randomization", "Ephemeral ports are hard to guess (RFC 6056); off: they count up; absent: on.", func(t *labv1.TcpSettings, on bool) { t.PortRandomization = &on }),
		schema.Enum("isnGenerator", "isn_generator", "How initial sequence numbers are chosen: `rfc6528` (keyed), or `rfc793` (a clock that anyone can guess); absent: `rfc6528`.", []string{"rfc6528", "rfc793"}, []string{"rfc6528", "rfc793"}, func(t *labv1.TcpSettings, s string) { t.IsnGenerator = &s }),
		schema.Switch("challengeAcks", "challenge_acks", "Blind resets, SYNs and data are met with challenge ACKs (RFC 5961); off: as RFC 793 had it; absent: on.", func(t *labv1.TcpSettings, on bool) { t.ChallengeAcks = &on }),
		schema.Whole("challengeAckLimit", "challenge_ack_limit", "Challenge ACKs a second, whole stack; absent: no limit (`tcp_challenge_ack_limit`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.ChallengeAckLimit = &v }),
		schema.Duration("invalidRatelimit", "invalid_ratelimit_ns", "At most one ACK to invalid segments of a connection in this time; absent: `500ms` (`tcp_invalid_ratelimit`).", func(t *labv1.TcpSettings, ns int64) { t.InvalidRatelimitNs = &ns }),
		schema.Switch("icmpHardening", "icmp_hardening", "ICMP errors count only when they quote a sequence number in flight, and hard errors do not end a connection (RFC 5927); absent: on.", func(t *labv1.TcpSettings, on bool) { t.IcmpHardening = &on }),
		schema.Duration("deferAccept", "defer_accept_ns", "A connection is accepted only once data has come, or after this long; absent: at once (`TCP_DEFER_ACCEPT`).", func(t *labv1.TcpSettings, ns int64) { t.DeferAcceptNs = &ns }),
		schema.Switch("keepAlive", "keep_alive", "Probes an idle peer (RFC 9293 3.8.4); absent: off (`SO_KEEPALIVE`).", func(t *labv1.TcpSettings, on bool) { t.KeepAlive = &on }),
		schema.Duration("keepAliveTime", "keep_alive_time_ns", "Idle time before the first probe; absent: `2h` (`tcp_keepalive_time`).", func(t *labv1.TcpSettings, ns int64) { t.KeepAliveTimeNs = &ns }),
		schema.Duration("keepAliveInterval", "keep_alive_interval_ns", "Between probes; absent: `75s` (`tcp_keepalive_intvl`).", func(t *labv1.TcpSettings, ns int64) { t.KeepAliveIntervalNs = &ns }),
		schema.Whole("keepAliveProbes", "keep_alive_probes", "Probes without an answer that end the connection; absent: 9 (`tcp_keepalive_probes`).", 8, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.KeepAliveProbes = &v }),
		schema.Duration("userTimeout", "user_timeout_ns", "Data unacknowledged this long ends the connection (RFC 9293 3.8.3); absent: by the retries (`TCP_USER_TIMEOUT`).", func(t *labv1.TcpSettings, ns int64) { t.UserTimeoutNs = &ns }),
		schema.Switch("userTimeoutOption", "user_timeout_option", "Tells the peer the user timeout and adopts the peer's (RFC 5482); absent: off.", func(t *labv1.TcpSettings, on bool) { t.UserTimeoutOption = &on }),
		schema.Switch("stdUrg", "std_urg", "The urgent pointer points at the urgent byte (RFC 1122) and not behind it (RFC 6093); absent: off (`tcp_stdurg`).", func(t *labv1.TcpSettings, on bool) { t.StdUrg = &on }),
		schema.Switch("minshall", "minshall", "Nagle holds a small segment back only while another small one is in flight (Minshall); off: while any is; absent: on.", func(t *labv1.TcpSettings, on bool) { t.Minshall = &on }),
		schema.Switch("cork", "cork", "Sends full segments only; what is less waits for one retransmission timeout at most; absent: off (`TCP_CORK`).", func(t *labv1.TcpSettings, on bool) { t.Cork = &on }),
		schema.Switch("sendAutotuning", "send_autotuning", "The send buffer grows with the window, unless `sendBuffer` fixes it; absent: on.", func(t *labv1.TcpSettings, on bool) { t.SendAutotuning = &on }),
		schema.Switch("recvAutotuning", "recv_autotuning", "The receive buffer grows with what the application reads a round trip, unless `recvBuffer` fixes it; absent: on (`tcp_moderate_rcvbuf`).", func(t *labv1.TcpSettings, on bool) { t.RecvAutotuning = &on }),
		schema.Size("maxSendBuffer", "max_send_buffer_bytes", "What autotuning may grow the send buffer to; absent: `4MiB` (`tcp_wmem`).", func(t *labv1.TcpSettings, n uint64) { t.MaxSendBufferBytes = &n }),
		schema.Size("maxRecvBuffer", "max_recv_buffer_bytes", "What autotuning may grow the receive buffer to; absent: `6MiB` (`tcp_rmem`).", func(t *labv1.TcpSettings, n uint64) { t.MaxRecvBufferBytes = &n }),
		schema.Size("memoryLimit", "memory_limit_bytes", "Bytes that all buffers of a node's stack may hold; beyond it buffers are pruned and segments dropped; absent: the lab's own limit (`tcp_mem`).", func(t *labv1.TcpSettings, n uint64) { t.MemoryLimitBytes = &n }),
		schema.Size("notsentLowat", "notsent_lowat_bytes", "Unsent bytes above which a connection is not writable; absent: none (`tcp_notsent_lowat`).", func(t *labv1.TcpSettings, n uint64) { t.NotsentLowatBytes = &n }),
		schema.Size("windowClamp", "window_clamp_bytes", "Upper bound of the window announced; absent: none (`TCP_WINDOW_CLAMP`).", func(t *labv1.TcpSettings, n uint64) { t.WindowClampBytes = &n }),
		schema.Duration("finTimeout", "fin_timeout_ns", "How long a connection that nobody owns stays in FIN-WAIT-2; absent: `60s` (`tcp_fin_timeout`).", func(t *labv1.TcpSettings, ns int64) { t.FinTimeoutNs = &ns }),
		schema.Whole("orphanRetries", "orphan_retries", "Retransmissions before a connection that nobody owns fails; absent: 8 (`tcp_orphan_retries`).", 8, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.OrphanRetries = &v }),
		schema.Switch("rfc1337", "rfc1337", "A reset does not end TIME-WAIT (RFC 1337); absent: off (`tcp_rfc1337`).", func(t *labv1.TcpSettings, on bool) { t.Rfc1337 = &on }),
		schema.Enum("timeWaitReuse", "time_wait_reuse", "A new connection may take over one in TIME-WAIT by timestamps (RFC 6191): `on`, `off`, `loopback`; absent: `loopback` (`tcp_tw_reuse`).", []string{"off", "on", "loopback"}, []string{"off", "on", "loopback"}, func(t *labv1.TcpSettings, s string) { t.TimeWaitReuse = &s }),
		schema.Text("sourceRoute", "source_route", "IPv4 routers that the segments of a connection opened here pass: `loose` or `strict`, and up to nine addresses (RFC 9293 3.9.2.1); absent: none (`IP_OPTIONS`).", func(t *labv1.TcpSettings, s string) { t.SourceRoute = &s }),
		schema.Whole("tos", "tos", "The IP header's type of service byte; absent: 0 (`IP_TOS`).", 8, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.Tos = &v }),
		schema.Whole("ttl", "ttl", "The IP header's time to live, or hop limit; absent: the node's (`IP_TTL`).", 8, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.Ttl = &v }),
		schema.Whole("pingPong", "ping_pong", "Answers with data after which an exchange counts as interactive, and its ACKs wait for data; absent: 1 (`tcp_pingpong_thresh`).", 8, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.PingPong = &v }),
		schema.Switch("thinLinear", "thin_linear", "The first six timeouts of a flow with less than four segments in flight do not double; absent: off (`tcp_thin_linear_timeouts`).", func(t *labv1.TcpSettings, on bool) { t.ThinLinear = &on }),
		schema.Switch("metricsSave", "metrics_save", "What a connection that ends has measured of its path is kept an hour, for the first timeout and the reordering of those to come; absent: on (`tcp_no_metrics_save`).", func(t *labv1.TcpSettings, on bool) { t.MetricsSave = &on }),
		schema.Switch("ssthreshMetrics", "ssthresh_metrics", "Where slow start has ended is kept of a path, too; absent: off (`tcp_no_ssthresh_metrics_save`).", func(t *labv1.TcpSettings, on bool) { t.SsthreshMetrics = &on }),
		schema.Size("recvLowat", "recv_lowat_bytes", "Bytes that must have come before the application is told, and until which their ACKs do not wait for it; absent: 1 (`SO_RCVLOWAT`).", func(t *labv1.TcpSettings, n uint64) { t.RecvLowatBytes = &n }),
		schema.Switch("shrinkWindow", "shrink_window", "The window that is announced may shrink, to what memory is left; absent: off (`tcp_shrink_window`).", func(t *labv1.TcpSettings, on bool) { t.ShrinkWindow = &on }),
		schema.Switch("signedWindows", "signed_windows", "No window above 32767 is announced without a scale, for peers that take it for a signed number; absent: off (`tcp_workaround_signed_windows`).", func(t *labv1.TcpSettings, on bool) { t.SignedWindows = &on }),
		schema.Switch("reflectTos", "reflect_tos", "A listener answers, and its connections send, with the type of service that the SYN had; absent: off (`tcp_reflect_tos`).", func(t *labv1.TcpSettings, on bool) { t.ReflectTos = &on }),
		schema.Whole("synBacklog", "syn_backlog", "Half-open connections of a listener, of whose last quarter only peers that are known get one without SYN cookies; absent: 4096 (`tcp_max_syn_backlog`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.SynBacklog = &v }),
		schema.Switch("rackDupThresh", "rack_dup_thresh", "RACK waits for no reordering once DupThresh segments were SACKed and none has been seen; absent: on (`tcp_recovery` bit 2 unset).", func(t *labv1.TcpSettings, on bool) { t.RackDupThresh = &on }),
		schema.Duration("minRttWindow", "min_rtt_window_ns", "How long a least round-trip time counts; absent: `300s` (`tcp_min_rtt_wlen`).", func(t *labv1.TcpSettings, ns int64) { t.MinRttWindowNs = &ns }),
		schema.Whole("synCount", "syn_count", "Retransmissions of a SYN, and of a listener's SYN+ACKs, in place of `synRetries` and `synAckRetries`; absent: those (`TCP_SYNCNT`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.SynCount = &v }),
		schema.Duration("openTimeout", "open_timeout_ns", "How long a connection may take to open at the end that opens it; absent: as its SYN's retransmissions take.", func(t *labv1.TcpSettings, ns int64) { t.OpenTimeoutNs = &ns }),
		schema.Duration("persistMin", "persist_min_ns", "Least time between probes of a closed window; absent: the retransmission timeout's.", func(t *labv1.TcpSettings, ns int64) { t.PersistMinNs = &ns }),
		schema.Duration("persistMax", "persist_max_ns", "Most time between them; absent: that of `maxRto`.", func(t *labv1.TcpSettings, ns int64) { t.PersistMaxNs = &ns }),
		schema.Whole("invalidBurst", "invalid_burst", "ACKs to invalid segments of a connection that may go in the time of `invalidRatelimit`; absent: 1.", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.InvalidBurst = &v }),
		schema.Whole("compressedShare", "compressed_share", "Percent of the round trip that duplicate ACKs wait at most for each other; absent: 5 (`tcp_comp_sack_rtt_percent`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.CompressedShare = &v }),
		schema.Switch("reusePort", "reuse_port", "Several listeners may share an address and port, and the connections to it, if all have it; absent: off (`SO_REUSEPORT`).", func(t *labv1.TcpSettings, on bool) { t.ReusePort = &on }),
		schema.Text("md5Key", "md5_key", "Key of 80 bytes at most that all segments are signed with, and must be (RFC 2385); there are no timestamps and no Fast Open then; absent: none (`TCP_MD5SIG`).", func(t *labv1.TcpSettings, s string) { t.Md5Key = &s }),
		schema.Switch("pmtuDiscovery", "pmtu_discovery", "Path MTU discovery (RFC 1191, 8201); absent: on (`ip_no_pmtu_disc`).", func(t *labv1.TcpSettings, on bool) { t.PmtuDiscovery = &on }),
		schema.Enum("mtuProbing", "mtu_probing", "Packetization layer path MTU discovery (RFC 4821): `off`, `blackhole` (once segments vanish) or `always`; absent: `off` (`tcp_mtu_probing`).", []string{"off", "blackhole", "always"}, []string{"off", "blackhole", "always"}, func(t *labv1.TcpSettings, s string) { t.MtuProbing = &s }),
		schema.Whole("baseMss", "base_mss", "MSS that probing starts from; absent: 1024 (`tcp_base_mss`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.BaseMss = &v }),
		schema.Whole("mtuProbeFloor", "mtu_probe_floor", "Least MSS that a black hole leads to; absent: 48 (`tcp_mtu_probe_floor`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.MtuProbeFloor = &v }),
		schema.Whole("minPmtu", "min_pmtu", "Least path MTU that an ICMP message may set; absent: 552 (`min_pmtu`).", 32, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.MinPmtu = &v }),
		schema.Whole("blackholeRetries", "blackhole_retries", "Timeouts before the path is suspected; absent: 3 (`tcp_retries1`).", 8, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.BlackholeRetries = &v }),
		schema.Enum("personality", "personality", "Whose constants the absent settings are: `linux` or `freebsd`; absent: `linux`.", []string{"linux", "freebsd"}, []string{"linux", "freebsd"}, func(t *labv1.TcpSettings, s string) { t.Personality = &s }),
		schema.Duration("fastOpenBlackhole", "fast_open_blackhole_ns", "How long Fast Open is not used after a path has swallowed it, twice as long each time; absent: it is used (`tcp_fastopen_blackhole_timeout_sec`).", func(t *labv1.TcpSettings, ns int64) { t.FastOpenBlackholeNs = &ns }),
		schema.Size("startSendBuffer", "start_send_buffer_bytes", "Send buffer that autotuning begins with; absent: `16KiB` (`tcp_wmem`).", func(t *labv1.TcpSettings, n uint64) { t.StartSendBufferBytes = &n }),
		schema.Size("startRecvBuffer", "start_recv_buffer_bytes", "Memory of the receive buffer that autotuning begins with; absent: `128KiB` (`tcp_rmem`).", func(t *labv1.TcpSettings, n uint64) { t.StartRecvBufferBytes = &n }),
		schema.Whole("compressedAcks", "compressed_acks", "Duplicate ACKs that one with the newest SACK blocks may stand for; 0: each is sent; absent: 44 (`tcp_comp_sack_nr`).", 8, func(t *labv1.TcpSettings, n uint64) { v := uint32(n); t.CompressedAcks = &v }),
		schema.Duration("compressedDelay", "compressed_delay_ns", "How long they wait for it at most, and no longer than a twentieth of the round trip; 0: not at all; absent: `1ms` (`tcp_comp_sack_delay_ns`).", func(t *labv1.TcpSettings, ns int64) { t.CompressedDelayNs = &ns }),
	},
}

var ip = &schema.Object[labv1.IpSettings]{
	Name: "ip",
	Keys: []schema.Key[labv1.IpSettings]{
		schema.Whole("ttl", "ttl", "Of packets sent; absent: 64 (`ip_default_ttl`).", 8, func(s *labv1.IpSettings, n uint64) { s.Ttl = uint32(n) }),
		schema.Duration("reassemblyTimeout", "reassembly_timeout_ns", "Fragments are kept this long; absent: `30s` (`ipfrag_time`).", func(s *labv1.IpSettings, ns int64) { s.ReassemblyTimeoutNs = &ns }),
		schema.Duration("arpTimeout", "arp_timeout_ns", "An ARP entry is fresh this long; absent: `30s`.", func(s *labv1.IpSettings, ns int64) { s.ArpTimeoutNs = &ns }),
		schema.Duration("arpRetry", "arp_retry_ns", "Between ARP requests, three in all; absent: `1s`.", func(s *labv1.IpSettings, ns int64) { s.ArpRetryNs = &ns }),
		schema.Enum("version", "version", "Which versions of IP the node speaks; with `ipv6` alone its name stands for its IPv6 address. Absent: `dual`.",
			[]string{"dual", "ipv4", "ipv6"}, []labv1.IpVersion{labv1.IpVersion_IP_VERSION_DUAL, labv1.IpVersion_IP_VERSION_IPV4, labv1.IpVersion_IP_VERSION_IPV6},
			func(s *labv1.IpSettings, v labv1.IpVersion) { s.Version = v }),
		schema.Switch("slaac", "slaac", "A host: its IPv6 address and router come from advertisements, after a check for duplicates (RFC 4862); absent: off.", func(s *labv1.IpSettings, on bool) { s.Slaac = on }),
		schema.Switch("routerAdvertisements", "router_advertisements", "A router: advertises itself and its links' IPv6 networks (RFC 4861); absent: off.", func(s *labv1.IpSettings, on bool) { s.RouterAdvertisements = on }),
		schema.Duration("raInterval", "ra_interval_ns", "The longest time between two advertisements, at least `4s`; absent: `600s`.", func(s *labv1.IpSettings, ns int64) { s.RaIntervalNs = ns }),
		schema.Whole("dadTransmits", "dad_transmits", "Probes before SLAAC uses an address; absent: 1 (`dad_transmits`).", 8, func(s *labv1.IpSettings, n uint64) { s.DadTransmits = uint32(n) }),
		schema.Switch("acceptSourceRoute", "accept_source_route", "IPv4 packets with source routes are taken, and by routers sent on; off: dropped; absent: off (`accept_source_route`).", func(s *labv1.IpSettings, on bool) { s.AcceptSourceRoute = on }),
		schema.Switch("acceptRedirects", "accept_redirects", "A host takes routers' word of a better first hop on its link (RFC 1122 3.2.2.2, RFC 4861 8); absent: on (`accept_redirects`).", func(s *labv1.IpSettings, on bool) { s.AcceptRedirects = &on }),
		schema.Switch("sendRedirects", "send_redirects", "A router tells hosts of a better first hop on their link (RFC 1812 5.2.7.2, RFC 4861 8); absent: on (`send_redirects`).", func(s *labv1.IpSettings, on bool) { s.SendRedirects = &on }),
		schema.Switch("mld", "mld", "With `slaac` or `routerAdvertisements`: IPv6 groups are joined by multicast listener discovery (RFC 3810); absent: on.", func(s *labv1.IpSettings, on bool) { s.Mld = &on }),
	},
}

var iface = &schema.Object[labv1.InterfaceSpec]{
	Name: "interface",
	Doc:  "Fixes what would else be assigned.",
	Keys: []schema.Key[labv1.InterfaceSpec]{
		schema.Text("address", "address", "Address with prefix: `10.0.1.2/24`.", func(i *labv1.InterfaceSpec, s string) { i.Address = s }),
		schema.Text("address6", "address6", "IPv6 address with prefix: `fd00:1::2/64`.", func(i *labv1.InterfaceSpec, s string) { i.Address6 = s }),
		schema.Text("mac", "mac", "`02:00:00:00:00:01`.", func(i *labv1.InterfaceSpec, s string) { i.Mac = s }),
	},
}

var route = &schema.Object[labv1.RouteSpec]{
	Name: "route",
	Keys: []schema.Key[labv1.RouteSpec]{
		schema.Text("to", "destination", "Prefix: `10.9.0.0/16`, `fd00:9::/48`; `0.0.0.0/0` and `::/0` are the default routes.", func(r *labv1.RouteSpec, s string) { r.Destination = s }).Must(),
		schema.Text("via", "via", "Address of the next hop.", func(r *labv1.RouteSpec, s string) { r.Via = s }).Must(),
	},
}

// Reader is the table of how an application reads.
var Reader = &schema.Object[labv1.Reader]{
	Name: "reader",
	Doc:  "Slows an application's reading down.",
	Keys: []schema.Key[labv1.Reader]{
		schema.Rate("rate", "rate_bps", "Reads at most this fast, payload; absent: unlimited.", func(r *labv1.Reader, v uint64) { r.RateBps = v }),
		schema.Size("readSize", "read_size_bytes", "Bytes a read asks for; absent: `64KiB`.", func(r *labv1.Reader, v uint64) { r.ReadSizeBytes = v }),
		schema.Duration("startDelay", "start_delay_ns", "Reads nothing for so long after the connection is open.", func(r *labv1.Reader, ns int64) { r.StartDelayNs = ns }),
		schema.Size("pauseAfter", "pause_after_bytes", "Stops once after so many bytes ...", func(r *labv1.Reader, v uint64) { r.PauseAfterBytes = int64(min(v, 1<<63-1)) }),
		schema.Duration("pause", "pause_ns", "... for so long.", func(r *labv1.Reader, ns int64) { r.PauseNs = ns }),
	},
}

func port[T any](doc string, set func(*T, uint32)) schema.Key[T] {
	return schema.Whole("port", "port", doc, 16, func(v *T, n uint64) { set(v, uint32(n)) })
}

func newReader(r **labv1.Reader) *labv1.Reader { *r = &labv1.Reader{}; return *r }

// FileRef is what a lab knows of a file.
func FileRef(f schema.File) *labv1.FileRef {
	return &labv1.FileRef{Path: f.Path, Sha256: f.SHA256, SizeBytes: f.Size}
}

var (
	httpApp = &schema.Object[labv1.HttpServerApp]{
		Name: "http server",
		Doc:  "Serves files over HTTP/1.1, reading them in blocks of 64 KiB.",
		Keys: []schema.Key[labv1.HttpServerApp]{
			port("Absent: 80.", func(a *labv1.HttpServerApp, p uint32) { a.Port = p }),
			schema.DirectoryOf("root", "files", "Its files are served. Symbolic links that lead out of it are refused.", func(a *labv1.HttpServerApp, files []schema.File) {
				for _, f := range files {
					a.Files = append(a.Files, FileRef(f))
				}
			}),
		},
	}
	echoApp = &schema.Object[labv1.EchoApp]{
		Name: "echo server",
		Doc:  "Sends back what it is sent, over TCP and UDP.",
		Keys: []schema.Key[labv1.EchoApp]{port("Absent: 7.", func(a *labv1.EchoApp, p uint32) { a.Port = p })},
	}
	sinkApp = &schema.Object[labv1.SinkApp]{
		Name: "sink",
		Doc:  "Accepts TCP connections and reads them.",
		Keys: []schema.Key[labv1.SinkApp]{
			port("Absent: 9.", func(a *labv1.SinkApp, p uint32) { a.Port = p }),
			schema.Nested("reader", "reader", "How it reads.", Reader, func(a *labv1.SinkApp) *labv1.Reader { return newReader(&a.Reader) }),
		},
	}
	udpSinkApp = &schema.Object[labv1.UdpSinkApp]{
		Name: "udp sink",
		Doc:  "Counts datagrams: received, lost, reordered, duplicated.",
		Keys: []schema.Key[labv1.UdpSinkApp]{port("Absent: 9.", func(a *labv1.UdpSinkApp, p uint32) { a.Port = p })},
	}
	transferApp = &schema.Object[labv1.TransferServerApp]{
		Name: "transfer server",
		Doc:  "The receiving end of transfers. Every host runs one without being told.",
		Keys: []schema.Key[labv1.TransferServerApp]{
			port("Absent: 5001.", func(a *labv1.TransferServerApp, p uint32) { a.Port = p }),
			schema.Nested("reader", "reader", "How it reads.", Reader, func(a *labv1.TransferServerApp) *labv1.Reader { return newReader(&a.Reader) }),
		},
	}
	app = &schema.Object[labv1.AppSpec]{
		Name: "app",
		Doc:  "An application that runs from each boot of its node on.",
		Keys: []schema.Key[labv1.AppSpec]{
			schema.Nested("http", "http", "A web server.", httpApp, func(a *labv1.AppSpec) *labv1.HttpServerApp {
				v := &labv1.AppSpec_Http{Http: &labv1.HttpServerApp{}}
				a.App = v
				return v.Http
			}),
			schema.Nested("echo", "echo", "An echo server.", echoApp, func(a *labv1.AppSpec) *labv1.EchoApp {
				v := &labv1.AppSpec_Echo{Echo: &labv1.EchoApp{}}
				a.App = v
				return v.Echo
			}),
			schema.Nested("sink", "sink", "A TCP sink.", sinkApp, func(a *labv1.AppSpec) *labv1.SinkApp {
				v := &labv1.AppSpec_Sink{Sink: &labv1.SinkApp{}}
				a.App = v
				return v.Sink
			}),
			schema.Nested("udpSink", "udp_sink", "A UDP sink.", udpSinkApp, func(a *labv1.AppSpec) *labv1.UdpSinkApp {
				v := &labv1.AppSpec_UdpSink{UdpSink: &labv1.UdpSinkApp{}}
				a.App = v
				return v.UdpSink
			}),
			schema.Nested("transfer", "transfer", "Settings of the transfer server.", transferApp, func(a *labv1.AppSpec) *labv1.TransferServerApp {
				v := &labv1.AppSpec_Transfer{Transfer: &labv1.TransferServerApp{}}
				a.App = v
				return v.Transfer
			}),
		},
		Choices:    [][]string{{"http"}, {"echo"}, {"sink"}, {"udpSink"}, {"transfer"}},
		MustChoose: true,
	}
)

func nodeTCP(n *labv1.NodeSpec) *labv1.TcpSettings {
	if n.Tcp == nil {
		n.Tcp = &labv1.TcpSettings{}
	}
	return n.Tcp
}

func nodeIP(n *labv1.NodeSpec) *labv1.IpSettings {
	if n.Ip == nil {
		n.Ip = &labv1.IpSettings{}
	}
	return n.Ip
}

var nodeDefaults = &schema.Object[labv1.NodeSpec]{
	Name: "node defaults",
	Keys: []schema.Key[labv1.NodeSpec]{
		schema.Nested("tcp", "tcp", "TCP settings of every node, key by key.", TCP, nodeTCP),
		schema.Nested("ip", "ip", "IP settings of every node, key by key.", ip, nodeIP),
	},
}

var node = &schema.Object[labv1.NodeSpec]{
	Name: "node",
	Keys: []schema.Key[labv1.NodeSpec]{
		schema.Enum("kind", "kind", "Absent: `host`.", []string{"host", "router", "switch"},
			[]labv1.NodeKind{labv1.NodeKind_NODE_KIND_HOST, labv1.NodeKind_NODE_KIND_ROUTER, labv1.NodeKind_NODE_KIND_SWITCH},
			func(n *labv1.NodeSpec, k labv1.NodeKind) { n.Kind = k }),
		schema.Nested("tcp", "tcp", "TCP settings of its connections.", TCP, nodeTCP),
		schema.Nested("ip", "ip", "IP settings.", ip, nodeIP),
		schema.Map("interfaces", "interfaces", "name", "Addresses by interface (`eth0`); absent ones are assigned.", iface, func(n *labv1.NodeSpec, name string) *labv1.InterfaceSpec {
			i := &labv1.InterfaceSpec{Name: name}
			n.Interfaces = append(n.Interfaces, i)
			return i
		}),
		schema.List("routes", "routes", "Static routes; shortest paths fill in what they leave open.", route, func(n *labv1.NodeSpec) *labv1.RouteSpec {
			r := &labv1.RouteSpec{}
			n.Routes = append(n.Routes, r)
			return r
		}),
		schema.List("apps", "apps", "Applications that run from boot on.", app, func(n *labv1.NodeSpec) *labv1.AppSpec {
			a := &labv1.AppSpec{}
			n.Apps = append(n.Apps, a)
			return a
		}),
	},
}
