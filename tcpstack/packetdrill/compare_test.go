package packetdrill

import (
	"testing"
	"time"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// A connection that listens and is accepted as descriptor 4, 12 lines long.
const accepted = `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0



+0 < S 0:0(0) win 32792 <mss 1000>
+0 > S. 0:0(0) ack 1 <...>
+.1 < . 1:1(0) ack 1 win 32792

+0 accept(3, ..., ...) = 4
`

// What a host with segmentation offload would have sent as one segment compares as one: the same header, equal sizes, the
// last with PSH.
func TestSegmentsAggregate(t *testing.T) {
	write := accepted + "+0 write(4, ..., 2500) = 2500\n"
	wantResult(t, write+"+0 > P. 1:2501(2500) ack 1\n", Options{}, Pass, 0, "")
	wantResult(t, write+"+0 > . 1:1001(1000) ack 1\n+0 > P. 1001:2501(1500) ack 1\n", Options{}, Pass, 0, "")
	wantResult(t, write+"+0 > . 1:2501(2500) ack 1\n", Options{}, Fail, 14, "tcp_psh: expected 0 (0x0), live 1 (0x1)\n"+
		"  script: 0.100000 > . 1:2501(2500) ack 1\n  live:   0.100000 > P. 1:2501(2500) ack 1 win ")
	wantResult(t, write+"+0 > P. 1:3001(3000) ack 1\n", Options{}, Fail, 14,
		"payload of the next segment: expected 1000 bytes as the one before, live 500")
	wantResult(t, write+"+0 > P. 1:2401(2400) ack 1\n", Options{}, Fail, 14, "payload length: expected 2400 (0x960), live 2500")
	wantResult(t, "--strict_segments\n"+write+"+0 > P. 1:2501(2500) ack 1\n", Options{}, Fail, 15,
		"payload length: expected 2500 (0x9c4), live 1000")
	wantResult(t, accepted+"+0 write(4, ..., 2000) = 2000\n+0 > P. 1:3001(3000) ack 1\n",
		Options{TCP: tcpstack.TCPConfig{MinRTO: 3600 * sim.Second, TLP: new(bool)}}, Fail, 14,
		"payload length: expected 3000, live 2000, and no more came")
}

func TestLaxPSH(t *testing.T) {
	src := accepted + "+0 write(4, ..., 1500) = 1500\n+0 > P. 1:1001(1000) ack 1\n+0 > . 1001:1501(500) ack 1\n"
	wantResult(t, src, Options{}, Fail, 14, "tcp_psh: expected 1 (0x1), live 0 (0x0)")
	wantResult(t, src, Options{LaxPSH: true}, Pass, 0, "")
}

// Each part of a header that a script names is compared.
func TestHeaderFields(t *testing.T) {
	for packet, why := range map[string]string{
		"F. 1:1001(1000) ack 1":                                "tcp_fin: expected 1",
		"P 1:1001(1000)":                                       "tcp_ack: expected 0",
		"PU. 1:1001(1000) ack 1 urg 1":                         "tcp_urg: expected 1",
		"PE. 1:1001(1000) ack 1":                               "tcp_ece: expected 1",
		"PW. 1:1001(1000) ack 1":                               "tcp_cwr: expected 1",
		"P.5 1:1001(1000) ack 1":                               "tcp_ace: expected 5 (0x5), live 0 (0x0)",
		"P. 2:1002(1000) ack 1":                                "tcp_seq: expected 2 (0x2), live 1 (0x1)",
		"P. 1:1001(1000) ack 2":                                "tcp_ack_seq: expected 2 (0x2), live 1 (0x1)",
		"P. 1:1001(1000) ack 1 win 1":                          "tcp_window: expected 1 (0x1), live ",
		"P. 1:1001(1000) ack 1 <nop,nop,sackOK>":               "tcp options length: expected 4 (0x4), live 0 (0x0)",
		"[ect0] P. 1:1001(1000) ack 1":                         "ip_ecn: expected 2 (0x2), live 0 (0x0)",
		"[ect01] P. 1:1001(1000) ack 1":                        "ip_ecn: expected ect0 or ect1, live 0x0",
		"[tos 0x8] P. 1:1001(1000) ack 1":                      "tos: expected 8 (0x8), live 0 (0x0)",
		"[ttl 63] P. 1:1001(1000) ack 1":                       "ttl: expected 63 (0x3f), live 64 (0x40)",
		"udp (1000)":                                           "no matching socket",
		"P.0 1:1001(1000) ack 1\n+0 > . 1:1(0)":                "no packet came",
		"[noecn] P. 1:1001(1000) ack 1 <...>\n+0 > . 1:1(0)":   "no packet came",
		"[tos 0x0] P. 1:1001(1000) ack 1 <...>\n+0 > . 1:1(0)": "no packet came",
	} {
		src := accepted + "+0 write(4, ..., 1000) = 1000\n+0 > " + packet + "\n"
		line := 14
		if why == "no packet came" {
			line = 15
		}
		o := Options{TCP: tcpstack.TCPConfig{MinRTO: 3600 * sim.Second, TLP: new(bool)}}
		wantResult(t, src, o, Fail, line, why)
	}
}

// Options are compared one by one, in order; TS val only where the script says how long a tick is, TS ecr never.
func TestOptionsCompare(t *testing.T) {
	const syn = "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n" +
		"+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)\n"
	o := Options{TCP: tcpstack.TCPConfig{WindowScaling: new(bool)}}
	wantResult(t, syn+"+0 > S 0:0(0) <mss 1460,sackOK,TS val 5 ecr 0>\n", o, Pass, 0, "")
	wantResult(t, syn+"+0 > S 0:0(0) <mss 1460,sackOK,TS val 5 ecr 77>\n", o, Pass, 0, "")
	wantResult(t, syn+"+0 > S 0:0(0) <mss 1461,sackOK,TS val 5 ecr 0>\n", o, Fail, 4,
		"bad outbound TCP option: expected mss 1461, live mss 1460")
	wantResult(t, syn+"+0 > S 0:0(0) <sackOK,mss 1460,TS val 5 ecr 0>\n", o, Fail, 4, "bad outbound TCP options")
	again := "+0 > S 0:0(0) <mss 1460,sackOK,TS val 5 ecr 0>\n+1 > S 0:0(0) <mss 1460,sackOK,TS val 500 ecr 0>\n"
	wantResult(t, syn+again, o, Pass, 0, "")
	wantResult(t, "--tcp_ts_tick_usecs=1000\n"+syn+again, o, Fail, 6, "bad outbound TCP timestamp value: off by 505 ticks of 1ms")
}

// A timestamp that a packet echoes must be one that the script saw, or may be worked out where it says so.
func TestEchoedTimestamps(t *testing.T) {
	src := `0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
+0 < S 0:0(0) win 32792 <mss 1000,nop,nop,TS val 7 ecr 0>
+0 > S. 0:0(0) ack 1 <mss 1460,nop,nop,TS val 100 ecr 7>
+.1 < . 1:1(0) ack 1 win 32792 <nop,nop,TS val 107 ecr 150>
+0 accept(3, ..., ...) = 4
`
	wantResult(t, src, Options{}, Fail, 6, "no live timestamp is known for TS ecr 150")
	wantResult(t, "--tcp_ts_ecr_scaled\n"+src, Options{}, Pass, 0, "")
}

// The time of an event may be off by the tolerance: 4 ms, or an eighth of the time since the event before.
func TestTolerance(t *testing.T) {
	src := func(at string) string {
		return "0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n" +
			"+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)\n+0 > S 0:0(0) <...>\n" + at + " > S 0:0(0) <...>\n"
	}
	exactly, short := time.Duration(0), 4*time.Millisecond
	wantResult(t, src("+1"), Options{Tolerance: &exactly}, Pass, 0, "")
	wantResult(t, src("+1.001"), Options{Tolerance: &exactly}, Fail, 5,
		"timing error: expected outbound packet at 1.001000 but it happened at 1.000000; tolerance 0.000000")
	wantResult(t, src("+1.1"), Options{Tolerance: &short}, Pass, 0, "")
	wantResult(t, src("+1.2"), Options{}, Fail, 5, "tolerance 0.150000")
	wantResult(t, "--tolerance_percent=0\n"+src("+1.003"), Options{}, Pass, 0, "")
	wantResult(t, "--tolerance_percent=0\n"+src("+1.005"), Options{}, Fail, 6, "tolerance 0.004000")
	wantResult(t, "--tolerance_percent=0\n--tolerance_usecs=10000\n"+src("+1.005"), Options{}, Pass, 0, "")
	wantResult(t, src("+.8~+1.1"), Options{Tolerance: &exactly}, Pass, 0, "")
	wantResult(t, src("+.8~+.9"), Options{Tolerance: &exactly}, Fail, 5, "between 0.800000 and 0.900000 but it happened at 1.000000")
	wantResult(t, src(".8~1.1"), Options{Tolerance: &exactly}, Pass, 0, "")
	wantResult(t, src("*"), Options{Tolerance: &exactly}, Pass, 0, "")
}

// A blocking call ends when the script says; one without an end holds up the script.
func TestCallsThatBlock(t *testing.T) {
	read := accepted + "+0...0.2 read(4, ..., 1000) = 100\n"
	wantResult(t, read+"+.2 < P. 1:101(100) ack 1 win 32792\n", Options{}, Pass, 0, "")
	wantResult(t, read+"+.1 < P. 1:101(100) ack 1 win 32792\n", Options{}, Fail, 13,
		"timing error: expected the return of read at 0.300000 but it happened at 0.200000")
	wantResult(t, read, Options{}, Fail, 13, "read has not returned by the script's end")
	wantResult(t, read+"+.1 write(4, ..., 10) = 10\n", Options{}, Fail, 13, "read has not returned by ")
	wantResult(t, accepted+"+0 read(4, ..., 1000) = 100\n+0 < P. 1:101(100) ack 1 win 32792\n", Options{}, Fail, 13,
		"read has not returned by 180.100000")
}

// What the stack sends to others goes unseen, and so does what it sends after the script's end.
func TestPacketsOfOthers(t *testing.T) {
	src := accepted + `+0 < 9 > 9 S 0:0(0) win 1000
+.1 < P. 1:101(100) ack 1 win 32792
+0 > . 1:1(0) ack 101
+0 write(4, ..., 1000) = 1000
`
	wantResult(t, src, Options{}, Pass, 0, "")
}

// With --non_fatal=packet a mismatch is passed over.
func TestNonFatal(t *testing.T) {
	src := accepted + "+0 write(4, ..., 1000) = 1000\n+0 > . 1:1001(1000) ack 1\n"
	wantResult(t, src, Options{}, Fail, 14, "tcp_psh")
	wantResult(t, "--non_fatal=packet\n"+src, Options{}, Pass, 0, "")
}

// What cannot be compared is named: a fragment is no datagram.
func TestFragments(t *testing.T) {
	wantResult(t, "0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3\n+0 connect(3, ..., ...) = 0\n+0 write(3, ..., 3000) = 3000\n"+
		"+0 > udp (3000)\n", Options{}, Fail, 4, "a fragment from byte 0 on")
}
