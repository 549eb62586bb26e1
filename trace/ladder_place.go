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

// choose finds, among the rows of the instant, the segment nearest in the order of events that arrived (if an arrival
// moved the state) or was sent (if not) and whose place for a state is free.
func (c *stateChange) choose(rows []*row) *row {
	var best *row
	var bestDist uint64
	for _, r := range rows {
		if (r.from != c.end) != c.byPacket || r.state[c.end] != "" {
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

// splitCrossings gives a segment's arrival a row of its own where SYN, FIN or RST cross it on the way, so that each
// end's column stays in the order of time where it matters: simultaneous open and close, late duplicates.
func (b *builder) splitCrossings() {
	var marks [2][]*row // rows in which an end sends SYN, FIN or RST or changes state by itself
	for _, r := range b.rows {
		if r.part == wholeWay && (r.seg == nil && r.text == "" || r.seg != nil && r.seg.isKey) {
			marks[r.from] = append(marks[r.from], r)
		}
	}
	var arrivals []*row
	for _, r := range b.rows {
		to := 1 - r.from
		if r.seg == nil || r.part != wholeWay || !r.at[to].set || !r.at[r.from].set {
			continue
		}
		if !crossed(r, marks[to], to) && !(r.seg.isKey && b.crossedByAny(r, to)) {
			continue
		}
		r.part = departs
		a := &row{from: r.from, seg: r.seg, part: arrives, resent: r.resent}
		a.at[to], a.state[to] = r.at[to], r.state[to]
		r.at[to], r.state[to] = moment{}, ""
		a.notes, r.notes = r.notes, nil
		a.index = -1 // found below
		arrivals = append(arrivals, a)
	}
	for _, a := range arrivals {
		a.index = b.indexAt(a.from, a.at[1-a.from])
	}
	b.rows = append(b.rows, arrivals...)
	b.sortRows()
}

// crossed reports whether end `to` made one of marks after r was sent and before r arrived.
func crossed(r *row, marks []*row, to int) bool {
	i, _ := slices.BinarySearchFunc(marks, r.index, func(m *row, index int) int { return m.index - index })
	for _, m := range marks[i:] {
		if m == r {
			continue
		}
		return m.at[to].eseq < r.at[to].eseq
	}
	return false
}

// crossedByAny reports whether end `to` sent anything between r's departure and its arrival.
func (b *builder) crossedByAny(r *row, to int) bool {
	i, _ := slices.BinarySearchFunc(b.rows, r.index, func(x *row, index int) int { return x.index - index })
	for _, x := range b.rows[i:] {
		if x != r && x.from == to && x.at[to].set {
			return x.at[to].eseq < r.at[to].eseq
		}
	}
	return false
}

// indexAt is the place in the order of events of what happened at end 1-from at m: just before the first row that this
// end made later.
func (b *builder) indexAt(from int, m moment) int {
	to := 1 - from
	for _, x := range b.rows {
		if x.from == to && x.at[to].set && x.at[to].eseq > m.eseq {
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
