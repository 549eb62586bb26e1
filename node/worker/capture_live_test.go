package worker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/trace"
)

// captured reads the packets of a pcapng stream.
func captured(t *testing.T, b []byte) (out []trace.CapturedPacket) {
	t.Helper()
	r, err := trace.NewCaptureReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	for {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		p.Data = bytes.Clone(p.Data)
		out = append(out, p)
	}
}

// A live capture holds what crosses the interface, as far as the filter picks it and the snap length goes.
func TestLiveCapture(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	b.start(standing("l", labv1.Clock_CLOCK_VIRTUAL))
	s, err := c.Capture(t.Context(), &workerv1.CaptureRequest{
		LabId: "l", Node: "r1", Interface: "eth1", Filter: "tcp port 5001 and src host client", SnapBytes: 60, Count: 20})
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Recv() // the capture has begun
	if err != nil {
		t.Fatal(err)
	}
	data := m.Data
	b.input("l", ping("p1"))
	b.input("l", transfer("t1", 100_000))
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, m.Data...)
	}
	packets := captured(t, data)
	if len(packets) != 20 {
		t.Fatalf("%d packets, want 20", len(packets))
	}
	for i, p := range packets {
		if !p.Out || len(p.Data) > 60 || p.Length < len(p.Data) || p.Data[23] != 6 {
			t.Fatalf("packet %d: out %v, %d bytes of %d, protocol %d", i, p.Out, len(p.Data), p.Length, p.Data[23])
		}
	}
}

// "Observers change nothing": captured, filtered and followed, by readers that read and one that does not, a lab makes the
// bytes that it makes when nobody looks.
func TestObserversChangeNothing(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	for _, id := range []string{"seen", "unseen"} {
		b.start(standing(id, labv1.Clock_CLOCK_VIRTUAL))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, filter := range []string{"", "tcp", "host server or arp"} {
		s, err := c.Capture(ctx, &workerv1.CaptureRequest{LabId: "seen", Node: "r1", Interface: "eth0", Filter: filter})
		if err == nil {
			_, err = s.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.FollowTrace(ctx, &workerv1.FollowTraceRequest{LabId: "seen"}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"seen", "unseen"} {
		b.input(id, transfer("t1", 300_000))
		b.until(id, "all ended", settled)
	}
	cancel()
	for _, id := range []string{"seen", "unseen"} {
		if _, err := b.StopLab(t.Context(), &workerv1.StopLabRequest{LabId: id, KeepFiles: true}); err != nil {
			t.Fatal(err)
		}
	}
	b.identical(labDir(b.root, "unseen"), labDir(b.root, "seen"))
}

// A reader that does not read is cut off with a reason, and holds up nobody.
func TestStuckCaptureIsCutOff(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	b.start(standing("l", labv1.Clock_CLOCK_VIRTUAL))
	s, err := c.Capture(t.Context(), &workerv1.CaptureRequest{LabId: "l", Node: "r1", Interface: "eth0"})
	if err == nil {
		_, err = s.Recv()
	}
	if err != nil {
		t.Fatal(err)
	}
	b.input("l", transfer("t1", 12_000_000))
	b.until("l", "all ended", settled)
	for err == nil {
		_, err = s.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Fatalf("the stuck reader is told %v", err)
	}
}

func TestCaptureMistakes(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	b.start(standing("l", labv1.Clock_CLOCK_VIRTUAL))
	for name, k := range map[string]struct {
		req  *workerv1.CaptureRequest
		code codes.Code
	}{
		"no node":         {&workerv1.CaptureRequest{LabId: "l", Node: "r9"}, codes.NotFound},
		"no interface":    {&workerv1.CaptureRequest{LabId: "l", Node: "r1", Interface: "eth7"}, codes.NotFound},
		"which interface": {&workerv1.CaptureRequest{LabId: "l", Node: "r1"}, codes.InvalidArgument},
		"bad filter":      {&workerv1.CaptureRequest{LabId: "l", Node: "client", Filter: "port"}, codes.InvalidArgument},
		"unknown host":    {&workerv1.CaptureRequest{LabId: "l", Node: "client", Filter: "host r9"}, codes.InvalidArgument},
	} {
		s, err := c.Capture(t.Context(), k.req)
		if err == nil {
			_, err = s.Recv()
		}
		if status.Code(err) != k.code {
			t.Errorf("%s: %v, want %v", name, err, k.code)
		}
	}
}
