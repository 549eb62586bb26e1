package orchestrator

import (
	"fmt"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	controlv1 "labd.dev/proto/control/v1"
)

// BenchmarkReachedOf300Labs is what it costs to commit how far 300 labs have come, which a leader does every two seconds:
// one entry of the log, synced to the disk of one server.
func BenchmarkReachedOf300Labs(b *testing.B) {
	dir := b.TempDir()
	c, err := Open(Config{RaftDir: filepath.Join(dir, "raft"), FilesDir: filepath.Join(dir, "files"), ServerID: "s",
		DialWorker: testFleet().dial})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := c.Close(b.Context()); err != nil {
			b.Error(err)
		}
	})
	l, err := c.leader(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	marks := make([]*controlv1.LabMark, 300)
	for i := range marks {
		id := newLabID("lab")
		_, err := c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_CreateLab{
			CreateLab: &controlv1.CreateLab{LabId: id, Spec: testSpec(fmt.Sprint("lab", i))}}})
		if err != nil {
			b.Fatal(err)
		}
		marks[i] = &controlv1.LabMark{LabId: id, Epoch: 1, TNs: 3_600_000_000_000}
	}
	for b.Loop() {
		if err := l.commitReached(marks); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(proto.Size(&controlv1.MarkReached{Marks: marks})), "bytes/entry")
}
