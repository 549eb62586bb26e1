package orchestrator

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"sync"
	"time"

	labv1 "labd.dev/proto/lab/v1"
)

// maxFileBytes bounds one uploaded file: a node that serves it holds it in memory.
const maxFileBytes = 1 << 30

// incomingPattern names files that are not whole yet.
const incomingPattern = "incoming-*"

// blobs keeps uploaded content in files named by their SHA-256.
type blobs struct {
	dir string

	mu    sync.Mutex           // guards asked
	asked map[string]time.Time // when somebody asked last whether it is here, to use it
}

func openBlobs(dir string) (*blobs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	half, err := filepath.Glob(filepath.Join(dir, incomingPattern)) // of uploads that a crash cut off
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	for _, path := range half {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("files: %w", err)
		}
	}
	return &blobs{dir: dir, asked: make(map[string]time.Time)}, nil
}

func (b *blobs) path(sum string) string { return filepath.Join(b.dir, sum) }

// has tells whether content is here.
func (b *blobs) has(sum string) bool {
	_, err := os.Stat(b.path(sum))
	return err == nil
}

// maxAsked bounds how many questions are remembered; when there are more, all are forgotten but the last.
const maxAsked = 2 * maxFiles

// ask notes that somebody is about to use content.
func (b *blobs) ask(sum string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.asked) >= maxAsked {
		clear(b.asked)
	}
	b.asked[sum] = time.Now()
}

func (b *blobs) askedWithin(sum string, d time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, asked := b.asked[sum]
	if asked && time.Since(at) >= d {
		delete(b.asked, sum)
		return false
	}
	return asked
}

// sweep removes content that is not needed and has lain here for a while.
func (b *blobs) sweep(needed func(sum string) bool, age time.Duration) error {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !validSum(e.Name()) || needed(e.Name()) || b.askedWithin(e.Name(), age) {
			continue
		}
		if info, statErr := e.Info(); statErr == nil && time.Since(info.ModTime()) >= age {
			err = errors.Join(err, os.Remove(b.path(e.Name())))
		}
	}
	return err
}

// open opens content for reading.
func (b *blobs) open(sum string) (*os.File, error) {
	f, err := os.Open(b.path(sum))
	if err != nil {
		return nil, storageError(err)
	}
	return f, nil
}

// validSum tells whether a string can be a SHA-256 in lower-case hex. No other string becomes part of a path.
func validSum(sum string) bool {
	raw, err := hex.DecodeString(sum)
	return err == nil && len(raw) == sha256.Size && hex.EncodeToString(raw) == sum
}

// incoming is content on its way in. It counts for nothing until it is kept.
type incoming struct {
	blobs *blobs
	sum   string
	size  uint64
	file  *os.File
	hash  hash.Hash
	got   uint64
}

// receive opens a place for content of a known sum and size.
func (b *blobs) receive(sum string, size uint64) (*incoming, error) {
	if !validSum(sum) {
		return nil, invalid("sha256", "%q is no SHA-256 in lower-case hex", sum)
	}
	if size > maxFileBytes {
		return nil, overQuota("bytes in one file", maxFileBytes)
	}
	f, err := os.CreateTemp(b.dir, incomingPattern)
	if err != nil {
		return nil, storageError(err)
	}
	return &incoming{blobs: b, sum: sum, size: size, file: f, hash: sha256.New()}, nil
}

func (in *incoming) write(p []byte) error {
	in.got += uint64(len(p))
	if in.got > in.size {
		return refuse(labv1.ErrorReason_ERROR_REASON_FILE_CORRUPT, "more than the %d bytes announced arrived", in.size)
	}
	in.hash.Write(p)
	if _, err := in.file.Write(p); err != nil {
		return storageError(err)
	}
	return nil
}

// keep verifies the content and makes it durable.
func (in *incoming) keep() error {
	if in.got != in.size {
		return refuse(labv1.ErrorReason_ERROR_REASON_FILE_CORRUPT, "%d bytes arrived instead of %d", in.got, in.size)
	}
	if sum := hex.EncodeToString(in.hash.Sum(nil)); sum != in.sum {
		return refuse(labv1.ErrorReason_ERROR_REASON_FILE_CORRUPT, "what arrived has the SHA-256 %s instead of %s", sum, in.sum)
	}
	if err := errors.Join(in.file.Sync(), in.file.Close()); err != nil {
		return storageError(err)
	}
	if err := os.Rename(in.file.Name(), in.blobs.path(in.sum)); err != nil {
		return storageError(err)
	}
	return syncDir(in.blobs.dir)
}

// drop removes what was not kept.
func (in *incoming) drop() {
	in.file.Close()
	os.Remove(in.file.Name())
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return storageError(err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return storageError(err)
	}
	return nil
}

func storageError(err error) error {
	return refuse(labv1.ErrorReason_ERROR_REASON_STORAGE, "the server's storage: %v", err)
}

func notLeading() error {
	return refuse(labv1.ErrorReason_ERROR_REASON_NOT_LEADER, "this server does not lead yet, or no more")
}
