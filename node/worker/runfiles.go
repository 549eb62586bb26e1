package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"labd.dev/journal"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
	"labd.dev/trace"
)

// specFile holds what a lab was started with, without its journal: with that and the contents it names, a replay needs
// nothing but the run directory.
const specFile = "spec.pb"

// recorderBlock is how many records a loop collects before it hands them on: 256 KB stay in the second-level cache.
const recorderBlock = 4096

// runFiles is a lab's run directory while it is being written, and what a standing lab keeps in memory instead of a file.
type runFiles struct {
	dir     *trace.Dir
	names   *trace.Names
	journal *journal.Writer
	taps    *taps
	saved   *saved

	loops     int
	recorders []*sim.Recorder // one a loop; none if the lab records nothing
	merger    *trace.Merger
	events    *os.File      // a run's
	writer    *trace.Writer // a run's
	retained  *retention    // a standing lab's
	records   uint64        // made so far
	through   atomic.Int64  // lab time before which all records have been taken; any goroutine may read it

	version string
	started time.Time
	ended   bool
}

// newRunFiles makes the directory and gives each loop its recorder. Where here is not nil, only the nodes for which it is true
// are in this part of the lab.
func newRunFiles(path, version string, l *lab, loops []*sim.Loop, here []bool) (_ *runFiles, err error) {
	f := &runFiles{loops: len(loops), names: allNames(l.plan, l.req.GetJournal()), version: version, started: time.Now()}
	if f.dir, err = trace.Create(path); err != nil {
		return nil, err
	}
	f.saved = newSaved(filepath.Join(path, savedDir))
	f.taps = newTaps(l.plan, here, f.names, l.standing() || l.req.GetCapture())
	f.merger = trace.NewMerger(len(loops), f.record)
	if l.req.GetSpec().GetRecord() != labv1.Record_RECORD_NONE {
		for i, loop := range loops {
			loop.Rec = sim.NewRecorder(recorderBlock, f.merger.Source(i).Add)
			f.recorders = append(f.recorders, loop.Rec)
		}
	}
	if err := f.open(l); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *runFiles) open(l *lab) (err error) {
	if f.journal, _, err = journal.Open(filepath.Join(f.dir.Path(), trace.JournalFile), journal.Options{}); err != nil {
		return err
	}
	if l.standing() {
		f.retained = newRetention(l.req.GetSpec().GetRetentionRecords())
	} else if err := f.openEvents(); err != nil {
		return err
	}
	if l.req.GetCapture() {
		if err := f.taps.capture(f.dir, l.plan); err != nil {
			return err
		}
	}
	start := &workerv1.StartLabRequest{Spec: l.req.GetSpec(), Mode: l.req.GetMode(), EndNs: l.req.GetEndNs(), Capture: l.req.GetCapture(),
		ConnectionsAtMost: l.req.GetConnectionsAtMost()}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(start)
	if err != nil {
		return err
	}
	if err := f.dir.WriteFile(specFile, b); err != nil {
		return err
	}
	if y := l.req.GetLabYaml(); len(y) > 0 {
		if err := f.dir.WriteFile(trace.LabFile, y); err != nil {
			return err
		}
	}
	return f.manifest(l)
}

func (f *runFiles) openEvents() (err error) {
	if f.events, err = f.dir.File(trace.EventsFile); err != nil {
		return err
	}
	f.writer, err = trace.NewWriter(f.events, *f.names)
	return err
}

// record takes the lab's records in their total order.
func (f *runFiles) record(recs []sim.Record) error {
	f.records += uint64(len(recs))
	if f.retained != nil {
		return f.retained.write(recs)
	}
	return f.writer.Write(recs)
}

// advance hands on the records of a window that all loops have run; an error of any file of the run comes up here.
func (f *runFiles) advance(t sim.Time) error {
	for _, r := range f.recorders {
		r.Flush()
	}
	if err := f.merger.Advance(t); err != nil {
		return err
	}
	f.through.Store(int64(t))
	if err := f.taps.failed(); err != nil {
		return err
	}
	return f.saved.failed()
}

// flush brings everything so far to the disk, for readers.
func (f *runFiles) flush() error {
	if f.ended {
		return nil
	}
	err := f.taps.flush()
	err = errors.Join(err, f.saved.flush())
	if f.writer != nil {
		err = errors.Join(err, f.writer.Flush())
	}
	return err
}

// finish completes the run directory.
func (f *runFiles) finish(l *lab) error {
	if f.ended {
		return nil
	}
	f.ended = true
	for _, r := range f.recorders {
		r.Flush()
	}
	err := f.merger.Close()
	if f.retained != nil {
		err = errors.Join(err, f.openEvents())
		if err == nil {
			err = f.writer.Write(f.retained.recs)
		}
	}
	if f.writer != nil && err == nil {
		err = f.writer.Close()
	}
	err = errors.Join(err, f.close())
	if p, ok := errors.AsType[*panicError](l.err); ok {
		err = errors.Join(err, f.dir.WriteFile("panic.txt", append([]byte(p.Error()+"\n\n"), p.stack...)))
	}
	if err != nil && l.err == nil {
		l.err = err
	}
	return errors.Join(err, f.dir.WriteSummary(l.summary()), f.manifest(l))
}

// close closes the files.
func (f *runFiles) close() error {
	err := errors.Join(f.taps.close(), f.saved.close())
	if f.journal != nil {
		err = errors.Join(err, f.journal.Close())
		f.journal = nil
	}
	if f.events != nil {
		err = errors.Join(err, f.events.Close())
		f.events = nil
	}
	return err
}

func (f *runFiles) manifest(l *lab) error {
	m := trace.Manifest{
		Version: f.version, Lab: l.req.GetSpec().GetName(), Seed: l.req.GetSpec().GetSeed(), Clock: clockName(l.req.GetSpec()),
		Loops: f.loops, StartedAt: f.started.UTC().Format(time.RFC3339), Partial: l.partial,
	}
	if l.ended {
		lag, slip := l.clock.lag()
		m.EndNs, m.WallNs, m.LagNs, m.SlipNs = int64(l.endedAt), int64(time.Since(f.started)), int64(lag), int64(slip)
	}
	if l.err != nil {
		m.Error = l.err.Error()
	}
	if run := l.req.GetManifest(); len(run) > 0 {
		if !json.Valid(run) {
			return fmt.Errorf("%w: the manifest is not JSON", errBadRequest)
		}
		m.Run = run
	}
	return f.dir.WriteManifest(m)
}

func clockName(s *labv1.LabSpec) string {
	if s.GetClock() == labv1.Clock_CLOCK_REAL {
		return "real"
	}
	return "virtual"
}

// summary is the outcome of the lab so far.
func (l *lab) summary() *trace.Summary {
	s := &trace.Summary{
		Clock: clockName(l.req.GetSpec()), Seed: l.req.GetSpec().GetSeed(), EndNs: int64(l.endedAt), Partial: l.partial,
	}
	if l.err != nil {
		s.Error = l.err.Error()
	}
	transfers, _, _ := l.report.snapshot()
	for _, t := range transfers {
		s.Transfers = append(s.Transfers, trace.TransferSummary{
			ID: t.Id, Conn: t.Conn, From: t.From, To: t.To, Bytes: t.Bytes, SHA256: t.Sha256, Match: t.Match, StartNs: t.StartNs,
			DurationNs: t.DurationNs, GoodputBps: t.GoodputBps, Retransmits: t.Retransmits, SRTTUs: t.SrttUs, Error: t.Error,
		})
	}
	s.Normalize()
	return s
}
