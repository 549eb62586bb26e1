package worker

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	"labd.dev/experiment/checks"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
	"labd.dev/trace"
)

const (
	// maxGrades bounds the labs that are judged at a time: each takes a core while it is replayed. Others wait.
	maxGrades = 2
	// maxGradeRecords bounds the records of a lab that is judged, which are in memory: 128 MB.
	maxGradeRecords = 2_000_000
	// maxGradeTime bounds, in wall time, how long one lab may be replayed and judged.
	maxGradeTime = 2 * time.Minute
)

// GradeLab implements the service.
func (w *Worker) GradeLab(ctx context.Context, req *workerv1.GradeLabRequest) (*workerv1.GradeLabResponse, error) {
	if v := checks.Validate(req.GetChecks()); len(v) > 0 {
		return nil, grpcError(fmt.Errorf("%w: checks%w", errBadRequest, v[0]))
	}
	if end := req.GetEndNs(); end < 0 || end >= int64(sim.Never) {
		return nil, grpcError(fmt.Errorf("%w: no lab time %d", errBadRequest, end))
	}
	select {
	case w.grades <- struct{}{}:
		defer func() { <-w.grades }()
	case <-ctx.Done():
		return nil, grpcError(ctx.Err())
	}
	ctx, cancel := context.WithTimeout(ctx, maxGradeTime)
	defer cancel()
	root := filepath.Join(w.root, replaysDir)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, grpcError(err)
	}
	dir, err := os.MkdirTemp(root, "")
	if err != nil {
		return nil, grpcError(err)
	}
	defer os.RemoveAll(dir)
	l, err := w.gradedLab(ctx, req, dir)
	if err != nil {
		return nil, grpcError(err)
	}
	var resp *workerv1.GradeLabResponse
	w.share.yielding(func() {
		err = guard(func() (err error) { resp, err = l.judge(ctx, req); return err })
	})
	return resp, grpcError(err)
}

// gradedLab replays a lab up to where it is to be judged.
func (w *Worker) gradedLab(ctx context.Context, req *workerv1.GradeLabRequest, dir string) (*lab, error) {
	spec := proto.CloneOf(req.GetSpec())
	// What is recorded and kept, and what paces a lab, alters nothing of it.
	spec.Clock, spec.Pace, spec.Placement = labv1.Clock_CLOCK_VIRTUAL, 0, nil
	spec.Record, spec.RetentionRecords = labv1.Record_RECORD_ALL, maxGradeRecords
	end := max(1, sim.Time(req.GetEndNs())) // what happens at once is judged too
	journal := req.GetJournal()
	for i, e := range journal {
		if sim.Time(e.GetTNs()) > end {
			journal = journal[:i]
			break
		}
	}
	l, err := newLab(&Worker{blobs: w.blobs, log: slog.New(slog.DiscardHandler), share: w.share},
		&workerv1.StartLabRequest{LabId: "graded", Epoch: 1, Spec: spec, Journal: journal, Mode: workerv1.Mode_MODE_STANDING}, filepath.Join(dir, "run"))
	if err != nil {
		return nil, err
	}
	l.stopAt, l.replayTo, l.rebuilding = end, end, true
	go l.run()
	select {
	case <-l.overC:
	case <-ctx.Done():
	}
	l.stop()
	if ctx.Err() == context.DeadlineExceeded {
		return nil, fmt.Errorf("%w: the lab could not be replayed within %s", errFull, maxGradeTime)
	}
	return l, ctx.Err()
}

// judge decides the checks by what the lab has recorded. The lab has stopped.
func (l *lab) judge(ctx context.Context, req *workerv1.GradeLabRequest) (*workerv1.GradeLabResponse, error) {
	kept := l.files.retained
	if kept.lost.Kind != sim.KindNone {
		return nil, fmt.Errorf("%w: the lab recorded more than the %d events that can be judged", errFull, maxGradeRecords)
	}
	j, err := checks.New(req.GetChecks(), req.GetAnswers())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBadRequest, err)
	}
	for e := range trace.Each(kept.recs, l.files.names) {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: the lab could not be judged within %s", errFull, maxGradeTime)
		}
		j.Event(e)
	}
	resp := &workerv1.GradeLabResponse{Records: uint64(len(kept.recs))}
	if l.err != nil {
		resp.Error = l.err.Error()
	}
	for _, r := range j.Results() {
		one := &labv1.CheckResult{Id: r.ID, Ok: r.OK, Points: r.Points, Got: r.Got, Look: r.Look, Hint: r.Hint}
		for i := range r.Events {
			line, err := r.Events[i].MarshalJSON()
			if err != nil {
				return nil, err
			}
			one.Events = append(one.Events, string(line))
		}
		resp.Results = append(resp.Results, one)
	}
	sum := sha256.New()
	out, err := trace.NewWriter(sum, *l.files.names)
	if err == nil {
		err = out.Write(kept.recs)
	}
	if err == nil {
		err = out.Flush()
	}
	resp.TraceSha256 = sum.Sum(nil)
	return resp, err
}
