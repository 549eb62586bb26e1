package tcpstack

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"labd.dev/sim"
)

var updateDefaults = flag.Bool("update-defaults", false, "rewrite the table of docs/tcp.md")

// defaultRows are the rows of docs/tcp.md's table: a key of the lab file, and the name that each system has for it.
var defaultRows = []struct{ setting, internal, linux, freebsd string }{
	{"initialRto", "initialRTO", "`TCP_TIMEOUT_INIT`", "`net.inet.tcp.rexmit_initial`"},
	{"minRto", "minRTO", "`net.ipv4.tcp_rto_min_us`", "`net.inet.tcp.rexmit_min`; `rexmit_slop`, 200ms, is added to the timeout"},
	{"maxRto", "maxRTO", "`net.ipv4.tcp_rto_max_ms`", "`TCPTV_REXMTMAX`"},
	{"dataRetries", "dataRetries", "`net.ipv4.tcp_retries2`", "`TCP_MAXRXTSHIFT`"},
	{"synRetries", "synRetries", "`net.ipv4.tcp_syn_retries`", "`TCP_MAXRXTSHIFT`: `openTimeout` ends them before"},
	{"synLinearTimeouts", "synLinear", "`net.ipv4.tcp_syn_linear_timeouts`", "`tcp_syn_backoff`"},
	{"openTimeout", "openTimeout", "none", "`net.inet.tcp.keepinit`"},
	{"persistMin", "persistMin", "none: the timeout's", "`TCPTV_PERSMIN`"},
	{"persistMax", "persistMax", "`net.ipv4.tcp_rto_max_ms`", "`TCPTV_PERSMAX`"},
	{"invalidRatelimit", "invalidRatelimit", "`net.ipv4.tcp_invalid_ratelimit`", "`net.inet.tcp.ack_war_timewindow`"},
	{"invalidBurst", "invalidBurst", "1", "`net.inet.tcp.ack_war_cnt`"},
	{"synAckRetries", "synAckRetries", "`net.ipv4.tcp_synack_retries`", "`net.inet.tcp.syncache.rexmtlimit`"},
	{"delayedAck", "delAck", "`TCP_DELACK_MIN` to `TCP_DELACK_MAX`: 40 to 200 ms, as data comes", "`net.inet.tcp.delacktime`"},
	{"quickAck", "quickAC", "`TCP_MAX_QUICKACKS`", ""},
	{"compressedAcks", "compressedACKs", "`net.ipv4.tcp_comp_sack_nr`", ""},
	{"minshall", "minshall", "`tcp_minshall_check`", "Nagle waits while anything is in flight"},
	{"sack", "sack", "`net.ipv4.tcp_sack`", "`net.inet.tcp.sack.enable`"},
	{"dsack", "dsack", "`net.ipv4.tcp_dsack`", "`net.inet.tcp.sack.enable`"},
	{"timestamps", "timestamps", "`net.ipv4.tcp_timestamps`", "`net.inet.tcp.rfc1323`"},
	{"windowScaling", "windowScaling", "`net.ipv4.tcp_window_scaling`", "`net.inet.tcp.rfc1323`"},
	{"rack", "rack", "`net.ipv4.tcp_recovery`", "`net.inet.tcp.functions_default`: another stack's"},
	{"tlp", "tlp", "`net.ipv4.tcp_early_retrans`", "`net.inet.tcp.functions_default`: another stack's"},
	{"prr", "prr", "`tcp_cwnd_reduction`", "`net.inet.tcp.do_prr`"},
	{"frto", "frto", "`net.ipv4.tcp_frto`", ""},
	{"eifel", "eifel", "`tcp_packet_delayed`", "`t_badrxtwin`"},
	{"dsackUndo", "dsackUndo", "`tcp_try_undo_dsack`", ""},
	{"limitedTransmit", "limitedTransmit", "`tcp_add_reno_sack`, `tcp_limit_reno_sacked`", "`net.inet.tcp.rfc3042`"},
	{"reordering", "reordering", "`net.ipv4.tcp_reordering`", "`tcprexmtthresh`"},
	{"maxReordering", "maxReordering", "`net.ipv4.tcp_max_reordering`", "`tcprexmtthresh`"},
	{"initialWindow", "iw", "`TCP_INIT_CWND`", "`net.inet.tcp.initcwnd_segments`"},
	{"hystart", "hystart", "`hystart` of `tcp_cubic`", "`CUBICFLAG_HYSTART_ENABLED`"},
	{"cwndValidation", "cwndValidation", "`tcp_is_cwnd_limited`", "`net.inet.tcp.newcwv`"},
	{"abc", "abc", "always", "`net.inet.tcp.rfc3465`"},
	{"abe", "abe", "", "`net.inet.tcp.cc.abe`"},
	{"ecn", "ecn", "`net.ipv4.tcp_ecn`", "`net.inet.tcp.ecn.enable`"},
	{"startSendBuffer", "startSendBuffer", "`net.ipv4.tcp_wmem`", "`net.inet.tcp.sendspace`"},
	{"maxSendBuffer", "maxSendBuffer", "`net.ipv4.tcp_wmem`", "`net.inet.tcp.sendbuf_max`"},
	{"startRecvBuffer", "startRecvBuffer", "`net.ipv4.tcp_rmem`", "`net.inet.tcp.recvspace`: 64 KiB, half of the memory"},
	{"maxRecvBuffer", "maxRecvBuffer", "`net.ipv4.tcp_rmem`", "`net.inet.tcp.recvbuf_max`"},
	{"keepAlive", "keepAlive", "`SO_KEEPALIVE`", "`net.inet.tcp.always_keepalive`"},
	{"keepAliveTime", "keepAliveTime", "`net.ipv4.tcp_keepalive_time`", "`net.inet.tcp.keepidle`"},
	{"keepAliveInterval", "keepAliveInterval", "`net.ipv4.tcp_keepalive_intvl`", "`net.inet.tcp.keepintvl`"},
	{"keepAliveProbes", "keepAliveProbes", "`net.ipv4.tcp_keepalive_probes`", "`net.inet.tcp.keepcnt`"},
	{"timeWait", "timeWait", "`TCP_TIMEWAIT_LEN`", "`net.inet.tcp.msl`, twice"},
	{"finTimeout", "finTimeout", "`net.ipv4.tcp_fin_timeout`", "`net.inet.tcp.finwait2_timeout`"},
	{"timeWaitReuse", "timeWaitReuse", "`net.ipv4.tcp_tw_reuse`", ""},
	{"rfc1337", "rfc1337", "`net.ipv4.tcp_rfc1337`", "`tcp_twcheck`"},
	{"synCookies", "synCookies", "`net.ipv4.tcp_syncookies`", "`net.inet.tcp.syncookies`"},
	{"pmtuDiscovery", "pmtuDiscovery", "`net.ipv4.ip_no_pmtu_disc`", "`net.inet.tcp.path_mtu_discovery`"},
	{"mtuProbing", "mtuProbing", "`net.ipv4.tcp_mtu_probing`", "`net.inet.tcp.pmtud_blackhole_detection`"},
	{"minPmtu", "minPMTU", "`net.ipv4.route.min_pmtu`", "`net.inet.tcp.minmss`, with the headers"},
}

// modeWords are the words of the settings that are one of several.
var modeWords = map[string][]string{"hystart": hystartWords[:], "ecn": ecnWords[:], "timeWaitReuse": timeWaitReuseWords[:],
	"synCookies": synCookiesWords[:], "mtuProbing": mtuProbingWords[:]}

// defaultWord prints a setting that was left open.
func defaultWord(s *settings, setting, internal string) string {
	if setting == "delayedAck" && !s.fixedDelAck {
		return "adapts"
	}
	v := reflect.ValueOf(s).Elem().FieldByName(internal)
	switch words := modeWords[setting]; {
	case words != nil:
		return words[v.Uint()]
	case v.Type() == reflect.TypeFor[sim.Time]():
		return fmt.Sprintf("%gs", time.Duration(v.Int()).Seconds())
	case v.Kind() == reflect.Bool:
		return map[bool]string{true: "on", false: "off"}[v.Bool()]
	}
	return fmt.Sprint(v.Uint())
}

// docs/tcp.md has the defaults of both personalities as the code has them, and each that differs.
func TestDefaultsPage(t *testing.T) {
	linux, err := TCPConfig{}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	freebsd, err := TCPConfig{Personality: "freebsd"}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| setting | `linux` | in Linux | `freebsd` | in FreeBSD |\n| --- | --- | --- | --- | --- |\n")
	listed := map[string]bool{}
	for _, r := range defaultRows {
		l, f := defaultWord(linux, r.setting, r.internal), defaultWord(freebsd, r.setting, r.internal)
		if f != l {
			f = "**" + f + "**"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.setting, l, r.linux, f, r.freebsd)
		listed[strings.ToLower(r.setting)] = true
	}
	v := reflect.ValueOf(freebsdDefaults)
	for i := range v.NumField() {
		if name := v.Type().Field(i).Name; !v.Field(i).IsZero() && !listed[strings.ToLower(name)] {
			t.Errorf("%s differs, and is not in the table", name)
		}
	}
	const path, from, to = "../docs/tcp.md", "<!-- defaults -->\n", "<!-- end -->"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), from)
	was, tail, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatal("no table of defaults in", path)
	}
	switch {
	case was == b.String():
	case *updateDefaults:
		if err := os.WriteFile(path, []byte(head+from+b.String()+to+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table of %s is stale; run go test ./tcpstack -run TestDefaultsPage -update-defaults", path)
	}
}

// What is given stands, whatever the personality; a connection may have another personality than its stack.
func TestPersonalityIsOnlyDefaults(t *testing.T) {
	on, third := true, 300*sim.Millisecond
	s, err := TCPConfig{Personality: "freebsd", TLP: &on, DelayedACK: &third}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	if !s.tlp || s.delAck != third || s.rack || s.from.RACK != nil {
		t.Errorf("%v %v %v %v", s.tlp, s.delAck, s.rack, s.from.RACK)
	}
	back, err := TCPConfig{Personality: "linux"}.Merge(s.from).resolve()
	if err != nil || !back.rack || back.maxRTO != 120*sim.Second {
		t.Errorf("%+v, %v", back, err)
	}
}
