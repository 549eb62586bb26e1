package orchestrator

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/segment"
)

// copyOf is a disk as it is now.
func (d *memDisk) copyOf() *memDisk {
	c := &memDisk{snaps: d.snaps, past: d.past, files: make(map[string]*memFile), segments: d.segments, stable: maps.Clone(d.stable),
		syncing: make(chan struct{})}
	for name, f := range d.files {
		c.files[name] = &memFile{now: slices.Clone(f.now), synced: slices.Clone(f.now)}
	}
	return c
}

// goesOn opens the log, which must end at an entry, and writes on.
func (d *memDisk) goesOn(t *testing.T, want uint64) {
	t.Helper()
	st, err := d.open()
	if err != nil {
		t.Fatal(err)
	}
	defer st.closer.Close()
	last, err := st.logs.LastIndex()
	if err != nil || last != want {
		t.Fatalf("the log ends at %d, want %d: %v", last, want, err)
	}
	for i := uint64(1); i <= want+20; i++ {
		if i > want {
			if err := st.logs.StoreLog(entry(i)); err != nil {
				t.Fatalf("entry %d behind %d: %v", i, want, err)
			}
		}
		var got raft.Log
		if err := st.logs.GetLog(i, &got); err != nil || !bytes.Equal(got.Data, entry(i).Data) {
			t.Fatalf("entry %d: %v, %v", i, got, err)
		}
	}
}

func entry(i uint64) *raft.Log {
	return &raft.Log{Index: i, Term: 1, Data: bytes.Repeat([]byte{byte(i)}, 400)}
}

// A server that dies in the middle of the write that fills a segment of its log, or right behind it, writes on when it is
// started again, and nothing is lost that was acknowledged.
func TestDeathAtTheEndOfASegment(t *testing.T) {
	d := (&bubble{}).newDisk()
	st, err := d.open()
	if err != nil {
		t.Fatal(err)
	}
	var before *memDisk
	n := uint64(0)
	for len(d.segments.Segments) < 2 {
		if n++; n > 100 {
			t.Fatal("no segment was filled")
		}
		before = d.copyOf()
		if err := st.logs.StoreLog(entry(n)); err != nil {
			t.Fatal(err)
		}
		if err := st.logs.DeleteRange(1000, 1000); err != nil { // waits for the next segment
			t.Fatal(err)
		}
	}
	name := segment.FileName(before.segments.Segments[0])
	written := d.files[name].now
	if err := st.closer.Close(); err != nil {
		t.Fatal(err)
	}
	first := 0
	for first < len(written) && written[first] == before.files[name].now[first] {
		first++
	}
	end := len(bytes.TrimRight(written, "\x00"))
	for cut := first; cut <= end; cut += 3 {
		torn := before.copyOf()
		copy(torn.files[name].now, written[:cut])
		torn.files[name].now = slices.Grow(torn.files[name].now, 0)
		torn.files[name].synced = slices.Clone(torn.files[name].now)
		torn.goesOn(t, n-1)
	}
	whole := before.copyOf()
	whole.files[name].now, whole.files[name].synced = slices.Clone(written), slices.Clone(written)
	whole.goesOn(t, n)
}

// Between the patches that take the index out, the log holds what it holds.
func TestMendingIsInterrupted(t *testing.T) {
	d := (&bubble{}).newDisk()
	st, err := d.open()
	if err != nil {
		t.Fatal(err)
	}
	before := d.copyOf()
	n := uint64(0)
	for len(d.segments.Segments) < 2 {
		n++
		before = d.copyOf()
		if err := st.logs.StoreLog(entry(n)); err != nil {
			t.Fatal(err)
		}
		if err := st.logs.DeleteRange(1000, 1000); err != nil {
			t.Fatal(err)
		}
	}
	name := segment.FileName(before.segments.Segments[0])
	patches := walSegment(d.files[name].now).mend()
	if len(patches) != 2 {
		t.Fatalf("patches %v", patches)
	}
	half := before.copyOf()
	half.files[name].now = put(slices.Clone(d.files[name].now), int64(patches[0].at), patches[0].data)
	half.files[name].synced = slices.Clone(half.files[name].now)
	if at, damaged := walSegment(half.files[name].now).damage(before.segments.Segments[0]); damaged {
		t.Errorf("damaged from %d on", at)
	}
	half.goesOn(t, n)
	if err := st.closer.Close(); err != nil {
		t.Fatal(err)
	}
}
