package trace

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"labd.dev/sim"
)

func testCapture(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	c, err := NewCaptureWriter(&b, CaptureInterface{Node: "client", Name: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 1},
		Prefix: netip.MustParsePrefix("10.0.0.1/24"),
		Hosts:  []HostName{{netip.MustParseAddr("10.0.0.1"), "client"}, {netip.MustParseAddr("fd00::2"), "server"}}})
	if err != nil {
		t.Fatal(err)
	}
	frame := tcpFrame()
	pkt := sim.MakePacketID(client, 4)
	comment := AppendComment(nil, &testNames, pkt, conn1, "ESTABLISHED cwnd=10")
	if err := c.Packet(20*ms, pkt, true, comment, frame[:54], frame[54:]); err != nil {
		t.Fatal(err)
	}
	if err := c.Packet(21*ms, sim.MakePacketID(server, 1), false, AppendComment(nil, &testNames, sim.MakePacketID(server, 1), 0, ""), frame); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCaptureReadsBack(t *testing.T) {
	c, err := NewCaptureReader(bytes.NewReader(testCapture(t)))
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	if p.T != 20*ms || p.Pkt != sim.MakePacketID(client, 4) || !p.Out || !bytes.Equal(p.Data, tcpFrame()) ||
		p.Comment != "client:4 client/1 ESTABLISHED cwnd=10" || p.State() != "ESTABLISHED cwnd=10" || p.Length != len(tcpFrame()) {
		t.Errorf("%+v", p)
	}
	p, err = c.Next()
	if err != nil || p.Out || p.State() != "" || p.Comment != "server:1" {
		t.Errorf("%+v %v", p, err)
	}
	if _, err = c.Next(); err != io.EOF {
		t.Errorf("%v after the last packet", err)
	}
}

// The bytes of a capture are a function of the lab: nothing of the host, its clock or its version gets in.
func TestCaptureBytes(t *testing.T) {
	b := testCapture(t)
	if !bytes.Equal(b, testCapture(t)) {
		t.Error("two captures of the same packets differ")
	}
	// Block lengths are multiples of 4 and stand at both ends (draft-ietf-opsawg-pcapng 3.1).
	for at := 0; at < len(b); {
		n := int(b[at+4]) | int(b[at+5])<<8
		if n%4 != 0 || b[at+n-4] != b[at+4] || b[at+n-3] != b[at+5] {
			t.Fatalf("block at %d: lengths do not agree", at)
		}
		at += n
	}
}

func TestCaptureErrors(t *testing.T) {
	good := testCapture(t)
	for _, c := range []struct {
		b    []byte
		text string
	}{
		{nil, "it is empty"},
		{[]byte("0123456789abcdef"), "a block of"},
		{good[:len(good)-3], "in the middle of a block"},
		{append(bytes.Clone(good), 1, 2), "in the middle of a block"},
	} {
		r, err := NewCaptureReader(bytes.NewReader(c.b))
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, ErrNotCapture) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%v, want %q", err, c.text)
		}
	}
}

func FuzzCaptureReader(f *testing.F) {
	f.Add(testCapture(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := NewCaptureReader(bytes.NewReader(b))
		for err == nil {
			var p CapturedPacket
			if p, err = r.Next(); err == nil {
				p.State()
				parseHeaders(p.Data)
			}
		}
	})
}

// Wireshark reads what a real connection left at both of its ends: whole, with true checksums and our comments.
func TestTsharkReadsCaptures(t *testing.T) {
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	run := lossyRun(t, t.TempDir())
	for _, node := range []string{"client", "server"} {
		path := filepath.Join(run.Path, filepath.FromSlash(CaptureName(node, "eth0")))
		out, err := exec.Command(tshark, "-r", path, "-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE",
			"-Y", "_ws.malformed || tcp.checksum.status == 0 || ip.checksum.status == 0").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if s := strings.TrimSpace(string(out)); s != "" && !strings.HasPrefix(s, "Running as user") {
			t.Errorf("%s: tshark complains of\n%s", node, out)
		}
		out, err = exec.Command(tshark, "-r", path, "-Y", `frame.comment contains "client/1"`, "-T", "fields", "-e", "frame.packet_id").CombinedOutput()
		if err != nil || len(bytes.TrimSpace(out)) == 0 {
			t.Errorf("%s: no packet with our comment: %v\n%s", node, err, out)
		}
	}
}
