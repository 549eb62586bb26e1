package orchestrator

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// memDisk is what a server writes to, and outlives it. The log on it is raft-wal's own, over the interface that it has for a
// file system: the files are in memory, and writing them may be slow, or fail for want of room. Power may fail while a
// record is on its way to the disk, which then is there in part.
type memDisk struct {
	snaps raft.SnapshotStore
	past  *archive

	mu       sync.Mutex // guards what is below
	files    map[string]*memFile
	segments types.PersistentState
	stable   map[string][]byte
	delay    time.Duration
	full     bool
	off      bool          // the power is
	syncing  chan struct{} // closed by the next write that waits for the disk
	changed  chan struct{} // closed when the disk gets slower or faster, or loses power
	torn     int           // records that were cut in two
}

const (
	// diskDelay is how long a healthy disk takes for a write.
	diskDelay = time.Millisecond
	// diskSegment is the size of a segment of the log: small, so that there are several.
	diskSegment = 8 << 10
)

var (
	errNoRoom   = syscall.ENOSPC
	errPowerOff = errors.New("the power is off")
)

func (c *bubble) newDisk() *memDisk {
	d := &memDisk{snaps: raft.NewInmemSnapshotStore(), past: &archive{logs: make(map[uint64]raft.Log)}, files: make(map[string]*memFile),
		stable: make(map[string][]byte), syncing: make(chan struct{}), changed: make(chan struct{})}
	if c.how == forgetful {
		d.snaps = forgetfulSnaps{d.snaps}
	}
	c.disks = append(c.disks, d)
	return d
}

// open opens the log as a server finds it when it starts.
func (d *memDisk) open() (*storage, error) {
	d.mu.Lock()
	d.off = false
	d.mend()
	d.mu.Unlock()
	log, err := wal.Open("wal", wal.WithSegmentSize(diskSegment), wal.WithSegmentFiler(segment.NewFiler("wal", diskFiles{d})),
		wal.WithMetaStore(diskMeta{d}), wal.WithLogger(hclog.NewNullLogger()))
	if err != nil {
		return nil, err
	}
	logs := &diskLog{LogStore: log, past: d.past, turn: make(chan struct{}, 1)}
	return &storage{logs, log, d.snaps, log, ""}, nil
}

// mend is mendLog for this disk. The caller holds mu.
func (d *memDisk) mend() {
	if n := len(d.segments.Segments); n > 0 && d.segments.Segments[n-1].SealTime.IsZero() {
		if f := d.files[segment.FileName(d.segments.Segments[n-1])]; f != nil {
			for _, p := range walSegment(f.now).mend() {
				f.now, f.synced = put(f.now, int64(p.at), p.data), put(f.synced, int64(p.at), p.data)
			}
		}
	}
}

// fail makes the disk slow or full, or neither.
func (d *memDisk) fail(delay time.Duration, full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay, d.full = delay, full
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *memDisk) failing() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.full
}

func (d *memDisk) hangs() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.delay == hanging
}

// powerOff is what a machine's disk goes through when it loses power: of what has not been synced yet, some is there. That is
// what a process that is killed leaves as well, or less.
func (d *memDisk) powerOff(rng *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return
	}
	d.off = true
	close(d.changed)
	d.changed = make(chan struct{})
	for _, name := range slices.Sorted(maps.Keys(d.files)) {
		f := d.files[name]
		for _, w := range f.pending {
			n := rng.IntN(len(w.data) + 1)
			if n < len(w.data) {
				d.torn++
			}
			f.synced = put(f.synced, w.at, w.data[:n])
		}
		f.pending, f.now = nil, slices.Clone(f.synced)
	}
}

// writing is closed when the next write waits for the disk.
func (d *memDisk) writing() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.syncing
}

// room tells whether something can be written. The caller holds mu.
func (d *memDisk) room() error {
	switch {
	case d.off:
		return errPowerOff
	case d.full:
		return errNoRoom
	}
	return nil
}

// wait takes as long as the disk does. It is over when the disk gets faster or slower, or loses power.
func (d *memDisk) wait() error {
	d.mu.Lock()
	delay, changed := diskDelay+d.delay, d.changed
	close(d.syncing)
	d.syncing = make(chan struct{})
	d.mu.Unlock()
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.room()
}

// diskLog has one writer at a time, which the bubble's clock does not wait for: raft-wal's own lock would stop it.
type diskLog struct {
	raft.LogStore
	past *archive
	turn chan struct{} // holds one while somebody writes
}

func (l *diskLog) IsMonotonic() bool { return true }

func (l *diskLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

func (l *diskLog) StoreLogs(entries []*raft.Log) error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	err := l.LogStore.StoreLogs(entries)
	if err == nil {
		l.past.add(entries)
	}
	return err
}

func (l *diskLog) DeleteRange(from, to uint64) error {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	return l.LogStore.DeleteRange(from, to)
}

// archive keeps all entries that a disk's log ever had, also those that were compacted.
type archive struct {
	mu   sync.Mutex // guards logs
	logs map[uint64]raft.Log
}

func (a *archive) add(entries []*raft.Log) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range entries {
		a.logs[e.Index] = *e
	}
}

// memFile is a file: as processes see it, and as it is on the disk for certain.
type memFile struct {
	now, synced []byte
	pending     []memWrite
}

type memWrite struct {
	at   int64
	data []byte
}

// put writes into a file's bytes, which grow if they must.
func put(file []byte, at int64, data []byte) []byte {
	if need := int(at) + len(data); need > len(file) {
		file = append(file, make([]byte, need-len(file))...)
	}
	copy(file[at:], data)
	return file
}

// diskFiles is a disk as raft-wal's file system. It has one directory.
type diskFiles struct{ d *memDisk }

func (v diskFiles) ListDir(string) ([]string, error) {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	return slices.Sorted(maps.Keys(v.d.files)), nil
}

func (v diskFiles) Create(_, name string, size uint64) (types.WritableFile, error) {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if err := v.d.room(); err != nil {
		return nil, err
	}
	if v.d.files[name] != nil {
		return nil, fs.ErrExist
	}
	f := &memFile{now: make([]byte, size), synced: make([]byte, size)}
	v.d.files[name] = f
	return openFile{v.d, f}, nil
}

func (v diskFiles) Delete(_, name string) error {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if v.d.off {
		return errPowerOff
	}
	delete(v.d.files, name)
	return nil
}

func (v diskFiles) OpenReader(_, name string) (types.ReadableFile, error) { return v.open(name) }

func (v diskFiles) OpenWriter(_, name string) (types.WritableFile, error) { return v.open(name) }

func (v diskFiles) open(name string) (openFile, error) {
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	if f := v.d.files[name]; f != nil {
		return openFile{v.d, f}, nil
	}
	return openFile{}, fs.ErrNotExist
}

type openFile struct {
	d *memDisk
	f *memFile
}

func (o openFile) Close() error { return nil }

func (o openFile) ReadAt(p []byte, at int64) (int, error) {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	if at >= int64(len(o.f.now)) {
		return 0, io.EOF
	}
	n := copy(p, o.f.now[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (o openFile) WriteAt(p []byte, at int64) (int, error) {
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	if err := o.d.room(); err != nil {
		return 0, err
	}
	o.f.now = put(o.f.now, at, p)
	o.f.pending = append(o.f.pending, memWrite{at, slices.Clone(p)})
	return len(p), nil
}

func (o openFile) Sync() error {
	if err := o.d.wait(); err != nil {
		return err
	}
	o.d.mu.Lock()
	defer o.d.mu.Unlock()
	for _, w := range o.f.pending {
		o.f.synced = put(o.f.synced, w.at, w.data)
	}
	o.f.pending = nil
	return nil
}

// diskMeta is what raft-wal keeps beside the segments: in a database, each change of which is whole or none.
type diskMeta struct{ d *memDisk }

func (m diskMeta) Load(string) (types.PersistentState, error) {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	return m.d.segments, nil
}

func (m diskMeta) CommitState(s types.PersistentState) error {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	if err := m.d.room(); err != nil {
		return err
	}
	s.Segments = slices.Clone(s.Segments)
	m.d.segments = s
	return nil
}

func (m diskMeta) GetStable(key []byte) ([]byte, error) {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	return m.d.stable[string(key)], nil
}

func (m diskMeta) SetStable(key, value []byte) error {
	if err := m.d.wait(); err != nil {
		return err
	}
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	m.d.stable[string(key)] = slices.Clone(value)
	return nil
}

func (m diskMeta) Close() error { return nil }
