package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"labd.dev/internal/output"
	"labd.dev/trace"
)

// compare holds the two run directories against each other: the trace, the journal and every capture.
func (s *show) compare(cluster, single string) error {
	files := []string{trace.EventsFile, trace.JournalFile}
	captures, err := fs.Glob(os.DirFS(single), trace.CaptureDir+"/*.pcapng")
	if err != nil {
		return err
	}
	other, err := fs.Glob(os.DirFS(cluster), trace.CaptureDir+"/*.pcapng")
	if err != nil {
		return err
	}
	if len(captures) == 0 || !slices.Equal(captures, other) {
		return fmt.Errorf("there are %d captures and %d, not the same: %v, %v", len(captures), len(other), captures, other)
	}
	sizes := map[string]uint64{}
	var total uint64
	var differ error
	for _, name := range append(files, captures...) {
		a, err := os.ReadFile(filepath.Join(cluster, name))
		if err != nil {
			return err
		}
		b, err := os.ReadFile(filepath.Join(single, name))
		if err != nil {
			return err
		}
		if !bytes.Equal(a, b) || len(a) == 0 {
			differ = errors.Join(differ, fmt.Errorf("%s differs: %d bytes on the cluster, %d in one process", name, len(a), len(b)))
		}
		sizes[name] = uint64(len(a))
		total += uint64(len(a))
	}
	if differ != nil {
		return differ
	}
	s.tell("identical, byte for byte: %s (%s), %s (%s), %d captures (%s)", files[0], output.Size(sizes[files[0]]), files[1], output.Size(sizes[files[1]]),
		len(captures), output.Size(total-sizes[files[0]]-sizes[files[1]]))
	return nil
}
