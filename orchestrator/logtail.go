package orchestrator

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
)

// A segment is sealed by the batch that fills it: an index frame stands before its commit, and a new segment is begun in the
// background. raft-wal 0.4.2 that finds an index at the end of a segment which was not followed by another, because the
// process died in between or in the middle of that write, takes the segment for sealed, begins no other, and refuses every
// write from then on. So the index is taken out again before the log is opened; the next batch seals the segment anew.

// mendLog takes out of the last segment what keeps raft-wal from writing on.
func mendLog(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, metadb.FileName)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var meta metadb.BoltMetaDB
	state, err := meta.Load(dir)
	if err := errors.Join(err, meta.Close()); err != nil || len(state.Segments) == 0 {
		return err
	}
	tail := state.Segments[len(state.Segments)-1]
	if !tail.SealTime.IsZero() {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(dir, segment.FileName(tail)), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // raft-wal makes it
	}
	if err != nil {
		return err
	}
	return errors.Join(mendTail(f), f.Close())
}

func mendTail(f *os.File) error {
	b, err := os.ReadFile(f.Name())
	if err != nil {
		return err
	}
	for _, p := range walSegment(b).mend() {
		if _, err := f.WriteAt(p.data, int64(p.at)); err != nil {
			return err
		}
		if err := f.Sync(); err != nil { // one patch is on the disk before the next
			return err
		}
	}
	return nil
}

// patch is bytes that are written over a file's.
type patch struct {
	at   int
	data []byte
}

// mend says what to write, in this order, so that the segment ends with a batch without an index. At any point between the
// patches the log holds the same entries: the commit frame that comes first is 8 bytes in one sector.
func (s walSegment) mend() []patch {
	sum, from, end := 0, walFileHeader, s.batch(0, walFileHeader)
	for next := end; next > 0; next = s.batch(end, end) {
		if next != end {
			sum, from, end = end, end, next
		}
	}
	var patches []patch
	if end == 0 {
		end = walFileHeader
	} else if index := s.indexIn(from, end); index > 0 {
		commit := make([]byte, walFrame)
		commit[0] = segment.FrameCommit
		binary.LittleEndian.PutUint32(commit[4:], crc32.Checksum(s[sum:index], castagnoli))
		patches, end = append(patches, patch{index, commit}), index+walFrame
	}
	for i := end; i < len(s); i++ {
		if s[i] != 0 {
			return append(patches, patch{end, make([]byte, len(s)-end)})
		}
	}
	return patches
}

// indexIn is where the index frame of a batch begins; 0 if it has none.
func (s walSegment) indexIn(from, end int) int {
	for at := from; at+walFrame <= end; {
		n := int(binary.LittleEndian.Uint32(s[at+4:]))
		switch s[at] {
		case segment.FrameIndex:
			return at
		case segment.FrameEntry:
			at += walFrame + (n+walFrame-1)/walFrame*walFrame
		default:
			return 0
		}
	}
	return 0
}
