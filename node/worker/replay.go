package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"

	"labd.dev/journal"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
	"labd.dev/trace"
)

// Replay runs a finished lab again from its run directory alone, in virtual time on so many loops (0: as many as it had),
// writes a second run directory, and compares the two. The difference is nil if they are identical.
func Replay(ctx context.Context, dir string, loops int, out string) (*Difference, error) {
	return replay(ctx, nil, dir, loops, out)
}

// replay replays beside the labs of a share; nil: there are none.
func replay(ctx context.Context, beside *share, dir string, loops int, out string) (*Difference, error) {
	req, err := readStart(dir)
	if err != nil {
		return nil, err
	}
	var m trace.Manifest
	if err := readJSON(filepath.Join(dir, trace.ManifestFile), &m); err != nil {
		return nil, err
	}
	req.Spec.Clock = labv1.Clock_CLOCK_VIRTUAL
	if loops > 0 {
		req.Spec.Placement = &labv1.Placement{Loops: uint32(loops)}
	}
	req.LabId = "replay"
	l, err := newLab(&Worker{blobs: &blobs{dir: filepath.Join(dir, blobsDir)}, log: slog.New(slog.DiscardHandler), share: beside}, req, out)
	if err != nil {
		return nil, fmt.Errorf("replay: %w", err)
	}
	// A run that was cut short, or a standing lab, ended where it happened to be.
	if m.Error == "" && (l.standing() || m.Partial && !interrupted(l.journal, m.EndNs)) {
		l.stopAt, l.replayTo, l.rebuilding = sim.Time(m.EndNs), sim.Time(m.EndNs), true
	}
	go l.run()
	select {
	case <-l.overC:
	case <-ctx.Done():
	}
	l.stop()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if l.err != nil && l.err.Error() != m.Error {
		return nil, fmt.Errorf("replay: %w", l.err)
	}
	return CompareRuns(dir, out)
}

func interrupted(entries []*labv1.JournalEntry, at int64) bool {
	return slices.ContainsFunc(entries, func(e *labv1.JournalEntry) bool { return e.GetTNs() == at && e.GetInput().GetInterrupt() != nil })
}

// readStart reads what a lab was started with, and its journal.
func readStart(dir string) (*workerv1.StartLabRequest, error) {
	b, err := os.ReadFile(filepath.Join(dir, specFile))
	if err != nil {
		return nil, fmt.Errorf("%s is not a run directory: %w", dir, err)
	}
	req := new(workerv1.StartLabRequest)
	if err := proto.Unmarshal(b, req); err != nil || req.Spec == nil {
		return nil, fmt.Errorf("%s: damaged: %w", filepath.Join(dir, specFile), err)
	}
	req.Journal, err = journal.ReadFile(filepath.Join(dir, trace.JournalFile))
	if _, torn := errors.AsType[*journal.TornError](err); err != nil && !torn {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, trace.JournalFile), err)
	}
	if req.LabYaml, err = os.ReadFile(filepath.Join(dir, trace.LabFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return req, nil
}

func readJSON(name string, v any) error {
	b, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Difference is where two runs first part.
type Difference struct {
	File string // of the run directory
	Text string
}

func (d *Difference) String() string { return d.File + ": " + d.Text }

// CompareRuns compares the bytes of two runs: journal, trace and captures. nil: they are identical.
func CompareRuns(a, b string) (*Difference, error) {
	ja, err := journal.ReadFile(filepath.Join(a, trace.JournalFile))
	if err != nil {
		return nil, err
	}
	jb, err := journal.ReadFile(filepath.Join(b, trace.JournalFile))
	if err != nil {
		return nil, err
	}
	if d := journal.Compare(ja, jb); d != nil {
		return &Difference{trace.JournalFile, d.Text}, nil
	}
	if d, err := compareEvents(a, b); d != nil || err != nil {
		return d, err
	}
	return compareCaptures(a, b)
}

func compareEvents(a, b string) (*Difference, error) {
	fa, err := os.Open(filepath.Join(a, trace.EventsFile))
	if err != nil {
		return nil, err
	}
	defer fa.Close()
	fb, err := os.Open(filepath.Join(b, trace.EventsFile))
	if err != nil {
		return nil, err
	}
	defer fb.Close()
	d, err := trace.Compare(fa, fb)
	if d == nil || err != nil {
		return nil, err
	}
	return &Difference{trace.EventsFile, d.Text}, nil
}

func compareCaptures(a, b string) (*Difference, error) {
	files := func(dir string) ([]string, error) {
		list, err := os.ReadDir(filepath.Join(dir, trace.CaptureDir))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		names := make([]string, len(list))
		for i, e := range list {
			names[i] = trace.CaptureDir + "/" + e.Name()
		}
		return names, err
	}
	inA, errA := files(a)
	inB, errB := files(b)
	if err := errors.Join(errA, errB); err != nil {
		return nil, err
	}
	if !slices.Equal(inA, inB) {
		return &Difference{trace.CaptureDir, fmt.Sprintf("the first run has the captures %v, the second %v", inA, inB)}, nil
	}
	for _, name := range inA {
		at, err := firstByte(filepath.Join(a, name), filepath.Join(b, name))
		if err != nil {
			return nil, err
		}
		if at >= 0 {
			return &Difference{name, fmt.Sprintf("byte %d differs", at)}, nil
		}
	}
	return nil, nil
}

// firstByte is the offset of the first byte in which two files differ; -1 if they are the same.
func firstByte(a, b string) (int64, error) {
	fa, err := os.Open(a)
	if err != nil {
		return 0, err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return 0, err
	}
	defer fb.Close()
	x, y := make([]byte, streamBlock), make([]byte, streamBlock)
	for off := int64(0); ; {
		n, errA := io.ReadFull(fa, x)
		m, errB := io.ReadFull(fb, y)
		if !bytes.Equal(x[:n], y[:m]) {
			for i := range min(n, m) {
				if x[i] != y[i] {
					return off + int64(i), nil
				}
			}
			return off + int64(min(n, m)), nil
		}
		if errA != nil || errB != nil {
			if ended(errA) && ended(errB) {
				return -1, nil
			}
			return 0, errors.Join(errA, errB)
		}
		off += int64(n)
	}
}

func ended(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
