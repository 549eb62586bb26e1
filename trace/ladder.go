package trace

import (
	"strings"
)

// LadderOptions say how a ladder is drawn. The zero value draws all of a connection at 80 columns in UTF-8.
type LadderOptions struct {
	Width     int  // columns; 0: 80; at least minLadderWidth
	ASCII     bool // no box-drawing characters
	Absolute  bool // sequence numbers as on the wire, else counted from each side's initial one
	Condensed bool // handshake, first data and close; the middle in a sentence
	Color     bool // ANSI colours: losses red, retransmissions yellow
}

// Ladder draws the events of one connection: a line a segment, in the order of sending, the initiator left, each end with
// its own times and states. It returns "" if no segment is among the events.
func Ladder(events []Event, opts LadderOptions) string {
	l := buildLadder(events)
	if len(l.rows) == 0 {
		return ""
	}
	if opts.Condensed {
		l.condense()
	}
	return newLayout(l, opts).draw()
}

// The two ends of a ladder.
const (
	left  = 0
	right = 1
)

// ladder is a connection as it will be drawn.
type ladder struct {
	conn string
	ends [2]ladderEnd
	rows []*row
}

// ladderEnd is one end of the connection.
type ladderEnd struct {
	node    string
	local   string // address:port
	initial string // state before the first change
	iss     uint32
	issSeen bool
}

// row is one line of a ladder: a segment, or something that happened at one end.
type row struct {
	index  int // place of its event: rows are in this order
	seg    *segment
	from   int       // the end that sends, or at which it happened
	at     [2]moment // at each end
	state  [2]string // entered at that moment
	notes  []string  // what is to be said besides
	aside  string    // to be said where there is room
	text   string    // of a row without a segment
	part   rowPart
	gap    *gap // in a condensed ladder: what stands for many rows
	keep   bool // in a condensed ladder
	resent bool
}

// moment is when an end took part in a row.
type moment struct {
	t    int64
	eseq uint64
	set  bool
}

// rowPart says which part of a segment's way a row shows.
type rowPart uint8

const (
	wholeWay rowPart = iota
	departs          // what it crosses comes between: the arrival has a row of its own
	arrives
)

// segment is what a row says of a TCP segment.
type segment struct {
	pkt      string
	flags    string
	seq, ack uint32
	hasAck   bool
	length   uint64
	win      uint64
	reason   string
	lost     string // "lost r1->r2": it never arrives
	discard  string // the receiver threw it away: "checksum"
	isKey    bool   // SYN, FIN or RST
	opens    bool   // SYN or RST
}

// builder puts a ladder together from events.
type builder struct {
	*ladder
	byPacket map[string]*row
	states   []stateChange
	opener   string               // node of the left end
	setFor   [2]map[string]uint64 // by end and timer: how long it was last set for, us
}

// stateChange waits until all rows are there, to be shown beside the segment that belongs to it.
type stateChange struct {
	index    int
	end      int
	t        int64
	eseq     uint64
	cause    uint64
	new      string
	byPacket bool // triggered by a segment that arrived
}

func buildLadder(events []Event) *ladder {
	b := &builder{ladder: &ladder{}, byPacket: map[string]*row{}, setFor: [2]map[string]uint64{{}, {}}}
	b.findEnds(events)
	for i := range events {
		b.event(i, &events[i])
	}
	b.placeStates()
	b.splitCrossings()
	b.noteOvertaking()
	return b.ladder
}

// findEnds tells initiator and responder apart.
func (b *builder) findEnds(events []Event) {
	for i := range events {
		e := &events[i]
		if !strings.HasPrefix(e.Name, "tcp:") || e.Side == "" {
			continue
		}
		if b.opener == "" && e.Side == "initiator" {
			b.opener = e.Node
		}
		if b.conn == "" {
			b.conn = e.Conn
		}
		end := &b.ends[b.end(e)]
		if end.node == "" {
			end.node = e.Node
		}
		switch e.Name {
		case "tcp:connection_started":
			if end.local == "" {
				end.local = e.text("local")
			}
			other := &b.ends[1-b.end(e)]
			if other.local == "" {
				other.local = e.text("remote")
			}
		case "tcp:state_updated":
			if end.initial == "" {
				end.initial = e.text("old")
			}
		case "tcp:segment_sent":
			b.noteISS(b.end(e), e)
		case "tcp:segment_received":
			b.noteISS(1-b.end(e), e)
		}
	}
	for i := range b.ends {
		if b.ends[i].node == "" {
			b.ends[i].node = "(" + [2]string{"initiator", "responder"}[i] + ")"
		}
	}
}

// noteISS takes an end's initial sequence number from the first of its segments: its SYN, if the trace begins early
// enough.
func (b *builder) noteISS(end int, e *Event) {
	if p := &b.ends[end]; !p.issSeen {
		p.iss, p.issSeen = uint32(e.number("seq")), true
	}
}

// end tells at which end an event is. In a simultaneous open both are initiators: the one heard of first stands left.
func (b *builder) end(e *Event) int {
	if e.Side == "responder" || e.Side == "initiator" && e.Node != b.opener {
		return right
	}
	return left
}

func (b *builder) event(i int, e *Event) {
	switch e.Name {
	case "tcp:segment_sent":
		end := b.end(e)
		r := &row{index: i, from: end, seg: segmentOf(e)}
		r.at[end] = momentOf(e)
		r.resent = r.seg.reason == "fast_rtx" || r.seg.reason == "rto_rtx" || e.number("tx_count") > 1
		r.addNote(reasonNotes[r.seg.reason])
		b.rows = append(b.rows, r)
		if r.seg.pkt != "" {
			b.byPacket[r.seg.pkt] = r
		}
	case "tcp:segment_received":
		r := b.arrival(i, e)
		if v := e.text("verdict"); v == "ooo" {
			r.aside = "(ahead of a gap)"
		} else {
			r.addNote(verdictNotes[v])
		}
	case "tcp:segment_dropped":
		r := b.arrival(i, e)
		r.seg.discard = e.text("reason")
		r.addNote("thrown away: " + dropWords(r.seg.discard))
	case "tcp:state_updated":
		b.states = append(b.states, stateChange{index: i, end: b.end(e), t: e.TNs, eseq: e.ESeq, cause: e.Cause,
			new: e.text("new"), byPacket: strings.HasPrefix(e.text("trigger"), "rx_")})
	case "tcp:timer_set":
		b.setFor[b.end(e)][e.text("timer")] = e.number("in_us")
	case "tcp:recovery_entered", "tcp:recovery_exited", "tcp:connection_closed", "tcp:timer_fired":
		if text := b.happening(e); text != "" {
			r := &row{index: i, from: b.end(e), text: text}
			r.at[r.from] = momentOf(e)
			b.rows = append(b.rows, r)
		}
	case "link:dropped", "link:duplicated", "link:corrupted":
		b.onLink(e)
	}
}

// arrival finds the row of a segment that has reached an end, and makes one if it is a second copy or was sent by
// somebody the trace does not know.
func (b *builder) arrival(i int, e *Event) *row {
	r := b.byPacket[e.text("pkt")]
	end := b.end(e)
	// A segment that was received and then thrown away is told of twice, at one instant.
	if r == nil || r.at[end].set && r.at[end].t != e.TNs {
		again := r != nil
		r = &row{index: i, from: 1 - end, seg: segmentOf(e), part: arrives}
		if again {
			r.addNote("second copy")
		}
		b.rows = append(b.rows, r)
	}
	if !r.at[end].set {
		r.at[end] = momentOf(e)
	}
	return r
}

// onLink notes what a link did to a segment on its way.
func (b *builder) onLink(e *Event) {
	r := b.byPacket[e.text("pkt")]
	if r == nil {
		return
	}
	dir := e.text("dir")
	switch e.Name {
	case "link:dropped":
		if copied := len(r.notes) > 0 && strings.HasPrefix(r.notes[len(r.notes)-1], "duplicated"); copied || r.at[1-r.from].set {
			r.addNote("a copy lost " + dir)
			return
		}
		r.seg.lost = lossWords(e.text("cause")) + " " + dir
	case "link:duplicated":
		r.addNote("duplicated " + dir)
	case "link:corrupted":
		r.addNote("bit flipped " + dir)
	}
}

func (r *row) addNote(s string) {
	if s != "" {
		r.notes = append(r.notes, s)
	}
}

func momentOf(e *Event) moment { return moment{t: e.TNs, eseq: e.ESeq, set: true} }

func segmentOf(e *Event) *segment {
	s := &segment{
		pkt:    e.text("pkt"),
		flags:  spellFlags(e.text("flags")),
		seq:    uint32(e.number("seq")),
		ack:    uint32(e.number("ack")),
		length: e.number("len"),
		win:    e.number("win_scaled"),
		reason: e.text("reason"),
	}
	letters := e.text("flags")
	s.hasAck = strings.Contains(letters, "A")
	s.isKey, s.opens = strings.ContainsAny(letters, "SFR"), strings.ContainsAny(letters, "SR")
	return s
}

// text is a string field of the data, "" if it is not there.
func (e *Event) text(name string) string {
	v, _ := e.Get(name)
	s, _ := v.(string)
	return s
}

// number is a field of the data that counts something, 0 if it is not there.
func (e *Event) number(name string) uint64 {
	v, _ := e.Get(name)
	switch v := v.(type) {
	case uint64:
		return v
	case int64:
		return uint64(max(v, 0))
	}
	return 0
}
