package orchestrator

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/metadb"
	"google.golang.org/grpc/codes"

	"labd.dev/internal/runbook"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// disk is a storage that can be full.
type disk struct {
	raft.LogStore
	raft.StableStore

	mu   sync.Mutex // guards full
	full bool
}

func (d *disk) set(full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = full
}

func (d *disk) room() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full {
		return &os.PathError{Op: "write", Path: "log", Err: syscall.ENOSPC}
	}
	return nil
}

func (d *disk) StoreLogs(ls []*raft.Log) error {
	if err := d.room(); err != nil {
		return err
	}
	return d.LogStore.StoreLogs(ls)
}

func (d *disk) Set(key, value []byte) error {
	if err := d.room(); err != nil {
		return err
	}
	return d.StableStore.Set(key, value)
}

func (d *disk) SetUint64(key []byte, value uint64) error {
	if err := d.room(); err != nil {
		return err
	}
	return d.StableStore.SetUint64(key, value)
}

// A full disk: nothing is changed, and said to be because of the disk; what was there stays, and when there is room again
// the server goes on. The input that the disk did not take has no effect, and its request can be repeated.
func TestFullDisk(t *testing.T) {
	mem := raft.NewInmemStore()
	d := &disk{LogStore: mem, StableStore: mem}
	w := newFakeWorker()
	var heard runbook.Log
	s := serve(t, w, func(conf Config) (*Controller, error) {
		conf.Logger = heard.Logger()
		return openOn(&storage{logs: d, stable: d, snaps: raft.NewInmemSnapshotStore(), closer: io.NopCloser(nil)}, conf)
	}, "")
	s.create("x")
	if _, err := s.transfer("r1"); err != nil {
		t.Fatal(err)
	}
	d.set(true)
	var said string
	for range 3 {
		_, err := s.transfer("r2")
		said = err.Error()
		wantReason(t, err, codes.ResourceExhausted, "STORAGE")
		if !strings.Contains(err.Error(), "no space left on device") {
			t.Errorf("it does not say why: %v", err)
		}
	}
	d.set(false)
	var second *labv1.CreateTransferResponse
	for deadline := time.Now().Add(2 * time.Minute); ; {
		var err error
		if second, err = s.transfer("r2"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("there is room again: %v", err)
		}
	}
	runbook.Says(t, "a server's disk is full", said, heard.String())
	if second.GetStamp().GetIndex() != 2 {
		t.Errorf("the repeated request: %v", second)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, lab := range w.labs {
		if len(lab.applied) != 2 {
			t.Errorf("%d inputs took effect, want 2", len(lab.applied))
		}
	}
}

// A disk that takes long for a write is named, once, and so is that it does no longer. The log is raft-wal's own.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := (&bubble{}).newDisk()
		st, err := d.open()
		if err != nil {
			t.Fatal(err)
		}
		defer st.closer.Close()
		var heard runbook.Log
		logs := &watchedLog{st.logs, &diskHealth{log: heard.Logger(), closing: make(chan struct{})}}
		for i, delay := range []time.Duration{diskDelay, slowWrite, 2 * slowWrite, diskDelay, diskDelay} {
			d.fail(delay, false)
			if err := logs.StoreLog(&raft.Log{Index: uint64(i) + 1, Term: 1}); err != nil {
				t.Fatal(err)
			}
		}
		runbook.Says(t, "a server's disk is slow", heard.String())
		if n := strings.Count(heard.String(), "\n"); n != 2 {
			t.Errorf("%d lines:\n%s", n, heard.String())
		}
	})
}

// A server whose disk is full can be stopped.
func TestStopOnAFullDisk(t *testing.T) {
	mem := raft.NewInmemStore()
	d := &disk{LogStore: mem, StableStore: mem}
	health := &diskHealth{log: slog.New(slog.DiscardHandler), closing: make(chan struct{})}
	d.set(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = (&patientStable{d, health}).SetUint64([]byte("CurrentTerm"), 2)
		t.Error("it goes on without its term")
	}()
	close(health.closing)
	<-done
}

// writeLog fills a log with entries of some bytes each, and returns its segments.
func writeLog(t *testing.T, dir string, entries, size int) []string {
	t.Helper()
	st, err := openStorage(dir, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	for i := range entries {
		if err := st.logs.StoreLog(&raft.Log{Index: uint64(i) + 1, Term: 1, Data: []byte(strings.Repeat("x", size))}); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.closer.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, "wal", "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// An entry that had been acknowledged and has changed on disk is named, whatever part of it has: nothing is dropped as if
// it had been torn, and nothing false is taken in.
func TestDamagedLog(t *testing.T) {
	dir := t.TempDir()
	names := writeLog(t, dir, 200, 50_000) // more than two segments hold
	if len(names) < 3 {
		t.Fatalf("segments %v", names)
	}
	for i, name := range names {
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		end := len(strings.TrimRight(string(whole), "\x00"))
		last := end - 60_000 // before the last entry
		if i+1 < len(names) {
			last = end - 100 // a sealed segment is complete
		}
		first := end / 50_000 / 2 * 50_000
		for at := first; at < last; at += 1 + (last-first)/12 {
			damaged := append([]byte(nil), whole...)
			damaged[at] ^= 0x40
			if err := os.WriteFile(name, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := openStorage(dir, hclog.NewNullLogger())
			if !errors.Is(err, errLogDamaged) || !strings.Contains(err.Error(), filepath.Base(name)) {
				t.Fatalf("%s, byte %d: %v", filepath.Base(name), at, err)
			}
			runbook.Says(t, "the log has changed on disk", err.Error())
		}
		if err := os.WriteFile(name, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if names := writeLog(t, dir, 0, 0); len(names) < 3 {
		t.Errorf("whole again: segments %v", names)
	}
}

// Each byte of a frame's header counts as well.
func TestDamagedFrames(t *testing.T) {
	dir := t.TempDir()
	name := writeLog(t, dir, 10, 20)[0]
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var meta metadb.BoltMetaDB
	state, err := meta.Load(filepath.Join(dir, "wal"))
	if err := errors.Join(err, meta.Close()); err != nil || len(state.Segments) != 1 {
		t.Fatal(state, err)
	}
	end := len(strings.TrimRight(string(whole), "\x00"))
	batch := (end - walFileHeader) / 10
	used := whole[:min(len(whole), end+4096)] // what follows is as empty
	for at := range end - batch - walFrame {
		used[at] ^= 0x02
		if _, damaged := walSegment(used).damage(state.Segments[0]); !damaged {
			t.Errorf("byte %d of %d is not missed", at, end)
		}
		used[at] ^= 0x02
	}
	if at, damaged := walSegment(used).damage(state.Segments[0]); damaged {
		t.Errorf("whole, and damaged at byte %d", at)
	}
}

// A record that was cut off when the machine died was never acknowledged: the log ends before it, and nothing else is
// lost.
func TestTornLog(t *testing.T) {
	dir := t.TempDir()
	names := writeLog(t, dir, 10, 100)
	if len(names) != 1 {
		t.Fatalf("segments %v", names)
	}
	whole, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	end := len(strings.TrimRight(string(whole), "\x00"))
	for _, cut := range []int{1, 7, 60, 110} {
		torn := append([]byte(nil), whole...)
		clear(torn[end-cut:])
		if err := os.WriteFile(names[0], torn, 0o600); err != nil {
			t.Fatal(err)
		}
		var heard runbook.Log
		st, err := openStorage(dir, RaftLogger(heard.Logger()))
		if err != nil {
			t.Fatalf("%d bytes cut off: %v", cut, err)
		}
		runbook.Says(t, "the last record of the log is torn", heard.String())
		if last, err := st.logs.LastIndex(); err != nil || last != 9 {
			t.Errorf("%d bytes cut off: the log ends at %d, %v", cut, last, err)
		}
		if err := st.closer.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A snapshot on disk that has changed is not taken for the state: the one before it is, and the log from there on. Where none
// holds, the server does not start.
func TestDamagedSnapshotOnDisk(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, newFakeWorker(), dir)
	for _, name := range []string{"one", "two"} {
		s.create(name)
		if err := s.control.node.raft.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
	}
	s.create("three")
	s.stop()
	states, err := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*", "state.bin"))
	if err != nil || len(states) != snapshotsKept {
		t.Fatalf("snapshots %v %v", states, err)
	}
	slices.Sort(states) // their names begin with term and index
	damage := func(name string) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	damage(states[1])
	s = startServer(t, newFakeWorker(), dir)
	for _, name := range []string{"one", "two", "three"} {
		s.untilRunning(name)
	}
	s.stop()
	damage(states[0])
	conf := Config{RaftDir: filepath.Join(dir, "raft"), FilesDir: filepath.Join(dir, "files"), ServerID: "s1", Worker: newFakeWorker().connect(t), WorkerName: "w"}
	c, err := Open(conf)
	if err == nil {
		t.Fatalf("it starts: %v", c)
	}
	runbook.Says(t, "all snapshots of the log have changed on disk", err.Error())
}

// A state that a newer version has left is named, not guessed at.
func TestSnapshotOfANewerVersion(t *testing.T) {
	var b strings.Builder
	w := &snapshotWriter{w: bufio.NewWriter(&b), sum: sha256.New()}
	w.put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Header{Header: &controlv1.SnapshotHeader{Version: snapshotVersion + 1}}})
	if err := errors.Join(w.err, w.w.Flush()); err != nil {
		t.Fatal(err)
	}
	if _, err := readSnapshot(strings.NewReader(b.String())); err == nil || !strings.Contains(err.Error(), "a newer labd has written it") {
		t.Fatalf("%v", err)
	}
}
