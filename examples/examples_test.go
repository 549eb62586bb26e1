// Package examples runs every example as a newcomer would, and holds it to the outcome that it tells of.
package examples

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	// What labctl is made of, so that go test's cache knows that a change of it concerns these tests; see TestMain.
	_ "labd.dev/experiment"
	_ "labd.dev/internal/daemon"
)

var labctl string // the built command

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "labd-examples-")
	if err != nil {
		panic(err)
	}
	// The cache also watches files that a test has opened: these are labctl's own.
	sources, err := filepath.Glob("../cmd/labctl/*.go")
	if err != nil || len(sources) == 0 {
		panic("labctl's sources are not where they should be")
	}
	for _, path := range sources {
		if _, err := os.ReadFile(path); err != nil {
			panic(err)
		}
	}
	labctl = filepath.Join(dir, "labctl")
	build := exec.Command("go", "build", "-o", labctl, "labd.dev/cmd/labctl")
	build.Stderr = os.Stderr
	code := 1
	if build.Run() == nil {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// outcome is what an example's test looks at of `run -o json`.
type outcome struct {
	Partial   bool
	Transfers []struct {
		ID          string
		Bytes       uint64
		Match       bool
		DurationNs  int64 `json:"duration_ns"`
		Retransmits uint64
		Error       string
	}
	Checks []struct {
		ID  string
		OK  bool
		Got string
	}
	Error string
}

// run carries out an experiment and fails the test unless it passes.
func run(t *testing.T, experiment, dir string, args ...string) outcome {
	t.Helper()
	cmd := exec.Command(labctl, append([]string{"run", experiment, "--out", dir, "-o", "json"}, args...)...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	var o outcome
	if jsonErr := json.Unmarshal(out.Bytes(), &o); jsonErr != nil {
		t.Fatalf("%v, %v\n%s%s", err, jsonErr, errOut.String(), out.String())
	}
	if err != nil || o.Partial || o.Error != "" {
		t.Errorf("%v: %s%s", err, errOut.String(), out.String())
	}
	return o
}

// Every experiment passes: its transfers end as it says, its checks hold, and there is something to check.
func TestEveryExample(t *testing.T) {
	files, err := filepath.Glob("*/experiment*.yaml")
	if err != nil || len(files) < 11 {
		t.Fatalf("%d experiments found, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(file, ".yaml"), func(t *testing.T) {
			o := run(t, file, filepath.Join(t.TempDir(), "run"))
			if len(o.Checks) == 0 || len(o.Transfers) == 0 {
				t.Errorf("%d checks, %d transfers: an example asserts its outcome", len(o.Checks), len(o.Transfers))
			}
			for _, c := range o.Checks {
				if !c.OK {
					t.Errorf("check %s: %s", c.ID, c.Got)
				}
			}
		})
	}
}

// The real clock paces the very same events: the trace does not differ by a byte.
func TestDownloadOnTheRealClock(t *testing.T) {
	dir := t.TempDir()
	virtual, real := filepath.Join(dir, "virtual"), filepath.Join(dir, "real")
	o := run(t, "download/experiment.yaml", virtual)
	if tr := o.Transfers[0]; tr.Bytes != 1_399_999 || !tr.Match || tr.Retransmits == 0 {
		t.Errorf("download %+v", tr)
	}
	start := time.Now()
	run(t, "download/experiment.yaml", real, "--clock", "real")
	if d := time.Since(start); d < time.Second {
		t.Errorf("the real clock took %v for seconds of lab time", d)
	}
	same(t, virtual, real)
}

// The split over loops is not part of a lab: two loops write what one does.
func TestDownloadOnTwoLoops(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	run(t, "download/experiment.yaml", one)
	run(t, "download/experiment.yaml", two, "--loops", "2")
	same(t, one, two)
}

// same compares what two runs wrote, byte for byte; the manifest alone may tell of wall time.
func same(t *testing.T, a, b string) {
	t.Helper()
	captures, err := filepath.Glob(filepath.Join(a, "pcap", "*.pcapng"))
	if err != nil || len(captures) == 0 {
		t.Fatalf("%d captures, %v", len(captures), err)
	}
	for _, path := range append(captures, filepath.Join(a, "events.bin"), filepath.Join(a, "journal.jsonl")) {
		name, err := filepath.Rel(a, path)
		if err != nil {
			t.Fatal(err)
		}
		x, errX := os.ReadFile(path)
		y, errY := os.ReadFile(filepath.Join(b, name))
		if errX != nil || errY != nil || !bytes.Equal(x, y) {
			t.Errorf("%s differs: %d and %d bytes, %v, %v", name, len(x), len(y), errX, errY)
		}
	}
}

// What is lost over UDP stays lost and nobody waits; TCP delivers all and takes longer.
func TestTCPWaitsUDPLoses(t *testing.T) {
	o := run(t, "tcp-vs-udp/experiment.yaml", filepath.Join(t.TempDir(), "run"))
	udp, tcp := o.Transfers[0], o.Transfers[1]
	if udp.Bytes >= tcp.Bytes || udp.Match || !tcp.Match || tcp.DurationNs <= udp.DurationNs {
		t.Errorf("udp %+v, tcp %+v", udp, tcp)
	}
}

// One loss, two repairs: three duplicate ACKs are faster than the timer.
func TestFastRetransmitBeatsTheTimer(t *testing.T) {
	o := run(t, "loss/experiment.yaml", filepath.Join(t.TempDir(), "run"))
	fast, slow := o.Transfers[0], o.Transfers[1]
	if fast.DurationNs >= slow.DurationNs {
		t.Errorf("fast retransmit %d ns, timeout %d ns", fast.DurationNs, slow.DurationNs)
	}
}

// The ladder of handshake shows just the six segments, on request with the numbers on the wire, and the states.
func TestHandshakeLadder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	run(t, "handshake/experiment.yaml", dir)
	out, err := exec.Command(labctl, "ladder", "client/1", "--run", dir, "--absolute").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text := string(out)
	for _, want := range []string{"SYN S=100 ", "SYN+ACK S=2000 A=101", "ACK S=101 A=2001", "PSH+ACK S=101 A=2001 len=100",
		"PSH+ACK S=2001 A=201 len=500", "ACK S=201 A=2501", "CLOSED", "LISTEN", "SYN_SENT", "SYN_RCVD", "ESTABLISHED"} {
		if !strings.Contains(text, want) {
			t.Errorf("the ladder does not show %q", want)
		}
	}
	if n := strings.Count(text, " A=") + strings.Count(text, "SYN S="); n != 6 {
		t.Errorf("the ladder shows %d segments, want 6", n)
	}
	if t.Failed() {
		t.Log("\n" + text)
	}
}

// One segment over three hops: the frame is made anew at each, the TTL falls by one at each router.
func TestEncapsulationDecoded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	run(t, "encapsulation/experiment.yaml", dir)
	export, err := exec.Command(labctl, "trace", "export", "client/1", "--run", dir, "-o", "jsonl").Output()
	if err != nil {
		t.Fatal(err)
	}
	packet := ""
	for line := range strings.Lines(string(export)) {
		var e struct {
			Node, Name string
			Data       struct {
				Pkt string
				Len int
			}
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e.Name == "tcp:segment_sent" && e.Node == "client" && e.Data.Len == 100 {
			packet = e.Data.Pkt
		}
	}
	out, err := exec.Command(labctl, "decode", packet, "--run", dir, "-o", "json").Output()
	if err != nil {
		t.Fatalf("decode %q: %v", packet, err)
	}
	var hops []struct {
		Node string
		Data []byte
	}
	if err := json.Unmarshal(out, &hops); err != nil || len(hops) != 6 {
		t.Fatalf("%d sightings, want one out and one in on each of three links (%v)", len(hops), err)
	}
	const ttlAt, tcpAt = 14 + 8, 14 + 20
	for i := 0; i < 6; i += 2 {
		if ttl := hops[i].Data[ttlAt]; int(ttl) != 64-i/2 {
			t.Errorf("hop %d: TTL %d, want %d", i/2+1, ttl, 64-i/2)
		}
		if i > 0 && bytes.Equal(hops[i].Data[:14], hops[i-2].Data[:14]) {
			t.Errorf("hop %d: the Ethernet header is that of the hop before", i/2+1)
		}
		if !bytes.Equal(hops[i].Data[tcpAt:], hops[0].Data[tcpAt:]) {
			t.Errorf("hop %d: the TCP segment is not what was sent", i/2+1)
		}
	}
	drawn, err := exec.Command(labctl, "decode", packet, "--run", dir).Output()
	if err != nil || !strings.Contains(string(drawn), "time to live") {
		t.Errorf("drawn: %v\n%s", err, drawn)
	}
}

// Of three thousand forged resets the ladder that run prints shows three, the challenge ACK that one of them earns, and how many there were.
func TestForgedResetsInTheLadder(t *testing.T) {
	out, err := exec.Command(labctl, "run", "attack-rst/experiment-defended.yaml", "--out", filepath.Join(t.TempDir(), "run")).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text := strings.Join(strings.Fields(string(out)), " ")
	if n := strings.Count(text, "RST S="); n != 3 {
		t.Errorf("%d resets are shown", n)
	}
	for _, want := range []string{"challenge ACK", "segments that client has not"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
