package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	workerv1 "labd.dev/proto/worker/v1"
)

// held is a lab as its files lie on this worker.
type held struct {
	dir string
	lab *lab // nil: it has been stopped, or an earlier process ran it
}

// held finds a lab that runs here or has left files here.
func (w *Worker) held(id string) (held, error) {
	if l, err := w.lab(id); err == nil {
		return held{l.files.dir.Path(), l}, nil
	}
	if labName.MatchString(id) {
		dir := labDir(w.root, id)
		if i, err := os.Stat(dir); err == nil && i.IsDir() {
			return held{dir: dir}, nil
		}
	}
	return held{}, fmt.Errorf("%w: this worker has no lab %q", errNotFound, id)
}

// flush brings what the lab has written so far to the disk.
func (h held) flush(ctx context.Context) error {
	if h.lab == nil {
		return nil
	}
	err := h.lab.do(ctx, h.lab.files.flush)
	if errors.Is(err, errStopped) {
		return nil // meanwhile, and its files are whole
	}
	return err
}

// ListLabs implements the service.
func (w *Worker) ListLabs(ctx context.Context, req *workerv1.ListLabsRequest) (*workerv1.ListLabsResponse, error) {
	resp, labs, err := w.listHeld()
	if err != nil {
		return nil, grpcError(err)
	}
	for _, h := range resp.GetLabs() {
		l := labs[h.GetLabId()]
		if l == nil || !req.GetProgress() {
			continue
		}
		err := l.do(ctx, func() error { h.Progress = l.progress(); return nil })
		if err != nil && !errors.Is(err, errNotFound) { // it has been stopped meanwhile
			return nil, grpcError(err)
		}
	}
	return resp, nil
}

// listHeld lists the labs that run here, or have files here.
func (w *Worker) listHeld() (*workerv1.ListLabsResponse, map[string]*lab, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	resp := &workerv1.ListLabsResponse{}
	for id, l := range w.labs {
		resp.Labs = append(resp.Labs, &workerv1.HeldLab{LabId: id, Epoch: l.epoch, Running: true, Broken: l.brokenBy(),
			Journaled: l.vitals.journaled.Load(), PendingIndex: l.vitals.pending.Load()})
	}
	dirs, err := os.ReadDir(filepath.Dir(labDir(w.root, "x")))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	for _, d := range dirs {
		if w.labs[d.Name()] == nil && labName.MatchString(d.Name()) {
			resp.Labs = append(resp.Labs, &workerv1.HeldLab{LabId: d.Name()})
		}
	}
	slices.SortFunc(resp.Labs, func(a, b *workerv1.HeldLab) int { return strings.Compare(a.GetLabId(), b.GetLabId()) })
	return resp, maps.Clone(w.labs), nil
}

// removeFiles removes the run directory of a lab that no longer runs.
func (w *Worker) removeFiles(id string) error {
	if !labName.MatchString(id) {
		return fmt.Errorf("%w: lab id %q", errBadRequest, id)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.labs[id] != nil {
		return fmt.Errorf("%w: the lab was started meanwhile", errRefused)
	}
	w.marks.forget(id)
	return os.RemoveAll(labDir(w.root, id))
}

// runDir is the run directory of a lab, with all written out if the lab still runs.
func (w *Worker) runDir(ctx context.Context, id string) (string, error) {
	h, err := w.held(id)
	if err != nil {
		return "", err
	}
	return h.dir, h.flush(ctx)
}
