package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	labv1 "labd.dev/proto/lab/v1"
)

// TornError says that a journal's last line was not written to its end: the machine died. What lies before Offset is
// whole.
type TornError struct{ Offset int64 }

func (e *TornError) Error() string {
	return fmt.Sprintf("journal: the last entry is torn, at byte %d", e.Offset)
}

// Read reads a journal. Entries are numbered from 1 without gaps. If only the last line is bad, the entries before it
// come with a *TornError; anything else that is bad is an error with its line.
func Read(r io.Reader) ([]*labv1.JournalEntry, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var entries []*labv1.JournalEntry
	var offset int64
	for {
		line, err := readLine(in)
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return entries, nil
		case errors.Is(err, io.EOF):
			return entries, &TornError{Offset: offset}
		case err != nil:
			return entries, fmt.Errorf("journal: line %d: %w", len(entries)+1, err)
		}
		e, err := Decode(line[:len(line)-1])
		if err != nil {
			if _, peek := in.Peek(1); errors.Is(peek, io.EOF) {
				return entries, &TornError{Offset: offset}
			}
			return entries, fmt.Errorf("line %d: %w", len(entries)+1, err)
		}
		if want := uint64(len(entries)) + 1; e.Index != want {
			return entries, fmt.Errorf("journal: line %d: entry %d where %d should be", len(entries)+1, e.Index, want)
		}
		entries = append(entries, e)
		offset += int64(len(line))
	}
}

// readLine returns a line with its newline; at the end of the input, what there is and io.EOF.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > MaxLine+1 {
			return nil, fmt.Errorf("longer than %d bytes", MaxLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// ReadFile reads the journal of that name.
func ReadFile(name string) ([]*labv1.JournalEntry, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Read(f)
}

// Options of a Writer.
type Options struct {
	Sync bool // each Append is on the disk when it returns
}

// Writer appends to a journal file.
type Writer struct {
	f    *os.File
	next uint64
	sync bool
}

// Open opens a journal to append to, or makes an empty one. A torn last line is cut off. It returns what is there.
func Open(name string, o Options) (*Writer, []*labv1.JournalEntry, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, nil, err
	}
	entries, err := Read(f)
	if torn, ok := errors.AsType[*TornError](err); ok {
		err = f.Truncate(torn.Offset)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekEnd)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return &Writer{f: f, next: uint64(len(entries)) + 1, sync: o.Sync}, entries, nil
}

// Append writes the next entry; its index must be the next one.
func (w *Writer) Append(e *labv1.JournalEntry) error {
	if e.Index != w.next {
		return fmt.Errorf("journal: entry %d appended where %d should be", e.Index, w.next)
	}
	line := Encode(e)
	if len(line) > MaxLine {
		return fmt.Errorf("journal: entry of %d bytes, more than %d", len(line), MaxLine)
	}
	if _, err := w.f.Write(append(line, '\n')); err != nil {
		return err
	}
	w.next++
	if w.sync {
		return w.f.Sync()
	}
	return nil
}

// Reserve makes room on the disk for the next entry, so that Append does not fail for want of it. A full disk is then
// known before the entry is promised to anybody.
func (w *Writer) Reserve(e *labv1.JournalEntry) error {
	end, err := w.f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if err := allocate(w.f, end, int64(len(Encode(e)))+1); err != nil {
		return fmt.Errorf("no room for entry %d in %s: %w", e.Index, w.f.Name(), err)
	}
	return nil
}

// Close closes the file.
func (w *Writer) Close() error { return w.f.Close() }

// Difference is the first entry in which two journals differ.
type Difference struct {
	Index uint64
	Text  string
}

func (d *Difference) String() string { return d.Text }

// Compare returns the first entry in which two journals differ; nil if they are the same.
func Compare(a, b []*labv1.JournalEntry) *Difference {
	for i := range max(len(a), len(b)) {
		index := uint64(i) + 1
		switch {
		case i >= len(a):
			return &Difference{index, fmt.Sprintf("input %d: the first journal ends, the second has %s", index, Encode(b[i]))}
		case i >= len(b):
			return &Difference{index, fmt.Sprintf("input %d: the second journal ends, the first has %s", index, Encode(a[i]))}
		}
		if x, y := Encode(a[i]), Encode(b[i]); !bytes.Equal(x, y) {
			return &Difference{index, fmt.Sprintf("input %d: %s in the first journal, %s in the second", index, x, y)}
		}
	}
	return nil
}
