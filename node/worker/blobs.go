package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// maxBlob bounds one content: labs hold what they use in memory.
const maxBlob = 1 << 30

var sha256Name = regexp.MustCompile(`^[0-9a-f]{64}$`)

// blobsDir holds contents, under the worker's root and in each run directory.
const blobsDir = "blobs"

const (
	// maxBlobs bounds the contents that a worker keeps, as the servers keep so much: beyond it those go that nobody has
	// asked for the longest. Labs have read what they use, and their run directories have links of their own.
	maxBlobs = 16 << 30
	// blobGrace is for how long a content stays that was asked for: a lab that uses it is about to be started.
	blobGrace = 10 * time.Minute
)

// blobs holds contents on disk, each under its SHA-256. A file's time is when it was asked for last.
type blobs struct {
	dir    string
	limit  int64  // bytes in all
	shared string // another directory of contents under their sums, on the same machine; may be empty
}

func newBlobs(dir, shared string) (*blobs, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	// What a killed process left half written.
	left, err := filepath.Glob(filepath.Join(dir, "incoming-*"))
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	for _, name := range left {
		if err := os.Remove(name); err != nil {
			return nil, fmt.Errorf("blobs: %w", err)
		}
	}
	return &blobs{dir: dir, limit: maxBlobs, shared: shared}, nil
}

func (b *blobs) path(sum string) string { return filepath.Join(b.dir, sum) }

// has reports whether the content is there.
func (b *blobs) has(sum string) bool {
	if !sha256Name.MatchString(sum) {
		return false
	}
	_, err := os.Stat(b.path(sum))
	if errors.Is(err, fs.ErrNotExist) && b.shared != "" {
		err = os.Link(filepath.Join(b.shared, sum), b.path(sum)) // where the file system can: one copy on the disk
	}
	if err == nil {
		now := time.Now()
		err = os.Chtimes(b.path(sum), now, now)
	}
	return err == nil
}

// prune removes what was asked for the longest ago, until the rest is within the limit.
func (b *blobs) prune() error {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return fmt.Errorf("blobs: %w", err)
	}
	var all []fs.FileInfo
	var total int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil && sha256Name.MatchString(e.Name()) {
			all = append(all, info)
			total += info.Size()
		}
	}
	slices.SortFunc(all, func(x, y fs.FileInfo) int { return x.ModTime().Compare(y.ModTime()) })
	for _, info := range all {
		if total <= b.limit || time.Since(info.ModTime()) < blobGrace {
			break
		}
		if err := os.Remove(b.path(info.Name())); err != nil {
			return fmt.Errorf("blobs: %w", err)
		}
		total -= info.Size()
	}
	return nil
}

// read returns a content whole, verified.
func (b *blobs) read(sum string) ([]byte, error) {
	if !sha256Name.MatchString(sum) {
		return nil, fmt.Errorf("%w: %q is not a SHA-256 in hex", errBadRequest, sum)
	}
	data, err := os.ReadFile(b.path(sum))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: content %s has not been uploaded", errMissingBlob, sum)
	}
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	if got := sha256.Sum256(data); hex.EncodeToString(got[:]) != sum {
		return nil, fmt.Errorf("blobs: %s is damaged on disk", b.path(sum))
	}
	return data, nil
}

// link puts a content into another directory as well, without a copy where the file system can.
func (b *blobs) link(sum, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	to := filepath.Join(dir, sum)
	if err := os.Link(b.path(sum), to); err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	data, err := os.ReadFile(b.path(sum))
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// incoming is a content that is being written.
type incoming struct {
	b    *blobs
	f    *os.File
	sum  string
	hash hash.Hash
	n    int64
}

func (b *blobs) create(sum string) (*incoming, error) {
	if !sha256Name.MatchString(sum) {
		return nil, fmt.Errorf("%w: %q is not a SHA-256 in hex", errBadRequest, sum)
	}
	f, err := os.CreateTemp(b.dir, "incoming-*")
	if err != nil {
		return nil, fmt.Errorf("blobs: %w", err)
	}
	return &incoming{b: b, f: f, sum: sum, hash: sha256.New()}, nil
}

func (in *incoming) write(p []byte) error {
	if in.n += int64(len(p)); in.n > maxBlob {
		return fmt.Errorf("%w: content larger than %d bytes", errBadRequest, maxBlob)
	}
	in.hash.Write(p)
	_, err := in.f.Write(p)
	return err
}

// commit puts the content in its place if it is what it was said to be.
func (in *incoming) commit() error {
	if got := hex.EncodeToString(in.hash.Sum(nil)); got != in.sum {
		return errors.Join(fmt.Errorf("%w: content has SHA-256 %s, not %s", errBadRequest, got, in.sum), in.abandon())
	}
	err := in.f.Sync()
	if err = errors.Join(err, in.f.Close()); err == nil {
		err = os.Rename(in.f.Name(), in.b.path(in.sum))
	}
	if err != nil {
		return errors.Join(err, os.Remove(in.f.Name()))
	}
	return in.b.prune()
}

func (in *incoming) abandon() error { return errors.Join(in.f.Close(), os.Remove(in.f.Name())) }
