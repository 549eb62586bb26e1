package trace

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"labd.dev/sim"
)

// events.bin begins with a header:
//
//	 0  8  magic "labd-ev\n"
//	 8  2  version of the format
//	10  2  size of a record, 64
//	12  4  length of the names table that follows
//	16     the names: nodes, link directions, links by direction, each as a count (4) and that many of length (2) and
//	       bytes; by id, index 0 empty
//
// Records of 64 bytes follow in the order of (t, node, eseq). A file that was closed ends in a record of kind kindEnd
// whose words hold the count of records (2 words) and the CRC-32C of all bytes before it. All numbers are little-endian.
const (
	eventsMagic   = "labd-ev\n"
	eventsVersion = 1
	headerSize    = 16

	// kindEnd closes a file. It never leaves this package.
	kindEnd sim.Kind = 255

	// maxNamesTable bounds the names table of a file that is read: 100,000 nodes and links with names of their longest.
	maxNamesTable = 64 << 20
	// maxName bounds one name; "node:eth0->node:eth0" of the longest node names is well below it.
	maxName = 1024
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Writer writes events.bin. Records come in the total order; Merger puts them into it.
type Writer struct {
	w     *bufio.Writer
	buf   []byte
	crc   uint32
	count uint64
	last  sim.Record
	err   error
}

// NewWriter begins a file with its header.
func NewWriter(w io.Writer, names Names) (*Writer, error) {
	table, err := appendNames(nil, names)
	if err != nil {
		return nil, err
	}
	head := append(make([]byte, 0, headerSize+len(table)), eventsMagic...)
	head = binary.LittleEndian.AppendUint16(head, eventsVersion)
	head = binary.LittleEndian.AppendUint16(head, RecordSize)
	head = binary.LittleEndian.AppendUint32(head, uint32(len(table)))
	wr := &Writer{w: bufio.NewWriterSize(w, 64<<10)}
	wr.write(append(head, table...))
	return wr, wr.err
}

func appendNames(b []byte, names Names) ([]byte, error) {
	for _, table := range [][]string{names.Nodes, names.Directions, names.Links} {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(table)))
		for _, s := range table {
			if len(s) > maxName {
				return nil, fmt.Errorf("name %.40q... is longer than %d bytes", s, maxName)
			}
			b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
			b = append(b, s...)
		}
	}
	if len(b) > maxNamesTable {
		return nil, fmt.Errorf("names of %d bytes, more than a trace may hold (%d)", len(b), maxNamesTable)
	}
	return b, nil
}

func (w *Writer) write(b []byte) {
	if w.err != nil {
		return
	}
	w.crc = crc32.Update(w.crc, castagnoli, b)
	_, w.err = w.w.Write(b)
}

// Write appends records. The first error (a full disk) is kept: later calls return it and do nothing.
func (w *Writer) Write(recs []sim.Record) error {
	w.buf = w.buf[:0]
	for i := range recs {
		r := &recs[i]
		if w.err == nil && w.count > 0 && before(r, &w.last) {
			w.err = fmt.Errorf("trace record out of order: (t %d, node %d, eseq %d) after (t %d, node %d, eseq %d)",
				r.T, r.Node, r.ESeq, w.last.T, w.last.Node, w.last.ESeq)
		}
		w.last = *r
		w.count++
		w.buf = AppendRecord(w.buf, r)
	}
	w.write(w.buf)
	return w.err
}

// Count is how many records have been written.
func (w *Writer) Count() uint64 { return w.count }

// Flush hands what is buffered to the file, so that a reader sees whole records.
func (w *Writer) Flush() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return w.err
}

var errWriterClosed = errors.New("trace is closed")

// Close writes the end record and flushes; it does not close the file underneath.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	end := sim.Record{Kind: kindEnd, W: [6]uint32{uint32(w.count), uint32(w.count >> 32), w.crc}}
	w.write(AppendRecord(nil, &end))
	if err := w.Flush(); err != nil {
		return err
	}
	w.err = errWriterClosed
	return nil
}
