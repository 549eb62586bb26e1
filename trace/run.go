package trace

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// Names of a run directory's files.
const (
	ManifestFile = "manifest.json"
	LabFile      = "lab.yaml"
	JournalFile  = "journal.jsonl"
	EventsFile   = "events.bin"
	SummaryFile  = "summary.json"
	CaptureDir   = "pcap" // with a file <node>-<interface>.pcapng each
)

// runFormat is the version of the run directory's layout.
const runFormat = 1

// Manifest says what a run is of and how it went. It alone holds what is not a function of (lab file, seed, journal):
// wall times, versions, how far a real clock lagged.
type Manifest struct {
	Format  int    `json:"format"`
	Version string `json:"labd_version"`
	Lab     string `json:"lab"`
	Seed    uint64 `json:"seed"`
	Clock   string `json:"clock"` // real | virtual
	Loops   int    `json:"loops"`
	EndNs   int64  `json:"end_ns"` // lab time at which it ended; 0: it has not
	Partial bool   `json:"partial"`
	Error   string `json:"error,omitempty"`

	StartedAt string `json:"started_at,omitempty"` // wall time, RFC 3339
	WallNs    int64  `json:"wall_ns,omitempty"`
	LagNs     int64  `json:"lag_ns,omitempty"`
	SlipNs    int64  `json:"slip_ns,omitempty"`

	// Run is what the one who started the run says of it: an experiment's name and checks.
	Run json.RawMessage `json:"run,omitempty"`
}

// Dir is a run directory that is being written.
type Dir struct {
	path string
}

// Create makes a run directory. One that exists must be empty: a run is never written over another.
func Create(path string) (*Dir, error) {
	if err := os.MkdirAll(filepath.Join(path, CaptureDir), 0o755); err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	if _, err := os.Stat(filepath.Join(path, ManifestFile)); err == nil {
		return nil, fmt.Errorf("run directory %s already holds a run", path)
	}
	return &Dir{path: path}, nil
}

// maxNumbered bounds the search for a free number.
const maxNumbered = 1_000_000

// NextPath makes and returns the first directory root/name-N, N from 1, that does not exist.
func NextPath(root, name string) (string, error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("run directory: %w", err)
	}
	for n := 1; n <= maxNumbered; n++ {
		path := filepath.Join(root, name+"-"+strconv.Itoa(n))
		err := os.Mkdir(path, 0o755)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("run directory: %w", err)
		}
	}
	return "", fmt.Errorf("run directory: %s holds %d runs of %s; remove some", root, maxNumbered, name)
}

// Path is the directory's path.
func (d *Dir) Path() string { return d.path }

// File creates a file of the run by its relative name.
func (d *Dir) File(name string) (*os.File, error) {
	return os.Create(filepath.Join(d.path, filepath.FromSlash(name)))
}

// WriteFile writes a file whole, so that a reader sees the old one or the new one.
func (d *Dir) WriteFile(name string, data []byte) error {
	path := filepath.Join(d.path, filepath.FromSlash(name))
	tmp := path + ".tmp"
	err := os.WriteFile(tmp, data, 0o644)
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return fmt.Errorf("run directory: %w", err)
	}
	return nil
}

// WriteManifest writes or replaces manifest.json.
func (d *Dir) WriteManifest(m Manifest) error {
	m.Format = runFormat
	return d.writeJSON(ManifestFile, m)
}

// WriteSummary writes or replaces summary.json.
func (d *Dir) WriteSummary(s *Summary) error { return d.writeJSON(SummaryFile, s) }

func (d *Dir) writeJSON(name string, v any) error {
	b, err := EncodeJSON(v)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return d.WriteFile(name, b)
}

// EncodeJSON is how summaries and manifests are written.
func EncodeJSON(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	return append(b, '\n'), err
}

// CaptureName is the file of an interface's capture, relative to the run directory.
func CaptureName(node, ifc string) string { return CaptureDir + "/" + node + "-" + ifc + ".pcapng" }
