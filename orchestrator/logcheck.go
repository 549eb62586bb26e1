package orchestrator

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// errLogDamaged is why a log is not opened whose committed entries have changed on disk.
var errLogDamaged = errors.New("is damaged")

// checkLog reads through the log's segments before they are opened. raft-wal looks at the check sum of the last commit
// only, takes the log to end where it cannot read on, and writes over what follows; an entry in the middle that has changed
// it hands out as it is. A write that a crash has torn is always the last: where something lies behind a batch that does
// not hold, it was whole once, and labd must not go on without it. Damage within the very last batch cannot be told from a
// torn one.
func checkLog(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, metadb.FileName)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var meta metadb.BoltMetaDB
	state, err := meta.Load(dir)
	if err := errors.Join(err, meta.Close()); err != nil {
		return err
	}
	for _, info := range state.Segments {
		name := filepath.Join(dir, segment.FileName(info))
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // raft-wal tells what that means
		}
		if err != nil {
			return err
		}
		if at, damaged := walSegment(b).damage(info); damaged {
			return fmt.Errorf("%s %w from byte %d on, with entries that were committed behind it", name, errLogDamaged, at)
		}
	}
	return nil
}

// walSegment is a segment file of raft-wal: a header, then batches of frames, each ended by a frame with the CRC of all
// since the batch before (of the first: since the file began). A frame is 8 bytes, a type and a length or CRC, then its
// payload up to a multiple of 8; where the file is not used yet it is zero.
type walSegment []byte

const (
	walFileHeader = 32
	walFrame      = 8 // a frame's header, and what frames are aligned to
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// damage finds where batches that were committed no longer hold.
func (s walSegment) damage(info types.SegmentInfo) (at int, damaged bool) {
	end := s.batch(0, walFileHeader)
	for next := end; next > 0; next = s.batch(end, end) {
		end = next
	}
	if !info.SealTime.IsZero() { // its last batch holds the index
		return end, end <= int(info.IndexStart)
	}
	for from := max(end, walFileHeader); from < len(s); from += walFrame {
		if from > end && s.batch(from, from) > 0 {
			return end, true
		}
	}
	return 0, false
}

// batch returns where the batch ends whose CRC counts from sum and whose frames begin at from; 0 if none does.
func (s walSegment) batch(sum, from int) (end int) {
	for at := from; at+walFrame <= len(s); {
		kind, n := s[at], binary.LittleEndian.Uint32(s[at+4:])
		if s[at+1] != 0 || s[at+2] != 0 || s[at+3] != 0 {
			return 0
		}
		switch kind {
		case segment.FrameEntry, segment.FrameIndex:
			if n > segment.MaxEntrySize {
				return 0
			}
			at += walFrame + (int(n)+walFrame-1)/walFrame*walFrame
		case segment.FrameCommit:
			if at == from || crc32.Checksum(s[sum:at], castagnoli) != n {
				return 0
			}
			return at + walFrame
		default:
			return 0
		}
	}
	return 0
}
