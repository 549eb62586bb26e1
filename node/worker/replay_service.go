package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/trace"
)

// replaysDir holds the run directories of replays under way, under the worker's root.
const replaysDir = "replays"

const (
	// maxReplays bounds the replays under way: each takes a core and holds a run twice on the disk.
	maxReplays = 4
	// maxReplayBytes bounds a run directory that is sent in: more than a run of 100 million records with its captures.
	maxReplayBytes = 64 << 30
	// maxReplayFiles bounds its files: a capture for each interface of the largest lab, and contents.
	maxReplayFiles = 200_000
)

type replayStream = grpc.BidiStreamingServer[workerv1.ReplayRunRequest, workerv1.ReplayRunResponse]

// ReplayRun implements the service.
func (w *Worker) ReplayRun(s replayStream) error {
	select {
	case w.replays <- struct{}{}:
		defer func() { <-w.replays }()
	default:
		return grpcError(fmt.Errorf("%w: %d replays are under way; try again when one has ended", errFull, maxReplays))
	}
	root := filepath.Join(w.root, replaysDir)
	if err := os.MkdirAll(root, 0o755); err != nil {
		return grpcError(err)
	}
	dir, err := os.MkdirTemp(root, "")
	if err != nil {
		return grpcError(err)
	}
	err = replayIn(s, w.share, filepath.Join(dir, "run"), filepath.Join(dir, "again"))
	return grpcError(errors.Join(err, os.RemoveAll(dir)))
}

// replayError says what is wrong with a run directory that was sent.
type replayError struct{ text string }

func (e *replayError) Error() string { return e.text }
func (e *replayError) Unwrap() error { return errBadRequest }

func replayIn(s replayStream, beside *share, in, out string) error {
	first, err := receiveRun(s, in)
	if err != nil {
		return err
	}
	d, err := replay(s.Context(), beside, in, int(min(first.GetLoops(), maxLoops)), out)
	if err != nil {
		if s.Context().Err() == nil {
			// Whoever sent the files knows nothing of where they lie here.
			err = &replayError{strings.ReplaceAll(err.Error(), in+string(filepath.Separator), "")}
		}
		return err
	}
	outcome, err := replayOutcome(d, in, out)
	if err != nil {
		return err
	}
	if err := s.Send(&workerv1.ReplayRunResponse{Outcome: outcome}); err != nil || !first.GetSendFiles() {
		return err
	}
	return sendRun(s, out)
}

// receiveRun writes the files that are sent into a new directory, and returns the first message.
func receiveRun(s replayStream, dir string) (first *workerv1.ReplayRunRequest, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	r := receivedRun{root: root}
	defer func() { err = errors.Join(err, r.closeFile()) }()
	for {
		m, err := s.Recv()
		if errors.Is(err, io.EOF) && first != nil {
			return first, nil
		}
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = m
		}
		if err := r.add(m); err != nil {
			return nil, err
		}
	}
}

// receivedRun is a run directory that is being received, file after file.
type receivedRun struct {
	root  *os.Root
	path  string
	file  *os.File
	files int
	bytes int64
}

func (r *receivedRun) add(m *workerv1.ReplayRunRequest) error {
	if r.bytes += int64(len(m.GetData())); r.bytes > maxReplayBytes {
		return fmt.Errorf("%w: a run directory of more than %d bytes", errFull, int64(maxReplayBytes))
	}
	if m.GetPath() == "" {
		return nil
	}
	if m.GetPath() != r.path || r.file == nil {
		if err := r.next(m.GetPath()); err != nil {
			return err
		}
	}
	_, err := r.file.Write(m.GetData())
	return err
}

func (r *receivedRun) next(path string) error {
	if err := r.closeFile(); err != nil {
		return err
	}
	local := filepath.FromSlash(path)
	if !filepath.IsLocal(local) {
		return fmt.Errorf("%w: %q is no path in a run directory", errBadRequest, path)
	}
	if r.files++; r.files > maxReplayFiles {
		return fmt.Errorf("%w: a run directory of more than %d files", errFull, maxReplayFiles)
	}
	if err := r.root.MkdirAll(filepath.Dir(local), 0o755); err != nil {
		return err
	}
	f, err := r.root.OpenFile(local, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("%w: %w", errBadRequest, err)
	}
	r.path, r.file = path, f
	return nil
}

func (r *receivedRun) closeFile() error {
	if r.file == nil {
		return nil
	}
	f := r.file
	r.file = nil
	return f.Close()
}

func replayOutcome(d *Difference, in, out string) (*labv1.ReplayOutcome, error) {
	o := &labv1.ReplayOutcome{Identical: d == nil}
	if d != nil {
		o.File, o.Difference = d.File, d.Text
	}
	again, err := trace.Open(out)
	if err != nil {
		return nil, err
	}
	o.EndNs = again.Manifest.EndNs
	f, err := os.Open(filepath.Join(in, trace.EventsFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rd, err := trace.NewReader(f)
	if err != nil {
		return nil, err
	}
	for _, err := range rd.All() {
		if err != nil {
			return nil, err
		}
		o.Records++
	}
	return o, nil
}

// sendRun sends a run directory, but for the contents that it was made from.
func sendRun(s replayStream, dir string) error {
	return fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path == blobsDir {
				return fs.SkipDir
			}
			return nil
		}
		return sendFile(s.Context(), filepath.Join(dir, filepath.FromSlash(path)), func(b []byte) error {
			return s.Send(&workerv1.ReplayRunResponse{File: &labv1.ReplayFile{Path: path, Data: b}})
		})
	})
}

// sendFile sends a file block by block; an empty one is one empty block.
func sendFile(ctx context.Context, name string, send func([]byte) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, streamBlock)
	for first := true; ctx.Err() == nil; first = false {
		n, err := f.Read(buf)
		if n > 0 || first {
			if err := send(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}
