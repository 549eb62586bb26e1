package worker

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// A run's files are read from its directory and from nowhere else, however the path is written, and though a link in the
// directory led out of it.
func TestRunFilesStayInside(t *testing.T) {
	b := newBench(t)
	c := b.dial()
	b.start(standing("l", labv1.Clock_CLOCK_VIRTUAL))
	b.start(standing("other", labv1.Clock_CLOCK_VIRTUAL))
	dir := labDir(b.root, "l")
	secret := filepath.Join(b.root, "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	up, err := filepath.Rel(dir, secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "leak")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(labDir(b.root, "other"), filepath.Join(dir, "neighbour")); err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadDir(labDir(b.root, "other"))
	if err != nil || len(other) == 0 {
		t.Fatalf("the other lab's directory: %v, %v", other, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "mine"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := c.ReadRunFile(t.Context(), &workerv1.ReadRunFileRequest{LabId: "l", Path: "mine"})
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.Recv(); string(m.GetData()) != "mine" {
		t.Fatalf("its own file: %q, %v", m.GetData(), err)
	}
	for _, path := range []string{"", ".", "..", "/", secret, up, "./" + up, "x/../" + up, "pcap/../../" + filepath.Base(up), "leak",
		"neighbour", "neighbour/" + other[0].Name(), "../other/" + other[0].Name(), "leak\x00", `..\secret`, "/etc/passwd", "/proc/self/environ"} {
		s, err := c.ReadRunFile(t.Context(), &workerv1.ReadRunFileRequest{LabId: "l", Path: path})
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.Recv()
		if code := status.Code(err); code != codes.InvalidArgument && code != codes.NotFound {
			t.Errorf("%q: %q, %v", path, m.GetData(), err)
		}
	}
	for _, lab := range []string{"../labs/l", "l/../other", "l/", "/l", "", ".", ".."} {
		s, err := c.ReadRunFile(t.Context(), &workerv1.ReadRunFileRequest{LabId: lab, Path: other[0].Name()})
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.Recv()
		if code := status.Code(err); code != codes.InvalidArgument && code != codes.NotFound {
			t.Errorf("lab %q: %q, %v", lab, m.GetData(), err)
		}
	}
}
