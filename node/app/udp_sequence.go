package app

import "encoding/binary"

// The datagrams of blasts and transfers begin with a header of their own: sequence number from 0, lab time of sending in
// nanoseconds, both big endian.
const udpHeader = 16

func putUDPHeader(b []byte, seq uint64, sentNs int64) {
	binary.BigEndian.PutUint64(b, seq)
	binary.BigEndian.PutUint64(b[8:], uint64(sentNs))
}

// sequenceWindow is how far back duplicates are told from late datagrams: more than any queue and jitter of a lab hold.
const sequenceWindow = 1 << 16

// sequence counts what becomes of numbered datagrams.
type sequence struct {
	received   uint64 // first copies
	reordered  uint64 // of those, the ones that came after a higher number
	duplicated uint64
	next       uint64 // one above the highest number seen
	seen       [sequenceWindow / 64]uint64
}

// mark notes an arrival and says whether it is the first copy. What is older than the window counts as a duplicate.
func (s *sequence) mark(seq uint64) bool {
	switch {
	case seq >= s.next:
		s.slide(seq + 1)
	case s.next-seq > sequenceWindow || s.seen[seq/64%uint64(len(s.seen))]&(1<<(seq%64)) != 0:
		s.duplicated++
		return false
	default:
		s.reordered++
	}
	s.seen[seq/64%uint64(len(s.seen))] |= 1 << (seq % 64)
	s.received++
	return true
}

// slide moves the window up to next, forgetting what falls out.
func (s *sequence) slide(next uint64) {
	if next-s.next >= sequenceWindow {
		clear(s.seen[:])
	} else {
		for n := s.next; n < next; n++ {
			s.seen[n/64%uint64(len(s.seen))] &^= 1 << (n % 64)
		}
	}
	s.next = next
}
