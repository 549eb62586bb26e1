package orchestrator

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
)

// storage is what Raft writes to.
type storage struct {
	logs   raft.LogStore
	stable raft.StableStore
	snaps  raft.SnapshotStore
	closer io.Closer
	dir    string // where it lies; empty: in memory
}

// openStorage opens or makes what Raft keeps under dir; in memory when dir is empty.
func openStorage(dir string, logger hclog.Logger) (*storage, error) {
	if dir == "" {
		mem := raft.NewInmemStore()
		return &storage{mem, mem, raft.NewInmemSnapshotStore(), io.NopCloser(nil), ""}, nil
	}
	walDir := filepath.Join(dir, "wal")
	if err := os.MkdirAll(walDir, 0o700); err != nil {
		return nil, fmt.Errorf("raft log: %w", err)
	}
	if err := checkLog(walDir); err != nil {
		return nil, fmt.Errorf("raft log: %w", err)
	}
	if err := mendLog(walDir); err != nil {
		return nil, fmt.Errorf("raft log: %w", err)
	}
	log, err := wal.Open(walDir, wal.WithSegmentSize(walSegmentBytes), wal.WithLogger(logger))
	if err != nil {
		return nil, fmt.Errorf("raft log in %s: %w", walDir, err)
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, logger)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("raft snapshots in %s: %w", dir, err), log.Close())
	}
	return &storage{log, log, snaps, log, dir}, nil
}

// storageRetry is the pause before a disk that refused a write is tried again.
const storageRetry = time.Second

// diskHealth remembers whether the disk took the last write. Full disks come and go: labd goes on when there is room.
type diskHealth struct {
	log     *slog.Logger
	closing chan struct{} // closed when the server stops

	mu   sync.Mutex // guards err and slow
	err  error      // of the last write; nil if it was taken
	slow bool       // the last write took long
}

// note takes a write's outcome, and tells whether the one before failed as well.
func (d *diskHealth) note(err error) (again bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	again = d.err != nil && err != nil
	switch {
	case err != nil && d.err == nil:
		d.log.Error("the disk takes no more; nothing can be changed until it does", "error", err)
	case err == nil && d.err != nil:
		d.log.Info("the disk takes writes again")
	}
	d.err = err
	return again
}

// slowWrite is how long a write of the log may take before it is told: half of what followers wait for a leader's word, so
// that a disk is named before calls run out of time.
const slowWrite = 500 * time.Millisecond

// took takes note of how long a write took: the first one that took long is told, and the first that did not after it.
func (d *diskHealth) took(long time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch slow := long >= slowWrite; {
	case slow && !d.slow:
		d.log.Warn("the disk is slow: every change waits for it", "write", long.Round(time.Millisecond))
		d.slow = true
	case !slow && d.slow:
		d.log.Info("the disk is no longer slow")
		d.slow = false
	}
}

// failing is why the last write was not taken; nil if it was.
func (d *diskHealth) failing() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

// pause waits before the next try; false: the server stops.
func (d *diskHealth) pause() bool {
	t := time.NewTimer(storageRetry)
	defer t.Stop()
	select {
	case <-d.closing:
		return false
	case <-t.C:
		return true
	}
}

// watchedLog is a log whose failures are noted. Raft steps down when the log fails, is elected at once, and writes again:
// from the second failure on it is slowed down.
type watchedLog struct {
	raft.LogStore
	health *diskHealth
}

func (w *watchedLog) StoreLog(l *raft.Log) error { return w.StoreLogs([]*raft.Log{l}) }

func (w *watchedLog) StoreLogs(ls []*raft.Log) error {
	began := time.Now()
	err := w.LogStore.StoreLogs(ls)
	w.health.took(time.Since(began))
	if w.health.note(err) {
		w.health.pause()
	}
	return err
}

// IsMonotonic passes on what the log beneath says.
func (w *watchedLog) IsMonotonic() bool {
	m, ok := w.LogStore.(raft.MonotonicLogStore)
	return ok && m.IsMonotonic()
}

// patientStable keeps Raft's term and vote. Raft panics if they cannot be kept, so it waits until they can.
type patientStable struct {
	raft.StableStore
	health *diskHealth
}

func (p *patientStable) Set(key, value []byte) error {
	return p.until(func() error { return p.StableStore.Set(key, value) })
}

func (p *patientStable) SetUint64(key []byte, value uint64) error {
	return p.until(func() error { return p.StableStore.SetUint64(key, value) })
}

func (p *patientStable) until(write func() error) error {
	for {
		err := write()
		p.health.note(err)
		if err == nil {
			return nil
		}
		if !p.health.pause() {
			// The server stops and the term is not kept: Raft must not go on, by an error (it would panic) or without.
			runtime.Goexit()
		}
	}
}
