package worker

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// savedDir holds, in a run directory, a file for each transfer that is saved.
const savedDir = "received"

// saved writes what transfers with `save` receive.
type saved struct {
	dir   string
	mu    sync.Mutex // guards all below: receivers may be in different loops
	files map[string]*savedFile
	err   error
}

type savedFile struct {
	f *os.File
	w *bufio.Writer
}

func newSaved(dir string) *saved { return &saved{dir: dir, files: map[string]*savedFile{}} }

// sink is where the bytes of a transfer go. An error is kept, and told by flush.
func (s *saved) sink(id string) func([]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.files[id]; old != nil {
		// A transfer that begins again (its receiver has rebooted) overwrites what came before.
		s.keep(old.f.Close())
	}
	err := os.MkdirAll(s.dir, 0o755)
	var f *os.File
	if err == nil {
		f, err = os.Create(filepath.Join(s.dir, id))
	}
	if err != nil {
		s.keep(err)
		return nil
	}
	file := &savedFile{f: f, w: bufio.NewWriterSize(f, 64<<10)}
	s.files[id] = file
	return func(b []byte) {
		s.mu.Lock()
		defer s.mu.Unlock()
		_, err := file.w.Write(b)
		s.keep(err)
	}
}

func (s *saved) keep(err error) {
	if s.err == nil && err != nil {
		s.err = fmt.Errorf("saved transfer: %w", err)
	}
}

// failed is the first error of any file.
func (s *saved) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// flush writes out what is buffered.
func (s *saved) flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		s.keep(f.w.Flush())
	}
	return s.err
}

// writing tells whether there is a file that may grow.
func (s *saved) writing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.files) > 0
}

func (s *saved) close() error {
	err := s.flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		err = errors.Join(err, f.f.Close())
	}
	clear(s.files)
	return err
}
