package trace

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"

	"labd.dev/sim"
)

// Errors of reading events.bin, for errors.Is.
var (
	ErrNotTrace  = errors.New("not a labd trace")
	ErrNewer     = errors.New("trace of a newer labd")
	ErrTruncated = errors.New("trace ends in the middle of a record")
	ErrDamaged   = errors.New("trace is damaged")
)

// Reader reads events.bin as a stream.
type Reader struct {
	r        *bufio.Reader
	names    Names
	crc      uint32
	count    uint64
	complete bool
	done     bool
	buf      [RecordSize]byte
}

// NewReader reads the header.
func NewReader(r io.Reader) (*Reader, error) {
	rd := &Reader{r: bufio.NewReaderSize(r, 64<<10)}
	var head [headerSize]byte
	if _, err := io.ReadFull(rd.r, head[:]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: shorter than a header", ErrNotTrace)
		}
		return nil, err
	}
	if string(head[:8]) != eventsMagic {
		return nil, fmt.Errorf("%w: it begins with %q, not %q", ErrNotTrace, head[:8], eventsMagic)
	}
	if v := binary.LittleEndian.Uint16(head[8:]); v != eventsVersion {
		return nil, fmt.Errorf("%w: version %d of the format, this labd reads %d", ErrNewer, v, eventsVersion)
	}
	if n := binary.LittleEndian.Uint16(head[10:]); n != RecordSize {
		return nil, fmt.Errorf("%w: records of %d bytes, not %d", ErrDamaged, n, RecordSize)
	}
	n := binary.LittleEndian.Uint32(head[12:])
	if n > maxNamesTable {
		return nil, fmt.Errorf("%w: names of %d bytes, at most %d are read", ErrDamaged, n, maxNamesTable)
	}
	// Read as it comes, so that a damaged length allocates no more than the file holds.
	table, err := io.ReadAll(io.LimitReader(rd.r, int64(n)))
	if err != nil {
		return nil, err
	}
	if uint32(len(table)) < n {
		return nil, fmt.Errorf("%w: in its names", ErrTruncated)
	}
	if err := rd.names.decode(table); err != nil {
		return nil, err
	}
	rd.crc = crc32.Update(crc32.Update(0, castagnoli, head[:]), castagnoli, table)
	return rd, nil
}

func (n *Names) decode(b []byte) error {
	for _, table := range []*[]string{&n.Nodes, &n.Directions, &n.Links} {
		if len(b) < 4 {
			return fmt.Errorf("%w: names table", ErrDamaged)
		}
		count := binary.LittleEndian.Uint32(b)
		b = b[4:]
		if uint64(count)*2 > uint64(len(b)) {
			return fmt.Errorf("%w: names table", ErrDamaged)
		}
		*table = make([]string, count)
		for i := range *table {
			if len(b) < 2 {
				return fmt.Errorf("%w: names table", ErrDamaged)
			}
			l := int(binary.LittleEndian.Uint16(b))
			if len(b) < 2+l {
				return fmt.Errorf("%w: names table", ErrDamaged)
			}
			(*table)[i], b = string(b[2:2+l]), b[2+l:]
		}
	}
	if len(b) > 0 {
		return fmt.Errorf("%w: names table", ErrDamaged)
	}
	return nil
}

// Names is the trace's table of names.
func (r *Reader) Names() *Names { return &r.names }

// Complete reports, after the last record, whether the file was closed in order: what a lab that still runs, or one
// whose process died, has written so far is not complete.
func (r *Reader) Complete() bool { return r.complete }

// Next returns the next record, io.EOF after the last.
func (r *Reader) Next() (sim.Record, error) {
	if r.done {
		return sim.Record{}, io.EOF
	}
	switch n, err := io.ReadFull(r.r, r.buf[:]); {
	case err == io.EOF:
		r.done = true
		return sim.Record{}, io.EOF
	case err == io.ErrUnexpectedEOF:
		return sim.Record{}, fmt.Errorf("%w: %d of %d bytes after record %d", ErrTruncated, n, RecordSize, r.count)
	case err != nil:
		return sim.Record{}, err
	}
	rec := decodeRecord(r.buf[:])
	if rec.Kind == kindEnd {
		return sim.Record{}, r.end(&rec)
	}
	r.crc = crc32.Update(r.crc, castagnoli, r.buf[:])
	r.count++
	return rec, nil
}

func (r *Reader) end(rec *sim.Record) error {
	r.done = true
	if n := uint64(rec.W[0]) | uint64(rec.W[1])<<32; n != r.count {
		return fmt.Errorf("%w: it says %d records and holds %d", ErrDamaged, n, r.count)
	}
	if rec.W[2] != r.crc {
		return fmt.Errorf("%w: its checksum does not hold", ErrDamaged)
	}
	if _, err := r.r.ReadByte(); err != io.EOF {
		return fmt.Errorf("%w: something follows its end", ErrDamaged)
	}
	r.complete = true
	return io.EOF
}

// All yields the records that follow, and at last the error that ended them, if it was not the end.
func (r *Reader) All() iter.Seq2[sim.Record, error] {
	return func(yield func(sim.Record, error) bool) {
		for {
			rec, err := r.Next()
			if err == io.EOF || !yield(rec, err) || err != nil {
				return
			}
		}
	}
}
