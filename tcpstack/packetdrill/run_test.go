package packetdrill

import (
	"strings"
	"testing"
)

// wantResult runs a script and compares what came of it; why is a part of the
// reason.
func wantResult(t *testing.T, src string, o Options, status Status, line int, why string) {
	t.Helper()
	r := Run("t.pkt", []byte(src), o)
	if r.Status != status || r.Line != line || !strings.Contains(r.Reason, why) {
		t.Errorf("%s\nis %s at line %d: %s\nwant %s at line %d: %s", src, r.Status, r.Line, r.Reason, status, line, why)
	}
}

// A port without a socket answers with a reset: the least script that has packets
// both ways and no system call.
const closedPort = `0 < S 0:0(0) win 1000 <mss 1000>
+0 > R. 0:0(0) ack 1 win 0
`

func TestOutcomes(t *testing.T) {
	wantResult(t, closedPort, Options{}, Pass, 0, "")
	wantResult(t, "0 < S 0:0(0) win 1000\n+0 > R 0:0(0) ack 1 win 0\n", Options{}, Fail, 2,
		"tcp_ack: expected 0 (0x0), live 1 (0x1)\n  script: 0.000000 > R 0:0(0) ack 1 win 0\n  live:   0.000000 > R. 0:0(0) ack 1 win 0")
	wantResult(t, "0 < S 0:0(0) win 1000\n+.1 > R. 0:0(0) ack 1\n", Options{}, Fail, 2,
		"timing error: expected outbound packet at 0.100000 but it happened at 0.000000")
	wantResult(t, closedPort+"+0 > R 0:0(0)\n", Options{}, Fail, 3, "no packet came\n  script: 0.000000 > R 0:0(0)")
	wantResult(t, "0 < S 0:0(0) win 1000\n+0 < F 1:1(0) win 1000\n", Options{}, Pass, 0, "")
	wantResult(t, "0 nonsense\n", Options{}, Skip, 2, "parse error at the end of the file: expected (")
	wantResult(t, "--ip_version=ipv5\n"+closedPort, Options{}, Skip, 1, `no IP version "ipv5"`)
}
