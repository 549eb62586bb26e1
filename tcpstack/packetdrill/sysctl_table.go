package packetdrill

import (
	"fmt"
	"strconv"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

type tcpConfig = tcpstack.TCPConfig

// Reasons that several sysctls without an effect share.
const (
	noQueue   = "segments leave at once, there is no qdisc to fill"
	noTables  = "sizes of Linux's tables"
	noRouting = "scripts have one interface and one peer"
	noMemory  = "scripts use little memory"
	notHere   = "it concerns what scripts cannot see"
)

// sysctls are Linux's settings, in the order of their names. docs/packetdrill.md shows this table; a test compares them.
var sysctls = []sysctl{
	{"net.core.default_qdisc", "pfifo_fast", nil, false, noQueue},
	{"net.core.netdev_max_backlog", "1000", nil, false, notHere},
	{"net.core.optmem_max", "131072", nil, false, noMemory},
	{"net.core.rmem_default", "212992", nil, false, "buffers of UDP are not counted as Linux does"},
	{"net.core.rmem_max", "212992", nil, false, "bounds `SO_RCVBUF`"},
	{"net.core.somaxconn", "4096", nil, false, "bounds the backlog of `listen`"},
	{"net.core.tstamp_allow_data", "1", nil, false, notHere},
	{"net.core.wmem_default", "212992", nil, false, "buffers of UDP are not counted as Linux does"},
	{"net.core.wmem_max", "212992", nil, false, "bounds `SO_SNDBUF`"},
	{"net.ipv4.conf.*", "0", nil, false, noRouting},
	{"net.ipv4.fib_multipath_hash_policy", "0", nil, false, noRouting},
	{"net.ipv4.icmp_msgs_per_sec", "1000", nil, false, notHere},
	{"net.ipv4.icmp_ratelimit", "1000", nil, false, notHere},
	{"net.ipv4.ip_default_ttl", "64", applyTTL, false, "`TTL`"},
	{"net.ipv4.ip_early_demux", "1", nil, false, notHere},
	{"net.ipv4.ip_forward", "0", nil, false, noRouting},
	{"net.ipv4.ip_local_port_range", "32768 60999", nil, false, "the runner maps whatever port the stack takes"},
	{"net.ipv4.ip_local_reserved_ports", "", nil, false, "the runner maps whatever port the stack takes"},
	{"net.ipv4.ip_no_pmtu_disc", "0", applyNoPMTU, false, "`PMTUDiscovery`"},
	{"net.ipv4.ip_nonlocal_bind", "0", nil, false, "bind takes any address"},
	{"net.ipv4.ip_unprivileged_port_start", "1024", nil, false, "every port may be bound"},
	{"net.ipv4.ipfrag_time", "30", applyReassembly, false, "`ReassemblyTimeout`"},
	{"net.ipv4.neigh.*", "0", nil, false, "the neighbour is known"},
	{"net.ipv4.route.flush", "0", nil, false, "forgets the MTUs of paths"},
	{"net.ipv4.route.min_adv_mss", "256", nil, false, "the interface's MTU is above it"},
	{"net.ipv4.route.min_pmtu", "552", counted(68, 65535, func(c *tcpConfig) **uint32 { return &c.MinPMTU }), false, "`MinPMTU`"},
	{"net.ipv4.route.mtu_expires", "600", nil, false, "scripts end before"},
	{"net.ipv4.tcp_abort_on_overflow", "0", onOff(func(c *tcpConfig) **bool { return &c.AbortOnOverflow }), true, "`AbortOnOverflow`"},
	{"net.ipv4.tcp_adv_win_scale", "1", nil, false, "Linux derives the share of the window from the segments since 6.6"},
	{"net.ipv4.tcp_allowed_congestion_control", "reno cubic", nil, false, "every algorithm may be chosen"},
	{"net.ipv4.tcp_app_win", "31", nil, false, "Linux ignores it since 6.6"},
	{"net.ipv4.tcp_autocorking", "1", nil, false, noQueue},
	{"net.ipv4.tcp_available_congestion_control", "reno cubic", nil, false, "it can only be read"},
	{"net.ipv4.tcp_available_ulp", "", nil, false, "it can only be read"},
	{"net.ipv4.tcp_backlog_ack_defer", "1", nil, false, "no segment waits for a socket that is in use"},
	{"net.ipv4.tcp_base_mss", "1024", counted(48, 65535, func(c *tcpConfig) **uint32 { return &c.BaseMSS }), false, "`BaseMSS`"},
	{"net.ipv4.tcp_challenge_ack_limit", "2147483647", counted(0, 2147483647, func(c *tcpConfig) **uint32 { return &c.ChallengeACKLimit }), true, "`ChallengeACKLimit`"},
	{"net.ipv4.tcp_child_ehash_entries", "0", nil, false, noTables},
	{"net.ipv4.tcp_comp_sack_delay_ns", "1000000", timed(1, func(c *tcpConfig) **sim.Time { return &c.CompressedDelay }), true, "`CompressedDelay`"},
	{"net.ipv4.tcp_comp_sack_nr", "44", counted(0, 255, func(c *tcpConfig) **uint32 { return &c.CompressedACKs }), true, "`CompressedACKs`"},
	{"net.ipv4.tcp_comp_sack_rtt_percent", "5", counted(1, 255, func(c *tcpConfig) **uint32 { return &c.CompressedShare }), true, "`CompressedShare`; 33 since Linux 6.19"},
	{"net.ipv4.tcp_comp_sack_slack_ns", "100000", nil, false, "timers go at their very time"},
	{"net.ipv4.tcp_congestion_control", "cubic", applyCongestion, false, "`Congestion`"},
	{"net.ipv4.tcp_dsack", "1", onOff(func(c *tcpConfig) **bool { return &c.DSACK }), true, "`DSACK`"},
	{"net.ipv4.tcp_early_demux", "1", nil, false, notHere},
	{"net.ipv4.tcp_early_retrans", "3", onOff(func(c *tcpConfig) **bool { return &c.TLP }), true, "`TLP`: on unless 0"},
	{"net.ipv4.tcp_ecn", "2", worded(func(c *tcpConfig) *string { return &c.ECN }, "off", "on", "passive"), true, "`ECN`: 0 off, 1 on, 2 passive"},
	{"net.ipv4.tcp_ecn_fallback", "1", onOff(func(c *tcpConfig) **bool { return &c.ECNFallback }), true, "`ECNFallback`"},
	{"net.ipv4.tcp_ecn_option", "2", nil, false, "AccECN is not negotiated: `tcp_ecn` refuses what asks for it"},
	{"net.ipv4.tcp_ecn_option_beacon", "3", nil, false, "AccECN is not negotiated: `tcp_ecn` refuses what asks for it"},
	{"net.ipv4.tcp_ehash_entries", "524288", nil, false, noTables},
	{"net.ipv4.tcp_fack", "0", nil, false, "Linux ignores it since 4.15"},
	{"net.ipv4.tcp_fastopen", "1", applyFastOpen, false, "`FastOpen`, `FastOpenNoCookie`: 0x1 client, 0x2 server, 0x4 client without cookie, 0x200 server without cookie, 0x400 all listeners"},
	{"net.ipv4.tcp_fastopen_blackhole_timeout_sec", "0", timed(sim.Second, func(c *tcpConfig) **sim.Time { return &c.FastOpenBlackhole }), true, "`FastOpenBlackhole`"},
	{"net.ipv4.tcp_fastopen_key", "00000000-00000000-00000000-00000000", applyKey, false, "`FastOpenKey`"},
	{"net.ipv4.tcp_fin_timeout", "60", timed(sim.Second, func(c *tcpConfig) **sim.Time { return &c.FINTimeout }), true, "`FINTimeout`"},
	{"net.ipv4.tcp_frto", "2", onOff(func(c *tcpConfig) **bool { return &c.FRTO }), true, "`FRTO`: on unless 0"},
	{"net.ipv4.tcp_fwmark_accept", "0", nil, false, noRouting},
	{"net.ipv4.tcp_invalid_ratelimit", "500", timed(sim.Millisecond, func(c *tcpConfig) **sim.Time { return &c.InvalidRatelimit }), true, "`InvalidRatelimit`"},
	{"net.ipv4.tcp_keepalive_intvl", "75", timed(sim.Second, func(c *tcpConfig) **sim.Time { return &c.KeepAliveInterval }), true, "`KeepAliveInterval`"},
	{"net.ipv4.tcp_keepalive_probes", "9", counted(1, 255, func(c *tcpConfig) **uint32 { return &c.KeepAliveProbes }), true, "`KeepAliveProbes`"},
	{"net.ipv4.tcp_keepalive_time", "7200", timed(sim.Second, func(c *tcpConfig) **sim.Time { return &c.KeepAliveTime }), true, "`KeepAliveTime`"},
	{"net.ipv4.tcp_l3mdev_accept", "0", nil, false, noRouting},
	{"net.ipv4.tcp_limit_output_bytes", "4194304", nil, false, noQueue},
	{"net.ipv4.tcp_low_latency", "0", nil, false, "Linux ignores it since 4.14"},
	{"net.ipv4.tcp_max_orphans", "16384", atLeast(maxScriptSockets), false, "none here: scripts have few connections; one that so few exceed is a skip"},
	{"net.ipv4.tcp_max_reordering", "300", counted(1, 1<<20, func(c *tcpConfig) **uint32 { return &c.MaxReordering }), true, "`MaxReordering`"},
	{"net.ipv4.tcp_max_syn_backlog", "4096", counted(0, 1<<30, func(c *tcpConfig) **uint32 { return &c.SYNBacklog }), true, "`SYNBacklog`"},
	{"net.ipv4.tcp_max_tw_buckets", "262144", atLeast(maxScriptSockets), false, "none here: scripts have few connections; one that so few exceed is a skip"},
	{"net.ipv4.tcp_mem", "46407 61876 92814", nil, false, noMemory},
	{"net.ipv4.tcp_migrate_req", "0", only("0"), false, "0 alone: the handshakes of a listener that closes end with it"},
	{"net.ipv4.tcp_min_rtt_wlen", "300", timed(sim.Second, func(c *tcpConfig) **sim.Time { return &c.MinRTTWindow }), true, "`MinRTTWindow`"},
	{"net.ipv4.tcp_min_snd_mss", "48", only("48"), false, "48 alone: it is the stack's own bound"},
	{"net.ipv4.tcp_min_tso_segs", "2", nil, false, "segments are compared as the original compares aggregates"},
	{"net.ipv4.tcp_moderate_rcvbuf", "1", onOff(func(c *tcpConfig) **bool { return &c.RecvAutotuning }), true, "`RecvAutotuning`"},
	{"net.ipv4.tcp_mtu_probe_floor", "48", counted(48, 65535, func(c *tcpConfig) **uint32 { return &c.MTUProbeFloor }), false, "`MTUProbeFloor`"},
	{"net.ipv4.tcp_mtu_probing", "0", worded(func(c *tcpConfig) *string { return &c.MTUProbing }, "off", "blackhole", "always"), false, "`MTUProbing`: 0 off, 1 blackhole, 2 always"},
	{"net.ipv4.tcp_no_metrics_save", "0", offOn(func(c *tcpConfig) **bool { return &c.MetricsSave }), true, "`MetricsSave`: on unless 1"},
	{"net.ipv4.tcp_no_ssthresh_metrics_save", "1", offOn(func(c *tcpConfig) **bool { return &c.SSThreshMetrics }), true, "`SSThreshMetrics`: on unless 1"},
	{"net.ipv4.tcp_notsent_lowat", "4294967295", applyNotsent, true, "`NotsentLowat`"},
	{"net.ipv4.tcp_orphan_retries", "0", applyOrphans, true, "`OrphanRetries`; 0 is 8"},
	{"net.ipv4.tcp_pacing_ca_ratio", "120", counted(0, 1000, func(c *tcpConfig) **uint32 { return &c.PacingCARatio }), true, "`PacingCARatio`"},
	{"net.ipv4.tcp_pacing_ss_ratio", "200", counted(0, 1000, func(c *tcpConfig) **uint32 { return &c.PacingSSRatio }), true, "`PacingSSRatio`"},
	{"net.ipv4.tcp_pingpong_thresh", "1", counted(1, 255, func(c *tcpConfig) **uint32 { return &c.PingPong }), true, "`PingPong`"},
	{"net.ipv4.tcp_plb_*", "0", nil, false, "there is one path"},
	{"net.ipv4.tcp_probe_interval", "600", nil, false, "scripts end before"},
	{"net.ipv4.tcp_probe_threshold", "8", nil, false, "the search for a larger MTU ends at one step"},
	{"net.ipv4.tcp_rcvbuf_low_rtt", "0", only("0"), false, "0 alone: buffers grow whatever the round trip, as before Linux 6.19"},
	{"net.ipv4.tcp_recovery", "1", applyRecovery, true, "`RACK`, `RACKAdapt`, `RACKDupThresh`: 0x1 RACK, 0x2 a window that does not adapt, 0x4 one that duplicates do not end"},
	{"net.ipv4.tcp_reflect_tos", "0", onOff(func(c *tcpConfig) **bool { return &c.ReflectTOS }), true, "`ReflectTOS`"},
	{"net.ipv4.tcp_reordering", "3", counted(1, 1<<20, func(c *tcpConfig) **uint32 { return &c.Reordering }), false, "`Reordering`"},
	{"net.ipv4.tcp_retrans_collapse", "1", nil, false, "segments that are sent again keep their bounds"},
	{"net.ipv4.tcp_retries1", "3", counted(0, 255, func(c *tcpConfig) **uint32 { return &c.BlackholeRetries }), true, "`BlackholeRetries`"},
	{"net.ipv4.tcp_retries2", "15", counted(0, 255, func(c *tcpConfig) **uint32 { return &c.DataRetries }), true, "`DataRetries`"},
	{"net.ipv4.tcp_rfc1337", "0", onOff(func(c *tcpConfig) **bool { return &c.RFC1337 }), true, "`RFC1337`"},
	{"net.ipv4.tcp_rmem", "4096 131072 6291456", applyRmem, false, "`StartRecvBuffer`, `MaxRecvBuffer`: the second and the third number"},
	{"net.ipv4.tcp_rto_max_ms", "120000", timed(sim.Millisecond, func(c *tcpConfig) **sim.Time { return &c.MaxRTO }), true, "`MaxRTO`"},
	{"net.ipv4.tcp_rto_min_us", "200000", applyMinRTO, true, "`MinRTO`"},
	{"net.ipv4.tcp_sack", "1", onOff(func(c *tcpConfig) **bool { return &c.SACK }), false, "`SACK`"},
	{"net.ipv4.tcp_shrink_window", "0", onOff(func(c *tcpConfig) **bool { return &c.ShrinkWindow }), true, "`ShrinkWindow`"},
	{"net.ipv4.tcp_slow_start_after_idle", "1", onOff(func(c *tcpConfig) **bool { return &c.SlowStartAfterIdle }), true, "`SlowStartAfterIdle`"},
	{"net.ipv4.tcp_stdurg", "0", onOff(func(c *tcpConfig) **bool { return &c.StdUrg }), true, "`StdUrg`"},
	{"net.ipv4.tcp_syn_linear_timeouts", "4", counted(0, 127, func(c *tcpConfig) **uint32 { return &c.SYNLinearTimeouts }), true, "`SYNLinearTimeouts`"},
	{"net.ipv4.tcp_syn_retries", "6", counted(1, 127, func(c *tcpConfig) **uint32 { return &c.SYNRetries }), true, "`SYNRetries`"},
	{"net.ipv4.tcp_synack_retries", "5", counted(0, 255, func(c *tcpConfig) **uint32 { return &c.SYNACKRetries }), true, "`SYNACKRetries`"},
	{"net.ipv4.tcp_syncookies", "1", worded(func(c *tcpConfig) *string { return &c.SYNCookies }, "off", "on", "always"), true, "`SYNCookies`: 0 off, 1 on, 2 always"},
	{"net.ipv4.tcp_thin_dupack", "0", nil, false, "Linux ignores it since 4.11"},
	{"net.ipv4.tcp_thin_linear_timeouts", "0", onOff(func(c *tcpConfig) **bool { return &c.ThinLinear }), true, "`ThinLinear`"},
	{"net.ipv4.tcp_timestamps", "1", onOff(func(c *tcpConfig) **bool { return &c.Timestamps }), false, "`Timestamps`: on unless 0; offsets are the runner's"},
	{"net.ipv4.tcp_tso_rtt_log", "9", nil, false, "segments are compared as the original compares aggregates"},
	{"net.ipv4.tcp_tso_win_divisor", "3", counted(0, 255, func(c *tcpConfig) **uint32 { return &c.BurstShare }), true, "`BurstShare`"},
	{"net.ipv4.tcp_tw_reuse", "2", worded(func(c *tcpConfig) *string { return &c.TimeWaitReuse }, "off", "on", "loopback"), true, "`TimeWaitReuse`: 0 off, 1 on, 2 loopback"},
	{"net.ipv4.tcp_tw_reuse_delay", "1000", only("1000"), false, "1000 alone"},
	{"net.ipv4.tcp_window_scaling", "1", onOff(func(c *tcpConfig) **bool { return &c.WindowScaling }), false, "`WindowScaling`"},
	{"net.ipv4.tcp_wmem", "4096 16384 4194304", applyWmem, false, "`StartSendBuffer`, `MaxSendBuffer`: the second and the third number"},
	{"net.ipv4.tcp_workaround_signed_windows", "0", onOff(func(c *tcpConfig) **bool { return &c.SignedWindows }), true, "`SignedWindows`"},
	{"net.ipv4.udp_*", "0", nil, false, "buffers of UDP are not counted as Linux does"},
	{"net.ipv6.auto_flowlabels", "1", nil, false, "flow labels are compared only where a script names one"},
	{"net.ipv6.conf.*", "0", nil, false, noRouting},
	{"net.ipv6.flowlabel_*", "0", nil, false, "flow labels are compared only where a script names one"},
	{"net.ipv6.route.flush", "0", nil, false, "forgets the MTUs of paths"},
	{"net.mptcp.*", "1", nil, false, "connections have one path, and no script can ask for more"},
}

func applyTTL(c *tcpstack.Config, v string) error {
	n, err := strconv.ParseUint(v, 0, 8)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is no TTL", v)
	}
	c.TTL = uint8(n)
	return nil
}

func applyReassembly(c *tcpstack.Config, v string) error {
	n, err := strconv.ParseUint(v, 0, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is no time", v)
	}
	c.ReassemblyTimeout = sim.Time(n) * sim.Second
	return nil
}

func applyNoPMTU(c *tcpstack.Config, v string) error {
	switch v {
	case "0", "1":
		c.TCP.PMTUDiscovery = new(v == "0")
		return nil
	}
	return skipf("ip_no_pmtu_disc=%s", v)
}

func applyCongestion(c *tcpstack.Config, v string) error {
	if !knownCongestion(v) {
		return skipf("congestion control %s", v)
	}
	c.TCP.Congestion = v
	return nil
}

func applyMinRTO(c *tcpstack.Config, v string) error {
	n, err := strconv.ParseUint(v, 0, 31)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is no time", v)
	}
	c.TCP.MinRTO = sim.Time(n) * sim.Microsecond
	return nil
}

func applyNotsent(c *tcpstack.Config, v string) error {
	n, err := strconv.ParseUint(v, 0, 32)
	if err != nil {
		return fmt.Errorf("%q is no number", v)
	}
	c.TCP.NotsentLowat = notsentLowat(n)
	return nil
}

// notsentLowat is a low-water mark as the stack has it: what no buffer can hold is none.
func notsentLowat(n uint64) *uint64 {
	const largestBuffer = 1 << 30
	return new(min(n, largestBuffer))
}

// applyOrphans: tcp_orphan_retries: "if (retries == 0 && alive) retries = 8".
func applyOrphans(c *tcpstack.Config, v string) error {
	n, err := strconv.ParseUint(v, 0, 8)
	if err != nil {
		return fmt.Errorf("%q is no number", v)
	}
	if n == 0 {
		n = 8
	}
	c.TCP.OrphanRetries = new(uint32(n))
	return nil
}

func applyRmem(c *tcpstack.Config, v string) (err error) {
	c.TCP.StartRecvBuffer, c.TCP.MaxRecvBuffer, err = applyBuffers(v)
	return err
}

func applyWmem(c *tcpstack.Config, v string) (err error) {
	c.TCP.StartSendBuffer, c.TCP.MaxSendBuffer, err = applyBuffers(v)
	return err
}
