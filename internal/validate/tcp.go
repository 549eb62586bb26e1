package validate

import (
	"net/netip"
	"path"
	"slices"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
)

var congestionControls = []string{"cubic", "reno", "bbr", "bbr3", "dctcp"}

func (f *found) tcp(path string, t *labv1.TcpSettings) {
	if t == nil {
		return
	}
	if t.Congestion != nil && !slices.Contains(congestionControls, *t.Congestion) {
		f.suggest(path+".congestion", Nearest(*t.Congestion, congestionControls), "no congestion control %q", clip(*t.Congestion))
	}
	for _, d := range []struct {
		field string
		ns    int64
	}{{"delayed_ack_ns", t.GetDelayedAckNs()}, {"min_rto_ns", t.GetMinRtoNs()}, {"initial_rto_ns", t.GetInitialRtoNs()}, {"time_wait_ns", t.GetTimeWaitNs()}} {
		f.span(sub(path, d.field), d.ns, maxTimerNs)
	}
	for _, d := range []struct {
		field string
		ns    *int64
	}{{"initial_rto_ns", t.InitialRtoNs}, {"max_rto_ns", t.MaxRtoNs}} {
		if d.ns != nil && *d.ns >= 0 && *d.ns < minRTONs {
			f.add(sub(path, d.field), "must be at least %s", seconds(minRTONs))
		}
	}
	if t.Mss != nil {
		f.within(path+".mss", uint64(*t.Mss), minMSS, maxMSS, " B")
	}
	if t.SendBufferBytes != nil {
		f.within(path+".send_buffer_bytes", *t.SendBufferBytes, minBuffer, maxBuffer, " B")
	}
	if t.RecvBufferBytes != nil {
		f.within(path+".recv_buffer_bytes", *t.RecvBufferBytes, minBuffer, maxBuffer, " B")
	}
	if t.InitialWindowSegments != nil {
		f.within(path+".initial_window_segments", uint64(*t.InitialWindowSegments), 1, maxWindowSegs, "")
	}
	if t.Backlog != nil {
		f.within(path+".backlog", uint64(*t.Backlog), 1, maxBacklog, "")
	}
	if t.GetSynRetries() > maxRetries {
		f.add(path+".syn_retries", "must be at most %d", maxRetries)
	}
	if t.GetDataRetries() > maxRetries {
		f.add(path+".data_retries", "must be at most %d", maxRetries)
	}
	if t.SourceRoute != nil {
		f.sourceRoute(path+".source_route", *t.SourceRoute)
	}
	f.tcpSwitches(path, t)
}

// maxRouteHops is how many addresses an IPv4 header's options have room for (RFC 791 3.1).
const maxRouteHops = 9

func (f *found) sourceRoute(path, text string) {
	words := strings.Fields(text)
	if len(words) < 2 || len(words) > 1+maxRouteHops || words[0] != "loose" && words[0] != "strict" {
		f.add(path, "must be loose or strict and one to %d IPv4 addresses", maxRouteHops)
		return
	}
	for _, w := range words[1:] {
		if a, err := netip.ParseAddr(w); err != nil || !a.Is4() {
			f.add(path, "%q is no IPv4 address", clip(w))
		}
	}
}

// tcpSwitches checks the settings of mechanisms that need no more than a range or a list of words.
func (f *found) tcpSwitches(path string, t *labv1.TcpSettings) {
	for _, w := range []struct {
		field, word string
		set         bool
		words       []string
	}{
		{"hystart", t.GetHystart(), t.Hystart != nil, []string{"linux", "rfc9406", "off"}},
		{"ecn", t.GetEcn(), t.Ecn != nil, []string{"off", "on", "passive"}},
		{"fast_open", t.GetFastOpen(), t.FastOpen != nil, []string{"off", "client", "server", "both"}},
		{"syn_cookies", t.GetSynCookies(), t.SynCookies != nil, []string{"off", "on", "always"}},
		{"isn_generator", t.GetIsnGenerator(), t.IsnGenerator != nil, []string{"rfc6528", "rfc793"}},
		{"time_wait_reuse", t.GetTimeWaitReuse(), t.TimeWaitReuse != nil, []string{"off", "on", "loopback"}},
		{"mtu_probing", t.GetMtuProbing(), t.MtuProbing != nil, []string{"off", "blackhole", "always"}},
		{"personality", t.GetPersonality(), t.Personality != nil, []string{"linux", "freebsd"}},
	} {
		if w.set && !slices.Contains(w.words, w.word) {
			f.suggest(sub(path, w.field), Nearest(w.word, w.words), "%q is none of %s", clip(w.word), strings.Join(w.words, ", "))
		}
	}
	for _, d := range []struct {
		field string
		ns    int64
	}{
		{"max_rto_ns", t.GetMaxRtoNs()},
		{"invalid_ratelimit_ns", t.GetInvalidRatelimitNs()},
		{"defer_accept_ns", t.GetDeferAcceptNs()},
		{"keep_alive_time_ns", t.GetKeepAliveTimeNs()},
		{"keep_alive_interval_ns", t.GetKeepAliveIntervalNs()},
		{"user_timeout_ns", t.GetUserTimeoutNs()},
		{"fin_timeout_ns", t.GetFinTimeoutNs()},
		{"fast_open_blackhole_ns", t.GetFastOpenBlackholeNs()},
		{"compressed_delay_ns", t.GetCompressedDelayNs()},
	} {
		f.span(sub(path, d.field), d.ns, maxTimerNs)
	}
	for _, d := range []struct {
		field string
		n     uint32
	}{
		{"syn_ack_retries", t.GetSynAckRetries()},
		{"syn_linear_timeouts", t.GetSynLinearTimeouts()},
		{"keep_alive_probes", t.GetKeepAliveProbes()},
		{"orphan_retries", t.GetOrphanRetries()},
		{"tos", t.GetTos()},
		{"blackhole_retries", t.GetBlackholeRetries()},
		{"compressed_acks", t.GetCompressedAcks()},
	} {
		if d.n > maxRetries {
			f.add(sub(path, d.field), "must be at most %d", maxRetries)
		}
	}
	for _, d := range []struct {
		field string
		n     uint64
	}{
		{"max_send_buffer_bytes", t.GetMaxSendBufferBytes()},
		{"max_recv_buffer_bytes", t.GetMaxRecvBufferBytes()},
		{"memory_limit_bytes", t.GetMemoryLimitBytes()},
		{"notsent_lowat_bytes", t.GetNotsentLowatBytes()},
		{"window_clamp_bytes", t.GetWindowClampBytes()},
		{"start_send_buffer_bytes", t.GetStartSendBufferBytes()},
		{"start_recv_buffer_bytes", t.GetStartRecvBufferBytes()},
	} {
		if d.n > maxBuffer {
			f.add(sub(path, d.field), "must be at most %d B", maxBuffer)
		}
	}
}

func (f *found) reader(path string, r *labv1.Reader) {
	if r == nil {
		return
	}
	f.span(path+".start_delay_ns", r.StartDelayNs, maxLabNs)
	f.span(path+".pause_ns", r.PauseNs, maxLabNs)
	if r.PauseAfterBytes < 0 {
		f.add(path+".pause_after_bytes", "must not be negative")
	}
	if r.ReadSizeBytes > maxBuffer {
		f.add(path+".read_size_bytes", "must be at most %d B", maxBuffer)
	}
	if r.RateBps > maxRateBps {
		f.add(path+".rate_bps", "must be at most %d bit", uint64(maxRateBps))
	}
}

// portOf is the port an application listens on, and what shares its numbers.
func portOf(a *labv1.AppSpec) (field string, port uint32, tcp, udp bool) {
	or := func(p, otherwise uint32) uint32 {
		if p == 0 {
			return otherwise
		}
		return p
	}
	switch v := a.GetApp().(type) {
	case *labv1.AppSpec_Http:
		return "http.port", or(v.Http.GetPort(), 80), true, false
	case *labv1.AppSpec_Echo:
		return "echo.port", or(v.Echo.GetPort(), 7), true, true
	case *labv1.AppSpec_Sink:
		return "sink.port", or(v.Sink.GetPort(), 9), true, false
	case *labv1.AppSpec_UdpSink:
		return "udp_sink.port", or(v.UdpSink.GetPort(), 9), false, true
	case *labv1.AppSpec_Transfer:
		return "transfer.port", or(v.Transfer.GetPort(), 5001), true, true
	}
	return "", 0, false, false
}

func (f *found) apps(path string, n *labv1.NodeSpec) {
	tcp, udp := map[uint32]bool{}, map[uint32]bool{}
	for i, a := range n.GetApps() {
		where := at(path, "apps", i)
		field, port, onTCP, onUDP := portOf(a)
		if field == "" {
			f.add(where, "an app needs a kind: http, echo, sink, udp_sink or transfer")
			continue
		}
		f.port(sub(where, field), port)
		if onTCP && tcp[port] || onUDP && udp[port] {
			f.add(sub(where, field), "port %d of this node is already taken by another app", port)
		}
		tcp[port], udp[port] = tcp[port] || onTCP, udp[port] || onUDP
		f.reader(where+".sink.reader", a.GetSink().GetReader())
		f.reader(where+".transfer.reader", a.GetTransfer().GetReader())
		f.files(where+".http.files", a.GetHttp().GetFiles())
	}
}

func (f *found) port(path string, p uint32) {
	if p > 65_535 {
		f.add(path, "port %d is above 65535", p)
	}
}

func (f *found) files(where string, files []*labv1.FileRef) {
	if len(files) > maxFiles {
		f.add(where, "%d files are more than %d", len(files), maxFiles)
		return
	}
	seen := map[string]bool{}
	for i, r := range files {
		f.fileRef(at("", where, i), r)
		if seen[r.GetPath()] {
			f.add(at("", where, i)+".path", "%q is there twice", clip(r.GetPath()))
		}
		seen[r.GetPath()] = true
	}
}

func (f *found) fileRef(where string, r *labv1.FileRef) {
	p := r.GetPath()
	if p == "" || len(p) > maxPath || path.Clean(p) != p || path.IsAbs(p) || p == "." || p == ".." || strings.HasPrefix(p, "../") {
		f.add(where+".path", "%q is not a relative path without ..", clip(p))
	}
	if !hexHash.MatchString(r.GetSha256()) {
		f.add(where+".sha256", "is not a SHA-256 in lower-case hex")
	}
}
