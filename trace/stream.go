package trace

import (
	"slices"

	"labd.dev/link"
	"labd.dev/sim"
)

// Stream expands records as they come, for whoever follows a lab. It gives each event once, in the order of
// (t, node, eseq): a link's record tells of what is still to happen, so events are held back until their time has come.
type Stream struct {
	x       expander
	names   Names
	last    sim.Record // the newest that was added
	any     bool
	given   int64 // events before this time have been given
	pending []Event
	open    map[hopKey]link.Hop // hops of which events are pending, and which a live change may make void
}

// NewStream makes a stream; Names come before the first record.
func NewStream() *Stream {
	s := &Stream{open: map[hopKey]link.Hop{}}
	s.x = expander{names: &s.names, tcp: map[endKey]*tcpEnd{}, eseq: map[uint32]uint64{}, hops: map[hopKey]link.Hop{}}
	return s
}

// SetNames gives the names in the records that follow.
func (s *Stream) SetNames(names Names) { s.names = names }

// Add takes encoded records in their order, a record and those that continue it together. What was added before is passed
// over, so that a lab's records can be listed again from their start.
func (s *Stream) Add(encoded []byte) error {
	recs, err := DecodeRecords(encoded)
	if err != nil {
		return err
	}
	for i := 0; i < len(recs); {
		j := i + 1
		for j < len(recs) && recs[j].Kind == sim.KindMore {
			j++
		}
		if r := &recs[i]; !s.any || before(&s.last, r) {
			s.last, s.any = *r, true
			s.add(r, recs[i+1:j])
		}
		i = j
	}
	return nil
}

func (s *Stream) add(r *sim.Record, more []sim.Record) {
	if h, ok := link.Decode(r, more); ok {
		s.hop(r, h)
		return
	}
	s.x.record(r, more)
	s.take()
}

// hop takes a link's record. One that replaces another makes void what of that was still to happen.
func (s *Stream) hop(r *sim.Record, h link.Hop) {
	key := hopKey{r.Node, r.ESeq}
	if h.Supersedes != 0 {
		old := hopKey{r.Node, h.Supersedes}
		if o, ok := s.open[old]; ok {
			h.Succeed(&o)
		}
		s.void(old)
		// What is decided anew makes the copies anew as well, unless the frame has left for good.
		for k, c := range s.open {
			if c.Copy && k.node == old.node && c.CopyOf == h.First && !h.CutShort() {
				s.void(k)
			}
		}
	} else if o, ok := s.open[hopKey{r.Node, h.CopyOf}]; ok && h.Copy {
		h.CopyOf = o.First
	}
	s.open[key] = h
	s.x.live, s.x.hops[key] = true, h
	s.x.record(r, nil)
	delete(s.x.hops, key)
	s.x.live = false
	s.take()
}

// void drops what is pending of a hop.
func (s *Stream) void(k hopKey) {
	h, ok := s.open[k]
	if !ok {
		return
	}
	delete(s.open, k)
	s.pending = slices.DeleteFunc(s.pending, func(e Event) bool { return e.order == k.node && uint32(e.ESeq) == h.First })
}

// take moves new events to those that are pending. What a replaced hop has told already is not told again.
func (s *Stream) take() {
	for _, e := range s.x.events {
		if e.TNs >= s.given {
			s.pending = append(s.pending, e)
		}
	}
	s.x.events = s.x.events[:0]
}

// Before gives the events before a time, of which no more records will come, that have not been given yet.
func (s *Stream) Before(ns int64) []Event {
	if ns <= s.given {
		return nil
	}
	s.given = ns
	slices.SortStableFunc(s.pending, compareEvents)
	n, _ := slices.BinarySearchFunc(s.pending, ns, func(e Event, t int64) int { return cmpInt(e.TNs < t) })
	out := slices.Clone(s.pending[:n])
	s.pending = append(s.pending[:0], s.pending[n:]...)
	for k, h := range s.open {
		if int64(max(h.Arrival, h.Start, h.Decided)) < ns {
			delete(s.open, k)
		}
	}
	return out
}

// Rest gives all that is left: the lab has ended.
func (s *Stream) Rest() []Event { return s.Before(1<<63 - 1) }
