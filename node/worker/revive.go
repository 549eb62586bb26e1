package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"google.golang.org/protobuf/proto"

	workerv1 "labd.dev/proto/worker/v1"
)

// A standing lab that could not write what it must keep ends with that reason, and is the lab of its journal no less: once
// the disk has room it is rebuilt by replay, as after a restart.

const (
	// revivePause is how soon room is looked for, and maxRevivePause how seldom, where a lab fills the disk again each time.
	revivePause    = time.Second
	maxRevivePause = time.Minute
	// probeBytes must fit on the disk before a lab is rebuilt: a few of the blocks that a run's files are written in.
	probeBytes = 1 << 20
)

// diskFull tells whether an error is of a disk that takes no more.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// revivable tells whether a lab that ends is rebuilt here. A split lab is by the controller, all its shards.
func (l *lab) revivable() bool {
	return l.worker != nil && l.standing() && l.split == nil && diskFull(l.err)
}

// awaitRoom asks for the rebuilding of a lab that has ended because of the disk. It does not wait.
func (l *lab) awaitRoom() {
	if !l.revivable() {
		return
	}
	select {
	case l.worker.full <- l: // there is a place for each lab
	default:
	}
}

// reviveLabs rebuilds the labs that ended because of the disk, until the worker closes. One after the other: they wait for
// the same disk.
func (w *Worker) reviveLabs() {
	for {
		var l *lab
		select {
		case <-w.quit:
			return
		case l = <-w.full:
		}
		for done := false; !done; {
			pause := maxRevivePause
			if l.revived < 6 { // 1 s to 32 s
				pause = revivePause << l.revived
			}
			if !wallPause(w.quit, pause) {
				return
			}
			if err := w.room(); err != nil {
				l.revived++
				continue
			}
			w.revive(l)
			done = true
		}
	}
}

// room tries whether the disk takes something again.
func (w *Worker) room() error {
	name := filepath.Join(w.root, "probe")
	err := os.WriteFile(name, make([]byte, probeBytes), 0o600)
	return errors.Join(err, os.Remove(name))
}

// revive builds a lab anew from its journal, to where it was, unless it has been stopped meanwhile.
func (w *Worker) revive(l *lab) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.labs[l.id] != l {
		return
	}
	l.stop()
	delete(w.labs, l.id)
	req := proto.Clone(l.req).(*workerv1.StartLabRequest)
	req.Journal, req.ReplayToNs = l.journal, int64(l.endedAt)
	again, err := w.build(req)
	if err != nil {
		w.log.Error("a lab that ended because of the disk cannot be rebuilt; a restart tries again", "lab", l.id, "error", err)
		return
	}
	again.revived = l.revived + 1
	w.log.Info("the disk has room again; the lab is rebuilt", "lab", req.GetSpec().GetName())
	go again.run()
}

// withHope says of an error after which a lab is rebuilt that it will be.
func withHope(err error) error { return fmt.Errorf("%w (the lab is rebuilt once there is room)", err) }
