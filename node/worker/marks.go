package worker

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"labd.dev/sim"
)

// A lab's mark is the lab time that it is known to have reached. It is no input and no part of the lab: it says how far a
// restart replays the journal before the lab goes on.

const (
	// marksFile holds the marks of all labs, under the worker's root: a line of lab, time and check sum each, the last of
	// a lab counts. A line that was torn counts for nothing.
	marksFile = "reached"
	// markInterval is how much wall time of a busy lab a killed worker forgets at the most, and a sync of the disk.
	markInterval = 100 * time.Millisecond
	// idleInterval is how much wall time of a lab in which nothing happens it forgets, so that idle labs cost nothing.
	idleInterval = time.Second
	// maxMarksBytes is when the file is written anew: a busy lab adds some 40 bytes a mark.
	maxMarksBytes = 1 << 20
)

// marks keeps the marks of a worker's labs on disk.
type marks struct {
	path string
	wake chan struct{} // holds a token when a lab has gone on since its last mark

	mu      sync.Mutex // guards all below: labs start and end while marks are written
	file    *os.File
	bytes   int64
	reached map[string]sim.Time
}

func openMarks(path string) (*marks, error) {
	m := &marks{path: path, wake: make(chan struct{}, 1), reached: map[string]sim.Time{}}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("marks: %w", err)
	}
	for in := bufio.NewScanner(bytes.NewReader(b)); in.Scan(); {
		if id, t, ok := readMark(in.Text()); ok {
			m.reached[id] = t
		}
	}
	if err := m.rewrite(); err != nil {
		return nil, fmt.Errorf("marks: %w", err)
	}
	return m, nil
}

func appendMark(b []byte, id string, t sim.Time) []byte {
	n := len(b)
	b = fmt.Appendf(b, "%s %d", id, t)
	return fmt.Appendf(b, " %08x\n", crc32.ChecksumIEEE(b[n:]))
}

func readMark(line string) (id string, t sim.Time, ok bool) {
	var sum uint32
	if n, err := fmt.Sscanf(line, "%s %d %x", &id, &t, &sum); n != 3 || err != nil {
		return "", 0, false
	}
	return id, t, t >= 0 && sum == crc32.ChecksumIEEE(fmt.Appendf(nil, "%s %d", id, t))
}

// rewrite puts the marks as they are into a new file. The caller holds mu, or is alone.
func (m *marks) rewrite() error {
	var b []byte
	for id, t := range m.reached {
		b = appendMark(b, id, t)
	}
	f, err := os.OpenFile(m.path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(f.Name(), m.path)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if m.file != nil {
		err = m.file.Close()
	}
	m.file, m.bytes = f, int64(len(b))
	return err
}

// of is a lab's mark; 0: none.
func (m *marks) of(id string) sim.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reached[id]
}

// forget drops the mark of a lab that is no more. No later lab has its id, so that it may stay in the file for a while.
func (m *marks) forget(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.reached, id)
}

// put makes the marks durable that are further than the ones before.
func (m *marks) put(now map[string]sim.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := []byte("\n") // what a full disk cut off before ends here
	for id, t := range now {
		if t > m.reached[id] {
			m.reached[id] = t
			b = appendMark(b, id, t)
		}
	}
	if len(b) == 1 {
		return nil
	}
	if m.bytes += int64(len(b)); m.bytes > maxMarksBytes {
		return m.rewrite()
	}
	_, err := m.file.Write(b)
	return errors.Join(err, m.file.Sync())
}

func (m *marks) close() error { return m.file.Close() }

// reach is how far a lab is, for the marks: written by the lab's goroutine, read by the one that marks.
type reach struct {
	wake  chan<- struct{}
	now   atomic.Int64 // all events before this lab time have been run
	fresh atomic.Bool  // now has moved since it was looked at

	mu    sync.Mutex // guards what is below
	since time.Time  // when the lab began to wait; zero: it does not
	until sim.Time   // for this lab time to come
	pace  float64    // lab seconds in a wall second
}

// ran notes that the lab has gone on.
func (r *reach) ran(now sim.Time) {
	r.now.Store(int64(now))
	if !r.fresh.Swap(true) {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// waits notes that the lab waits for the wall time of until, from lab time now on, at which it is now; busy ends that.
func (r *reach) waits(now, until sim.Time, pace float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now.Store(max(r.now.Load(), int64(now)))
	r.since, r.until, r.pace = time.Now(), until, pace
}

func (r *reach) busy() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since = time.Time{}
}

// passed is the lab time that has passed.
func (r *reach) passed() sim.Time {
	r.fresh.Store(false)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := sim.Time(r.now.Load())
	if r.since.IsZero() {
		return now
	}
	lab := float64(time.Since(r.since)) * r.pace
	if lab >= float64(r.until-now) {
		return max(now, r.until)
	}
	return now + sim.Time(lab)
}

// keepMarks marks the labs until the worker closes: one write and one sync for all of them.
func (w *Worker) keepMarks() {
	idle := time.NewTicker(idleInterval)
	defer idle.Stop()
	failing := false
	for {
		select {
		case <-w.quit:
			return
		case <-idle.C:
		case <-w.marks.wake:
		}
		err := w.mark()
		if err != nil && !failing {
			w.log.Error("how far the labs have come cannot be kept; a restart may take them back further", "error", err)
		}
		failing = err != nil
		if !wallPause(w.quit, markInterval) {
			return
		}
	}
}

// wallPause waits; false: quit came first.
func wallPause(quit <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-quit:
		return false
	case <-t.C:
		return true
	}
}

// mark marks where every lab is now.
func (w *Worker) mark() error {
	now := map[string]sim.Time{}
	w.mu.Lock()
	for id, l := range w.labs {
		now[id] = l.reach.passed()
	}
	w.mu.Unlock()
	return w.marks.put(now)
}
