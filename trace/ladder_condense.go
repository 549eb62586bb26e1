package trace

import (
	"fmt"
	"slices"
	"strings"
)

// gap stands for the rows that a condensed ladder leaves out.
type gap struct {
	from, to int64 // lab time of the first and the last, when sent
	sent     [2]traffic
	foreign  [2]int // segments that came to an end and that the other has not sent
	lost     []lossCount
}

// traffic is what one end sent in a gap.
type traffic struct {
	segments, resent, fast, rto, dupACKs, probes, thrown int
	bytes                                                uint64
}

// lossCount counts the losses of one kind at one place: "lost r1->r2".
type lossCount struct {
	what string
	n    int
}

// minGap is the least number of rows that a condensed ladder leaves out: fewer are shown, as the sentence that would
// replace them takes as much room.
const minGap = 5

// maxForeign is how many segments are shown that neither end has sent and that changed nothing, and how many challenge ACKs
// that answer them: of a flood of forged resets the first few tell enough.
const maxForeign = 3

// condense keeps the handshake, the first data of each end, every row with SYN, FIN or RST or a change of state, and the
// end; sentences stand for the rest.
func (l *ladder) condense() {
	l.markKept()
	var out []*row
	for i := 0; i < len(l.rows); {
		j := i
		for j < len(l.rows) && !l.rows[j].keep {
			j++
		}
		switch {
		case j-i >= minGap:
			out = append(out, &row{gap: l.gapOf(l.rows[i:j])})
		default:
			out = append(out, l.rows[i:j]...)
		}
		if j < len(l.rows) {
			out = append(out, l.rows[j])
			j++
		}
		i = j
	}
	l.rows = out
}

func (l *ladder) markKept() {
	var dataSeen [2]bool
	foreign, challenges := 0, 0
	for i, r := range l.rows {
		r.keep = r.state[left] != "" || r.state[right] != "" || i == len(l.rows)-1
		if r.seg == nil {
			continue
		}
		if l.foreign(r) && !r.keep {
			foreign++
			r.keep = r.seg.isKey && foreign <= maxForeign
			continue
		}
		if r.seg.isKey {
			r.keep = true
		}
		if r.seg.reason == "challenge" {
			challenges++
			r.keep = challenges <= maxForeign
		}
		if r.seg.length > 0 && !dataSeen[r.from] {
			dataSeen[r.from], r.keep = true, true
		}
	}
}

// foreign: the segment came in the other end's name, and a third node has made it.
func (l *ladder) foreign(r *row) bool {
	node, _, named := strings.Cut(r.seg.pkt, ":")
	return named && r.part == arrives && node != l.ends[r.from].node
}

func (l *ladder) gapOf(rows []*row) *gap {
	g := &gap{}
	first := true
	for _, r := range rows {
		m := r.at[r.from]
		if r.seg != nil && l.foreign(r) {
			g.foreign[1-r.from]++
		}
		if r.part == arrives {
			m = r.at[1-r.from]
		}
		if first || m.t < g.from {
			g.from = m.t
		}
		g.to, first = max(g.to, m.t), false
		if r.seg != nil && r.at[r.from].set {
			g.sent[r.from].add(r)
			g.loss(r.seg.lost)
		}
	}
	return g
}

func (t *traffic) add(r *row) {
	t.segments++
	t.bytes += r.seg.length
	switch r.seg.reason {
	case "fast_rtx":
		t.fast++
	case "rto_rtx":
		t.rto++
	case "dupack":
		t.dupACKs++
	case "zwp":
		t.probes++
	}
	if r.resent {
		t.resent++
	}
	if r.seg.discard != "" {
		t.thrown++
	}
}

func (g *gap) loss(what string) {
	if what == "" {
		return
	}
	i, ok := slices.BinarySearchFunc(g.lost, what, func(c lossCount, s string) int { return strings.Compare(c.what, s) })
	if !ok {
		g.lost = slices.Insert(g.lost, i, lossCount{what: what})
	}
	g.lost[i].n++
}

// gapLines prints the sentences of a gap, as wide as the ladder.
func (y *layout) gapLines(g *gap) {
	first := "... " + seconds(g.from) + " to " + seconds(g.to) + ":"
	var parts []string
	for end, t := range g.sent {
		if t.segments > 0 {
			parts = append(parts, y.ends[end].node+" sends "+t.String())
		}
	}
	for end, n := range g.foreign {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s gets %s that %s has not sent", y.ends[end].node, count(n, "segment"), y.ends[1-end].node))
		}
	}
	if len(g.lost) > 0 {
		var lost []string
		for _, c := range g.lost {
			lost = append(lost, fmt.Sprintf("%d %s", c.n, c.what))
		}
		parts = append(parts, "never arrived: "+strings.Join(lost, ", "))
	}
	indent := "    "
	y.line("", "", "", "", "", "")
	text := first
	for i, p := range parts {
		end := ";"
		if i == len(parts)-1 {
			end = " ..."
		}
		text += " " + p + end
	}
	for i, s := range y.wrap(strings.Fields(text), y.opts.Width-len(indent)) {
		if i == 0 {
			y.print(s)
		} else {
			y.print(indent + s)
		}
	}
	y.line("", "", "", "", "", "")
}

// String is "950 segments, 1.4 MB, 12 retransmitted (9 fast, 3 RTO)".
func (t traffic) String() string {
	parts := []string{count(t.segments, "segment")}
	if t.bytes > 0 {
		parts = append(parts, shortBytes(t.bytes))
	}
	if t.resent > 0 {
		parts = append(parts, fmt.Sprintf("%d retransmitted%s", t.resent, t.howResent()))
	}
	if t.dupACKs > 0 {
		parts = append(parts, count(t.dupACKs, "dup ACK"))
	}
	if t.probes > 0 {
		parts = append(parts, count(t.probes, "zero-window probe"))
	}
	if t.thrown > 0 {
		parts = append(parts, fmt.Sprintf("%d thrown away on arrival", t.thrown))
	}
	return strings.Join(parts, ", ")
}

// howResent is " (9 fast, 3 RTO)"; empty where neither repaired the loss.
func (t traffic) howResent() string {
	var how []string
	if t.fast > 0 {
		how = append(how, fmt.Sprintf("%d fast", t.fast))
	}
	if t.rto > 0 {
		how = append(how, fmt.Sprintf("%d RTO", t.rto))
	}
	if len(how) == 0 {
		return ""
	}
	return " (" + strings.Join(how, ", ") + ")"
}
