// Package worker hosts labs: it runs their loops, paces them, stamps their inputs, writes their run directories, and
// tells how they stand. It implements the worker.v1 service.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"labd.dev/internal/validate"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
)

// maxLabs bounds the labs of one worker: each has goroutines and files of its own.
const maxLabs = 1000

// Config configures a Worker.
type Config struct {
	Root    string // where contents and run directories lie
	Version string // what manifests say made a run
	// Shared is a directory that holds contents under their SHA-256 too, and whose files are taken from there by hard
	// links instead of being sent; empty: none.
	Shared string
	// Leased: the worker runs labs only while it holds a lease, which Serve gets; else it may always.
	Leased bool
	// DialFrames reaches the labd-frames/1 of another worker; nil: this one takes no part in labs that are split over several.
	// Connections that come in are given to ServeFrames.
	DialFrames func(ctx context.Context, address string) (net.Conn, error)
	// WallClock makes a clock that a lab in real time is paced by; nil: the system's.
	WallClock func() sim.WallClock
	// Logger hears of recoveries and of what cannot be kept; nil: nobody does.
	Logger *slog.Logger
}

// Worker hosts labs. Any goroutine may call it.
type Worker struct {
	workerv1.UnimplementedWorkerServiceServer

	root       string
	version    string
	blobs      *blobs
	drivers    *drivers // nil: a replay's lab drives itself
	background *background
	marks      *marks // nil: no lab is marked
	log        *slog.Logger
	quit       chan struct{} // closed by Close
	full       chan *lab     // ended because of the disk
	marking    sync.WaitGroup
	replays    chan struct{} // holds one for each replay under way
	grades     chan struct{} // and for each lab that is being judged
	tenure     *tenure       // nil: it needs none
	share      *share        // of the cores; nil: the only lab has them all
	rates      *rates        // what owners may use; nil: all
	usage      *usage        // of the disk
	asked      struct {      // of GetReport
		sync.Mutex // guards reporter
		reporter
	}
	dial   func(ctx context.Context, address string) (net.Conn, error)
	wall   func() sim.WallClock // nil: the system's
	guests *guests

	mu     sync.Mutex // guards all below
	term   uint64     // of the leader that it follows, in Raft; 0: there is only one
	labs   map[string]*lab
	closed bool
}

// New makes a worker that keeps its files under cfg.Root.
func New(cfg Config) (*Worker, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b, err := newBlobs(filepath.Join(cfg.Root, blobsDir), cfg.Shared)
	if err != nil {
		return nil, err
	}
	// Replays that a killed process left half-way.
	if err := os.RemoveAll(filepath.Join(cfg.Root, replaysDir)); err != nil {
		return nil, err
	}
	m, err := openMarks(filepath.Join(cfg.Root, marksFile))
	if err != nil {
		return nil, err
	}
	w := &Worker{
		root: cfg.Root, version: cfg.Version, log: cfg.Logger, blobs: b, marks: m, quit: make(chan struct{}), full: make(chan *lab, maxLabs),
		labs: map[string]*lab{}, replays: make(chan struct{}, maxReplays), grades: make(chan struct{}, maxGrades), tenure: newTenure(cfg.Leased), share: newShare(0),
		rates: newRates(), usage: newUsage(),
		dial: cfg.DialFrames, wall: cfg.WallClock, guests: newGuests(),
	}
	w.drivers, w.background = newDrivers(w.share.cores, w.wall), newBackground(w.share.cores+maxGrades)
	w.share.low = w.background
	w.marking.Go(w.keepMarks)
	w.marking.Go(w.reviveLabs)
	w.marking.Go(w.keepUsage)
	return w, nil
}

// shared is how the worker's labs share the cores. A replay's has no others.
func (w *Worker) shared() *share {
	if w.share == nil {
		return newShare(0)
	}
	return w.share
}

// Close ends all labs; their run directories stay.
func (w *Worker) Close() error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	w.mu.Unlock()
	close(w.quit)
	w.marking.Wait()
	err := w.mark()
	w.mu.Lock()
	labs := w.labs
	w.labs = map[string]*lab{}
	w.mu.Unlock()
	for _, l := range labs {
		l.stop()
	}
	w.drivers.close()
	w.background.close()
	return errors.Join(err, w.marks.close())
}

var labName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)

// start builds a lab and lets it run. One that runs under the same epoch is left alone; one of an older epoch is ended
// and built anew.
func (w *Worker) start(req *workerv1.StartLabRequest) error {
	if !labName.MatchString(req.GetLabId()) {
		return fmt.Errorf("%w: lab id %q", errBadRequest, req.GetLabId())
	}
	if err := violations(validate.Lab(req.GetSpec())); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return fmt.Errorf("%w: the worker is stopping", errNoLease)
	}
	if err := w.checkTenure(); err != nil {
		return err
	}
	if err := w.checkTerm(req.GetTerm()); err != nil {
		return err
	}
	if old := w.labs[req.GetLabId()]; old != nil {
		switch {
		case old.epoch == req.GetEpoch():
			return nil
		case old.epoch > req.GetEpoch():
			return fmt.Errorf("%w: the lab runs under epoch %d", errStaleEpoch, old.epoch)
		}
		old.stop()
		delete(w.labs, req.GetLabId())
	}
	if len(w.labs) >= maxLabs {
		return fmt.Errorf("%w: this worker has %d labs", errNoRoom, maxLabs)
	}
	l, err := w.build(req)
	if err != nil {
		return err
	}
	if req.GetBounds() != nil {
		w.rates.set(req.GetBounds())
	}
	w.guests.labStarted()
	go l.run()
	return nil
}

// build makes a lab, which does not run yet. The caller holds mu.
func (w *Worker) build(req *workerv1.StartLabRequest) (*lab, error) {
	dir := labDir(w.root, req.GetLabId())
	// What an earlier life of the lab left behind is made again from the journal.
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	var l *lab
	err := guard(func() (err error) {
		l, err = newLab(w, req, dir)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	l.worker = w
	w.labs[req.GetLabId()] = l
	return l, nil
}

func violations(vs []validate.Violation) error {
	if len(vs) == 0 {
		return nil
	}
	lines := make([]string, len(vs))
	for i, v := range vs {
		lines[i] = v.Error()
	}
	return fmt.Errorf("%w: %s", errBadRequest, strings.Join(lines, "\n"))
}

// lab finds a lab.
func (w *Worker) lab(id string) (*lab, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if l := w.labs[id]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("%w: this worker has no lab %q", errNotFound, id)
}

// labAt finds a lab for a change that its controller has made under an epoch: a controller that has been replaced has no
// say any more.
func (w *Worker) labAt(id string, epoch uint64) (*lab, error) {
	l, err := w.lab(id)
	if err == nil && l.epoch != epoch {
		return nil, fmt.Errorf("%w: the lab runs under epoch %d, not %d", errStaleEpoch, l.epoch, epoch)
	}
	return l, err
}

// stopLab ends a lab, and tells the lab time that it had come to. Without keep its run directory goes too.
func (w *Worker) stopLab(id string, epoch uint64, keep bool) (at sim.Time, err error) {
	l, err := w.labAt(id, epoch)
	if errors.Is(err, errNotFound) && !keep {
		return 0, w.removeFiles(id)
	}
	if err != nil {
		return 0, err
	}
	w.mu.Lock()
	mine := w.labs[id] == l
	if mine {
		delete(w.labs, id)
	}
	w.mu.Unlock()
	if !mine {
		return 0, nil // somebody else is stopping it
	}
	at = l.reach.passed()
	l.stop()
	at = max(at, l.endedAt)
	if keep {
		return at, l.leak
	}
	w.marks.forget(id)
	return at, errors.Join(l.leak, os.RemoveAll(labDir(w.root, id)))
}
