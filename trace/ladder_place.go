package trace

import (
	"slices"
	"strings"
)

// placeStates puts every change of state beside the segment that belongs to it: the one whose arrival caused it, or the
// one that the application's call or the timer sent. A change without a segment gets a row of its own.
func (b *builder) placeStates() {
	byEvent := [2]map[uint64]*row{{}, {}}
	for _, r := range b.rows {
		for end, m := range r.at {
			if m.set && r.seg != nil {
				byEvent[end][m.eseq] = r
			}
		}
	}
	atTime := [2]map[int64][]*row{{}, {}}
	for _, r := range b.rows {
		for end, m := range r.at {
			if m.set && r.seg != nil {
				atTime[end][m.t] = append(atTime[end][m.t], r)
			}
		}
	}
	for _, c := range b.states {
		r := byEvent[c.end][c.cause]
		if !c.byPacket || c.cause == 0 || r == nil || r.state[c.end] != "" {
			r = c.choose(atTime[c.end][c.t])
		}
		if r == nil {
			r = &row{index: c.index, from: c.end}
			r.at[c.end] = moment{t: c.t, eseq: c.eseq, set: true}
			b.rows = append(b.rows, r)
		}
		r.state[c.end] = c.new
	}
	b.sortRows()
}

// choose finds, among the rows of the instant, the one nearest to the change in the order of events whose place for a
// state is free: of a change that the application or a timer made the SYN, FIN or RST sent with it, of one that an
// arrival made that arrival, or what was sent in answer.
func (c *stateChange) choose(rows []*row) *row {
	var best *row
	var bestDist uint64
	for _, r := range rows {
		sent := r.from == c.end
		if r.state[c.end] != "" || sent && !c.byPacket && !r.seg.isKey || !sent && !c.byPacket {
			continue
		}
		e := r.at[c.end].eseq
		dist := max(e, c.eseq) - min(e, c.eseq)
		if best == nil || dist < bestDist {
			best, bestDist = r, dist
		}
	}
	return best
}

func (b *builder) sortRows() {
	slices.SortStableFunc(b.rows, func(x, y *row) int { return x.index - y.index })
}

// splitCrossings gives a segment's arrival a row of its own where its order among what the receiving end sends matters:
// SYN, FIN and RST that cross each other (simultaneous open and close), and whatever is still under way when the other
// end opens or resets (old duplicates).
func (b *builder) splitCrossings() {
	var keys, opens [2][]*row // by the end that sends
	for _, r := range b.rows {
		if r.seg == nil || r.part != wholeWay {
			continue
		}
		if r.seg.isKey {
			keys[r.from] = append(keys[r.from], r)
		}
		if r.seg.opens {
			opens[r.from] = append(opens[r.from], r)
		}
	}
	var arrivals []*row
	for _, r := range b.rows {
		to := 1 - r.from
		if r.seg == nil || r.part != wholeWay || !r.at[to].set || !r.at[r.from].set {
			continue
		}
		marks := opens[to]
		if r.seg.isKey {
			marks = keys[to]
		}
		if !crossed(r, marks, to) {
			continue
		}
		r.part = departs
		a := &row{from: r.from, seg: r.seg, part: arrives, resent: r.resent}
		a.at[to], a.state[to] = r.at[to], r.state[to]
		r.at[to], r.state[to] = moment{}, ""
		a.notes, r.notes = r.notes, nil
		a.index = b.indexAt(to, a.at[to])
		arrivals = append(arrivals, a)
	}
	b.rows = append(b.rows, arrivals...)
	b.sortRows()
}

// crossed reports whether end `to` sent one of marks after r was sent and before r arrived.
func crossed(r *row, marks []*row, to int) bool {
	i, _ := slices.BinarySearchFunc(marks, r.index, func(m *row, index int) int { return m.index - index })
	return i < len(marks) && marks[i].at[to].eseq < r.at[to].eseq
}

// indexAt is the place in the order of events of what happened at an end at m: just before the first row that this end
// made later.
func (b *builder) indexAt(end int, m moment) int {
	for _, x := range b.rows {
		if x.from == end && x.at[end].set && x.at[end].eseq > m.eseq {
			return x.index - 1
		}
	}
	return b.rows[len(b.rows)-1].index + 1
}

// noteOvertaking marks segments that arrive before one that was sent earlier in the same direction.
func (b *builder) noteOvertaking() {
	const none = int64(-1)
	latest := [2]int64{none, none}
	for _, r := range b.rows {
		to := 1 - r.from
		if r.seg == nil || !r.at[to].set || !r.at[r.from].set {
			continue
		}
		if r.at[to].t < latest[to] {
			r.addNote("overtakes the one before")
		}
		latest[to] = max(latest[to], r.at[to].t)
	}
	for _, r := range b.rows {
		r.notes = tidyNotes(r.notes)
	}
}

// tidyNotes leaves out what another note already says.
func tidyNotes(notes []string) []string {
	const thrown = "thrown away: "
	outside := verdictNotes["out_of_window"]
	said := slices.Contains(notes, verdictNotes["dup"]) || slices.Contains(notes, verdictNotes["old"])
	discarded := slices.ContainsFunc(notes, func(n string) bool { return strings.HasPrefix(n, thrown) })
	var kept []string
	for _, n := range notes {
		if slices.Contains(kept, n) || said && n == thrown+outside || discarded && n == outside {
			continue
		}
		kept = append(kept, n)
	}
	return kept
}
