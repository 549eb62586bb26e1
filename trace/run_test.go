package trace

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	some := filepath.Join(dir, "file")
	if err := os.WriteFile(some, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer")
	if err := os.MkdirAll(newer, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(newer, ManifestFile), []byte(`{"format": 9, "labd_version": "v7"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, text string }{
		{filepath.Join(dir, "none"), "does not exist"},
		{some, "is a file"},
		{dir, "holds no manifest.json"},
		{newer, "of a newer labd (v7): format 9"},
	} {
		_, err := Open(c.path)
		if err == nil || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: %v, want %q", c.path, err, c.text)
		}
		if c.path != newer && !errors.Is(err, ErrNotRun) {
			t.Errorf("%s: %v is not ErrNotRun", c.path, err)
		}
	}
}

func TestRunIsNeverWrittenOver(t *testing.T) {
	dir := t.TempDir()
	d, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.WriteManifest(Manifest{Lab: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(dir); err == nil || !strings.Contains(err.Error(), "already holds a run") {
		t.Errorf("%v", err)
	}
}

func TestNextPath(t *testing.T) {
	root := t.TempDir()
	for _, want := range []string{"lab-1", "lab-2", "lab-3"} {
		got, err := NextPath(root, "lab")
		if err != nil || got != filepath.Join(root, want) {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}

func TestSummaryReadsBack(t *testing.T) {
	d, err := Create(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.WriteManifest(Manifest{Lab: "a", Seed: 7}); err != nil {
		t.Fatal(err)
	}
	run, err := Open(d.Path())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := run.Summary(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no summary yet: %v", err)
	}
	want := &Summary{RunDir: "x", Clock: "virtual", Seed: 7, Transfers: []TransferSummary{{ID: "t1", Bytes: 1 << 53, Match: true}},
		Checks: []CheckSummary{{ID: "c", OK: true, Events: []Event{{Node: "client", TNs: 5, ESeq: 1, Name: "app:read",
			Data: []Field{{"bytes", int64(12)}, {"blocked_us", 1.5}}}}}}}
	want.Normalize()
	if err := d.WriteSummary(want); err != nil {
		t.Fatal(err)
	}
	got, err := run.Summary()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestConnThatIsNotThere(t *testing.T) {
	run := lossyRun(t, t.TempDir())
	_, err := run.Conn("client/9")
	var none *NoConnError
	if !errors.As(err, &none) || !strings.Contains(err.Error(), "no connection client/9; there are client/1") {
		t.Errorf("%v", err)
	}
	if _, err := run.Packet("client:999999"); err == nil || !strings.Contains(err.Error(), "no packet client:999999") {
		t.Errorf("%v", err)
	}
}

// Promise 2 of the design: the same lab gives the same bytes, captures included.
func TestSameRunSameBytes(t *testing.T) {
	a, b := lossyRun(t, t.TempDir()), lossyRun(t, t.TempDir())
	for _, name := range []string{EventsFile, CaptureName("client", "eth0"), CaptureName("server", "eth0")} {
		x, err := os.ReadFile(filepath.Join(a.Path, name))
		if err != nil {
			t.Fatal(err)
		}
		y, err := os.ReadFile(filepath.Join(b.Path, name))
		if err != nil {
			t.Fatal(err)
		}
		if string(x) != string(y) {
			t.Errorf("%s differs between two runs", name)
		}
	}
}
