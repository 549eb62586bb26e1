package trace

import (
	"encoding/binary"
	"fmt"

	"labd.dev/sim"
)

// RecordSize is what one record takes in events.bin and in a ReadTrace stream, bytes.
const RecordSize = 64

// AppendRecord appends r in the encoding of events.bin: its fields in order, little-endian, without padding.
func AppendRecord(b []byte, r *sim.Record) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(r.T))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Conn))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Pkt))
	b = binary.LittleEndian.AppendUint32(b, r.Node)
	b = binary.LittleEndian.AppendUint32(b, r.ESeq)
	b = binary.LittleEndian.AppendUint32(b, r.Cause)
	b = append(b, byte(r.Kind), r.Reason, r.Flags, r.Aux)
	for _, w := range r.W {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

// decodeRecord is AppendRecord's inverse; b holds at least RecordSize bytes.
func decodeRecord(b []byte) (r sim.Record) {
	_ = b[RecordSize-1]
	r.T = sim.Time(binary.LittleEndian.Uint64(b[0:]))
	r.Conn = sim.ConnID(binary.LittleEndian.Uint64(b[8:]))
	r.Pkt = sim.PacketID(binary.LittleEndian.Uint64(b[16:]))
	r.Node = binary.LittleEndian.Uint32(b[24:])
	r.ESeq = binary.LittleEndian.Uint32(b[28:])
	r.Cause = binary.LittleEndian.Uint32(b[32:])
	r.Kind, r.Reason, r.Flags, r.Aux = sim.Kind(b[36]), b[37], b[38], b[39]
	for i := range r.W {
		r.W[i] = binary.LittleEndian.Uint32(b[40+4*i:])
	}
	return r
}

// DecodeRecords decodes whole records, as a ReadTrace stream carries them.
func DecodeRecords(b []byte) ([]sim.Record, error) {
	if len(b)%RecordSize != 0 {
		return nil, fmt.Errorf("%d bytes of trace are not whole records of %d bytes", len(b), RecordSize)
	}
	recs := make([]sim.Record, 0, len(b)/RecordSize)
	for ; len(b) > 0; b = b[RecordSize:] {
		recs = append(recs, decodeRecord(b))
	}
	return recs, nil
}

// Before reports whether a precedes b in the total order of a lab's records.
func Before(a, b *sim.Record) bool { return before(a, b) }

// before is the total order of a lab's records: (t, node, eseq). ESeq is the low half of a longer counter, so two of one
// instant are compared by their distance.
func before(a, b *sim.Record) bool {
	if a.T != b.T {
		return a.T < b.T
	}
	if a.Node != b.Node {
		return a.Node < b.Node
	}
	return int32(a.ESeq-b.ESeq) < 0
}
