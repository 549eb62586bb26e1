package worker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"labd.dev/node"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
)

// Bounds of one lab.
const (
	maxLoops     = 64        // loops in one process; more goroutines than cores bring nothing
	maxEntries   = 1_000_000 // inputs of a lab; each stays in memory for the replay
	maxQueued    = 1024      // calls that wait for one lab
	maxRunTime   = 24 * 3600 * sim.Second
	quantum      = sim.Millisecond // a run without a duration ends at a multiple of it
	virtualSlice = sim.Millisecond // lab time that the virtual clock passes between two looks at calls
)

// lab is one lab on this worker. Its goroutine owns everything in it; calls from outside go through do.
type lab struct {
	id    string
	epoch uint64
	req   *workerv1.StartLabRequest
	plan  *node.Plan     // once all inputs so far have taken effect
	spec  *labv1.LabSpec // so too
	net   *node.Network
	x     *executor
	clock *clock

	names     *names
	journal   []*labv1.JournalEntry // committed, by index
	waiting   []*labv1.JournalEntry // committed, not yet applied, by time and index
	stamps    stamps
	control   control
	blobs     map[string][]byte // what inputs and services name
	blobBytes int               // in blobs

	sentBytes int // of them, what transfers send: all shards of a split lab have it

	split      *split                 // nil: the whole lab is here
	broken     atomic.Pointer[string] // why this shard cannot go on, though the lab is not at fault; read by any goroutine
	reach      *reach
	vitals     vitals
	tenure     *tenure // the worker's; nil: it needs none
	recovery   recovery
	files      *runFiles
	report     *report
	checkAt    sim.Time // a run without a duration looks whether it is over when the lab gets here
	stopAt     sim.Time // a replay: the lab ends here; 0: by itself
	replayTo   sim.Time // what happened before is made up for as fast as possible
	rebuilding bool
	untold     bool // records of the very time where the lab stands wait until it is past
	ended      bool
	partial    bool
	err        error
	leak       error // what it still held when it had let everything go
	endedAt    sim.Time

	calls chan func()
	quit  chan struct{} // closed by stop
	done  chan struct{} // closed when the goroutine has ended
	overC chan struct{} // closed when the lab has ended

	late    lateness // of its events, on the real clock
	place   *place   // among the labs that share the machine
	drivers *drivers // nil: it drives itself
	driven  driven
	asking  bool     // it has a turn, or waits for one
	rate    *rate    // its owner's; nil: it has none
	back    heldBack // by that

	worker  *Worker // that rebuilds it when the disk was to blame for its end; nil: a replay's
	revived int     // how often that has been tried, and has happened
}

// newLab builds a lab in its own directory; run brings it to life.
func newLab(w *Worker, req *workerv1.StartLabRequest, dir string) (*lab, error) {
	l := &lab{
		id: req.GetLabId(), epoch: req.GetEpoch(), req: req, names: newNames(), report: newReport(), blobs: map[string][]byte{},
		calls: make(chan func(), maxQueued), quit: make(chan struct{}), done: make(chan struct{}), overC: make(chan struct{}),
		checkAt: quantum, untold: true, replayTo: sim.Time(req.GetReplayToNs()),
		reach: &reach{}, recovery: recovery{log: w.log, lab: req.GetSpec().GetName()},
	}
	if w.marks != nil {
		l.reach.wake = w.marks.wake
		l.replayTo = max(l.replayTo, w.marks.of(l.id))
	}
	l.tenure = w.tenure
	l.place = w.shared().newPlace(req.GetOwner())
	if w.rates != nil {
		l.rate = w.rates.rate(req.GetOwner())
	}
	l.drivers, l.driven.seat = w.drivers, newSeat(l.driveOnce)
	var err error
	l.spec = req.GetSpec()
	if l.plan, err = node.Assign(l.spec, nil); err != nil {
		return nil, err
	}
	if l.split, err = newSplit(w, l, req); err != nil {
		return nil, err
	}
	var here []bool
	var part *node.Split
	if l.split != nil {
		part = l.split.part
		here = part.Here(l.plan)
		l.report.tells = l.split.tells
	}
	loops := l.makeLoops()
	if l.files, err = newRunFiles(dir, w.version, l, loops, here); err != nil {
		return nil, err
	}
	if err := l.loadServiceBlobs(w); err != nil {
		return nil, errors.Join(err, l.files.close())
	}
	l.net, err = node.NewNetwork(node.Config{
		Spec: req.GetSpec(), Plan: l.plan, Loops: loops, LoopOf: node.Partition(l.plan, len(loops), here), Split: part,
		Blob: l.blob, Sink: l.files.saved.sink, Report: l.report, Tap: l.files.taps,
	})
	if err != nil {
		return nil, errors.Join(err, l.files.close())
	}
	l.x = newExecutor(l.net, loops)
	if s := l.split; s != nil {
		l.x.reports = func() (least, ahead sim.Time) { return s.next, s.ahead }
	}
	for _, e := range req.GetJournal() {
		if err := l.replayed(w, e); err != nil {
			l.x.close()
			l.net.Close()
			return nil, errors.Join(fmt.Errorf("input %d: %w", e.GetIndex(), err), l.files.close())
		}
		// A run's inputs are journaled before their time; that of an interrupt had come.
		if l.standing() || e.GetInput().GetInterrupt() != nil {
			l.replayTo = max(l.replayTo, sim.Time(e.GetTNs()))
		}
	}
	if l.split != nil && !l.split.head() {
		l.replayTo = 0 // the head leads
	}
	if l.rebuilding = l.replayTo > 0; l.rebuilding {
		l.recovery.begin(l.replayTo)
	}
	if l.split == nil {
		l.clock = newClock(req.GetSpec(), w.wall)
		l.note()
		return l, nil
	}
	if l.clock = followedClock(req.GetSpec()); l.split.head() {
		l.clock = newClock(req.GetSpec(), w.wall)
	}
	l.note()
	return l, l.split.start()
}

func (l *lab) makeLoops() []*sim.Loop {
	n := max(1, min(int(l.req.GetSpec().GetPlacement().GetLoops()), maxLoops, len(l.plan.Nodes)))
	loops := make([]*sim.Loop, n)
	for i := range loops {
		loops[i] = sim.NewLoop(sim.LoopConfig{
			Name:   fmt.Sprintf("%s loop %d", l.req.GetSpec().GetName(), i),
			Budget: l.eventBudget(l.plan),
		})
	}
	return loops
}

// loadServiceBlobs reads what the nodes' web servers serve.
func (l *lab) loadServiceBlobs(w *Worker) error {
	for _, f := range l.specFiles(l.req.GetSpec()) {
		if err := l.load(w, f.GetSha256()); err != nil {
			return err
		}
	}
	return nil
}

// load reads a content into the lab's memory, and keeps it with the run so that a replay needs nothing else. Loops read
// the table while windows run, so it grows only between them.
func (l *lab) load(w *Worker, sum string) error {
	if _, ok := l.blobs[sum]; ok {
		return nil
	}
	b, err := w.blobs.read(sum)
	if err == nil {
		err = l.roomFor(len(b))
	}
	if err == nil {
		err = w.blobs.link(sum, filepath.Join(l.files.dir.Path(), blobsDir))
	}
	if err == nil {
		l.blobs[sum] = b
		l.blobBytes += len(b)
	}
	return err
}

// blob is content given to the lab beforehand.
func (l *lab) blob(sum string) ([]byte, error) {
	if b, ok := l.blobs[sum]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("%w: content %s has not been uploaded", errMissingBlob, sum)
}

// replayed takes an entry of the journal that the lab starts with.
func (l *lab) replayed(w *Worker, e *labv1.JournalEntry) error {
	if want := uint64(len(l.journal)) + 1; e.GetIndex() != want {
		return fmt.Errorf("%w: entry %d where %d should be", errBadRequest, e.GetIndex(), want)
	}
	if e.GetTNs() < 0 || e.GetTNs() >= int64(sim.Never) {
		return fmt.Errorf("%w: no lab time %d", errBadRequest, e.GetTNs())
	}
	if err := l.loadInput(w, e.GetInput()); err != nil {
		return err
	}
	// What a clear names may start later in the journal's time; the rest must be there.
	if e.GetInput().GetClearFault() == nil {
		if err := l.check(e.GetInput()); err != nil {
			return err
		}
	}
	if err := l.names.assign(e.GetInput()); err != nil {
		return err
	}
	if err := l.accept(e); err != nil {
		return err
	}
	l.schedule(e)
	return nil
}

// accept takes a committed entry into the journal.
func (l *lab) accept(e *labv1.JournalEntry) error {
	if err := l.files.journal.Append(e); err != nil {
		return err
	}
	l.journal = append(l.journal, e)
	l.foresee(e)
	l.report.expect(e)
	return nil
}

// schedule lets a committed entry take effect when the lab gets to its time.
func (l *lab) schedule(e *labv1.JournalEntry) {
	i, _ := slices.BinarySearchFunc(l.waiting, e, compareEntries)
	l.waiting = slices.Insert(l.waiting, i, e)
}

// compareEntries orders entries as they take effect.
func compareEntries(a, b *labv1.JournalEntry) int {
	switch {
	case a.GetTNs() != b.GetTNs():
		return int(min(max(a.GetTNs()-b.GetTNs(), -1), 1))
	case a.GetIndex() < b.GetIndex():
		return -1
	case a.GetIndex() > b.GetIndex():
		return 1
	}
	return 0
}

// do runs f in the lab's goroutine, between two windows, and waits for it.
func (l *lab) do(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	call := func() { result <- guard(f) }
	select {
	case l.calls <- call:
		l.wake()
	case <-l.done:
		return l.stopped()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-result:
		return err
	case <-l.done:
		select {
		case err := <-result: // it was the last thing that the lab did
			return err
		default:
		}
		return l.stopped()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errStopped tells that a lab's goroutine has ended, and all that it writes is on disk.
var errStopped = fmt.Errorf("%w", errNotFound)

func (l *lab) stopped() error { return fmt.Errorf("%w: lab %q has stopped", errStopped, l.id) }

// wake has the lab's goroutine look for calls, and whether it is to end.
func (l *lab) wake() {
	l.clock.wake()
	if l.drivers != nil {
		l.drivers.call(l.driven.seat)
	}
}

// stop ends the lab's goroutine and waits for it.
func (l *lab) stop() {
	close(l.quit)
	l.wake()
	if l.split != nil {
		// It may be sending to a shard that does not read.
		defer time.AfterFunc(stopGrace, l.split.peers.Abort).Stop()
	}
	<-l.done
}

// fail ends the lab; what it has recorded is kept.
func (l *lab) fail(err error) {
	if l.err == nil {
		l.err = l.explain(err)
		if l.revivable() {
			l.err = withHope(l.err)
		}
	}
	l.partial = true
	if l.split != nil {
		l.split.leave(err)
	}
	l.end(l.x.now())
	l.awaitRoom()
}

// end closes the run directory. The lab stays to answer questions until it is stopped.
func (l *lab) end(at sim.Time) {
	if l.ended {
		return
	}
	l.ended, l.endedAt = true, at
	close(l.overC)
	if l.split != nil {
		l.split.close()
		l.vitals.waits.Store(0)
	}
	l.stamps.refuse(l.ending())
	if err := l.files.finish(l); err != nil && l.err == nil {
		l.err = err
	}
}

func (l *lab) ending() error {
	if l.err != nil {
		return fmt.Errorf("%w: the lab has ended: %w", errRefused, l.err)
	}
	return fmt.Errorf("%w: the lab has ended", errRefused)
}

// standing says that the lab lives until it is deleted.
func (l *lab) standing() bool { return l.req.GetMode() != workerv1.Mode_MODE_RUN }

func labDir(root, id string) string { return filepath.Join(root, "labs", id) }
