package trace

import (
	"io"
	"testing"

	"labd.dev/sim"
)

// BenchmarkRecord is what a record costs from a loop's ring to the file's buffer.
func BenchmarkRecord(b *testing.B) {
	w, err := NewWriter(io.Discard, testNames)
	if err != nil {
		b.Fatal(err)
	}
	m := NewMerger(1, w.Write)
	block := make([]sim.Record, 4096)
	b.SetBytes(RecordSize)
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(block) {
		for i := range block {
			block[i] = sim.Record{T: sim.Time(n + i), Node: client, ESeq: uint32(n + i), Kind: sim.KindTCP}
		}
		m.Source(0).Add(block)
	}
	if err := m.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkExpand is what a record costs to become events.
func BenchmarkExpand(b *testing.B) {
	recs := sorted(lossyTransfer(1000).recs)
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(recs) {
		Expand(recs, &testNames)
	}
}

// BenchmarkPacket is what a full frame costs a capture.
func BenchmarkPacket(b *testing.B) {
	c, err := NewCaptureWriter(io.Discard, CaptureInterface{Node: "client", Name: "eth0"})
	if err != nil {
		b.Fatal(err)
	}
	head, payload := make([]byte, 54), make([]byte, 1448)
	comment := []byte("client:1042 client/3 ESTABLISHED cwnd=10")
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Packet(ms, 1, true, comment, head, payload); err != nil {
			b.Fatal(err)
		}
	}
}
