package validate

import (
	"path"
	"slices"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
)

var congestionControls = []string{"cubic", "reno"}

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
