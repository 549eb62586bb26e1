package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	labv1 "labd.dev/proto/lab/v1"
)

// replayNeeds tells which files of a run directory a replay starts from and is compared with; what was saved, or reported
// of the run, is made from them.
func replayNeeds(path string) bool {
	switch dir := filepath.ToSlash(filepath.Dir(path)); dir {
	case ".":
		switch path {
		case "manifest.json", "spec.pb", "journal.jsonl", "lab.yaml", "events.bin":
			return true
		}
		return false
	case "pcap", "blobs":
		return true
	}
	return false
}

// ReplayRun has labd run the lab of a run directory again, on so many loops (0: as many as it had), and compare what
// comes of it. The second run's directory is written to out, unless out is empty. It leaves nothing behind at labd, so
// that after a restart it begins anew.
func (c *Client) ReplayRun(ctx context.Context, dir string, loops uint32, out string) (outcome *labv1.ReplayOutcome, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends a stream that is left half-way
	err = c.resume(ctx, func(got func()) error {
		outcome, err = c.replayOnce(ctx, dir, loops, out, got)
		return err
	})
	return outcome, err
}

func (c *Client) replayOnce(ctx context.Context, dir string, loops uint32, out string, got func()) (*labv1.ReplayOutcome, error) {
	stream, err := c.Replays.ReplayRun(ctx)
	if err != nil {
		return nil, err
	}
	send := func(m *labv1.ReplayRunRequest) error { return stream.Send(m) }
	err = send(&labv1.ReplayRunRequest{Loops: loops, SendFiles: out != ""})
	if err == nil {
		err = sendDir(dir, send)
	}
	// io.EOF: labd has answered already, and the answer tells why.
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	m, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	got()
	if m.GetOutcome() == nil {
		return nil, &Error{Code: CodeFailed, Message: "labd sent no outcome of the replay"}
	}
	return m.GetOutcome(), receiveDir(out, func() (*labv1.ReplayFile, error) {
		m, err := stream.Recv()
		return m.GetFile(), err
	})
}

func sendDir(dir string, send func(*labv1.ReplayRunRequest) error) error {
	return fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !replayNeeds(path) {
			return err
		}
		f, err := os.Open(filepath.Join(dir, filepath.FromSlash(path)))
		if err != nil {
			return err
		}
		defer f.Close()
		buf := make([]byte, uploadBytes)
		for first := true; ; first = false {
			n, err := f.Read(buf)
			if n > 0 || first {
				if err := send(&labv1.ReplayRunRequest{Path: path, Data: buf[:n]}); err != nil {
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
	})
}

// receiveDir writes files, each in one or more blocks, until next says io.EOF.
func receiveDir(dir string, next func() (*labv1.ReplayFile, error)) (err error) {
	var file *os.File
	finish := func() error {
		if file == nil {
			return nil
		}
		f := file
		file = nil
		return f.Close()
	}
	defer func() { err = errors.Join(err, finish()) }()
	for path := ""; ; {
		m, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if m.GetPath() != path || file == nil {
			if err := finish(); err != nil {
				return err
			}
			path = m.GetPath()
			local := filepath.FromSlash(path)
			if !filepath.IsLocal(local) {
				return fmt.Errorf("labd sent a file %q outside the directory", path)
			}
			to := filepath.Join(dir, local)
			if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
				return err
			}
			if file, err = os.Create(to); err != nil {
				return err
			}
		}
		if _, err := file.Write(m.GetData()); err != nil {
			return err
		}
	}
}
