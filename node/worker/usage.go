package worker

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	workerv1 "labd.dev/proto/worker/v1"
)

// How much of the disk the directories of labs and runs take. It is measured by walking them, once a second those that are being
// recorded and now and then those of standing labs, which keep their newest records in memory; what has ended stays as it is.

const (
	// usageEvery is how often runs are measured: what they record meanwhile is not seen.
	usageEvery = time.Second
	// usageStanding is each how many times standing labs are measured as well.
	usageStanding = 10
)

// usage is how much each lab's directory takes. Any goroutine may call it.
type usage struct {
	mu       sync.Mutex // guards all below
	revision uint64     // of the last change; another process's revisions are others
	removed  uint64     // revision of the last removal
	labs     map[string]*labUsage
}

type labUsage struct {
	bytes    uint64
	revision uint64 // of the last change
	settled  bool   // it has ended, and is measured no more
}

func newUsage() *usage {
	begin := uint64(time.Now().UnixNano())
	return &usage{revision: begin, removed: begin, labs: make(map[string]*labUsage)}
}

// keepUsage measures until the worker closes.
func (w *Worker) keepUsage() {
	for n := 0; wallPause(w.quit, usageEvery); n++ {
		w.measure(n%usageStanding == 0)
	}
}

// measure brings the usage up to date; standing labs only if they are meant as well, or new.
func (w *Worker) measure(standing bool) {
	dirs, err := os.ReadDir(filepath.Dir(labDir(w.root, "x")))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.log.Warn("what labs take of the disk cannot be measured", "error", err)
		return
	}
	there := make(map[string]bool, len(dirs))
	for _, d := range dirs {
		id := d.Name()
		there[id] = true
		l, _ := w.lab(id)
		ended := l == nil || l.isOver()
		if was, known := w.usage.of(id); known && (was.settled && ended || !ended && l.standing() && !standing) {
			continue
		}
		grown := w.usage.note(id, dirBytes(labDir(w.root, id)), ended)
		if l != nil {
			l.rate.recorded(grown)
		}
	}
	w.usage.keep(there)
}

// of is a lab's usage as it was measured last.
func (u *usage) of(id string) (labUsage, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if l := u.labs[id]; l != nil {
		return *l, true
	}
	return labUsage{}, false
}

// note takes in a measurement, and tells by how much the directory has grown.
func (u *usage) note(id string, bytes uint64, ended bool) (grown uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	l := u.labs[id]
	if l == nil {
		l = &labUsage{}
		u.labs[id] = l
	}
	l.settled = ended && bytes == l.bytes // what it still had to write is written
	if bytes != l.bytes {
		u.revision++
		grown = max(bytes, l.bytes) - l.bytes
		l.bytes, l.revision = bytes, u.revision
	}
	return grown
}

// keep forgets all labs but those that are there.
func (u *usage) keep(there map[string]bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id := range u.labs {
		if !there[id] {
			delete(u.labs, id)
			u.revision++
			u.removed = u.revision
		}
	}
}

// since tells what has changed since a revision.
func (u *usage) since(revision uint64) *workerv1.SetBoundsResponse {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := &workerv1.SetBoundsResponse{Revision: u.revision, Whole: revision < u.removed || revision > u.revision}
	for id, l := range u.labs {
		if out.GetWhole() || l.revision > revision {
			out.Labs = append(out.Labs, &workerv1.LabBytes{LabId: id, Bytes: l.bytes})
		}
	}
	slices.SortFunc(out.Labs, func(a, b *workerv1.LabBytes) int { return cmp.Compare(a.GetLabId(), b.GetLabId()) })
	return out
}

// dirBytes is how much a lab's directory takes. Uploaded contents in it are links to what is held for all labs, and count as
// files. What goes while it is looked at counts nothing.
func dirBytes(dir string) (n uint64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil
		case d.IsDir() && d.Name() == blobsDir:
			return fs.SkipDir
		case d.Type().IsRegular():
			if i, err := d.Info(); err == nil {
				n += uint64(i.Size())
			}
		}
		return nil
	})
	return n
}

// isOver tells whether the lab has ended. Any goroutine may ask.
func (l *lab) isOver() bool {
	select {
	case <-l.overC:
		return true
	default:
		return false
	}
}

// recording tells whether the lab goes on filling the disk: a run does with all that happens, a standing lab with what transfers
// save while they run.
func (l *lab) recording() bool { return !l.standing() || l.files.saved.writing() && l.net.Busy() }
