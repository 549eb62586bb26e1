package trace

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	defaultLadderWidth = 80
	// minLadderWidth leaves 20 columns between two ends with their times and states.
	minLadderWidth = 64
	// minInner is kept between the bars even where times of many digits make the lines longer for it.
	minInner       = 16
	maxLadderWidth = 200 // beyond it arrows only get longer

	ansiLost   = "\x1b[31m"
	ansiResent = "\x1b[33m"
	ansiReset  = "\x1b[0m"
)

// layout draws a ladder. A line is, for 80 columns and times below 10 s:
//
//	0.000000    SYN_SENT │ SYN S=0 win=64240 ────────────────>│ SYN_RCVD    0.010000
//
// time, state, bar, what lies between (inner columns), bar, state, time.
type layout struct {
	*ladder
	opts   LadderOptions
	time   int // columns of a time
	state  int // columns of a state
	inner  int // columns between the bars
	dash   string
	bar    string
	winOf  [2]uint64 // window that an end last showed
	winSet [2]bool
	out    strings.Builder
}

func newLayout(l *ladder, opts LadderOptions) *layout {
	y := &layout{ladder: l, opts: opts, dash: "─", bar: "│"}
	if opts.ASCII {
		y.dash, y.bar = "-", "|"
	}
	width := opts.Width
	if width == 0 {
		width = defaultLadderWidth
	}
	width = min(max(width, minLadderWidth), maxLadderWidth)
	y.time, y.state = len(timeHeading), len("SYN_SENT")
	for _, e := range l.ends {
		y.state = max(y.state, len(e.initial))
	}
	for _, r := range l.rows {
		y.state = max(y.state, len(r.state[left]), len(r.state[right]))
		for _, m := range r.at {
			if m.set {
				y.time = max(y.time, len(seconds(m.t)))
			}
		}
	}
	y.opts.Width = width
	y.inner = max(width-2*(y.time+1+y.state+1+1), minInner)
	return y
}

// seconds prints a lab time with microseconds.
func seconds(ns int64) string {
	us := (ns + 500) / 1000
	return fmt.Sprintf("%d.%06d", us/1e6, us%1e6)
}

func (y *layout) draw() string {
	y.header()
	for _, r := range y.rows {
		switch {
		case r.gap != nil:
			y.gapLines(r.gap)
		case r.seg != nil:
			y.segmentLines(r)
		default:
			y.textLines(r)
		}
	}
	return y.out.String()
}

func (y *layout) header() {
	l, r := &y.ends[left], &y.ends[right]
	y.sentence(y.conn + ": " + strings.TrimSpace(l.node+" "+l.local) + " - " + strings.TrimSpace(r.node+" "+r.local))
	switch {
	case y.opts.Absolute:
		y.sentence("S and A are the sequence and acknowledgment numbers on the wire.")
	case l.issSeen && r.issSeen:
		y.sentence(fmt.Sprintf("S and A are relative to the ISNs: %s %d, %s %d.", l.node, l.iss, r.node, r.iss))
	}
	y.sentence("Segments stand in the order of sending; each side has its own times.")
	y.print("")
	side := y.time + 1 + y.state
	names := padLeft(fit(l.node, side-2), side) + strings.Repeat(" ", y.inner+4) + fit(r.node, side-2)
	y.print(names)
	y.line(timeHeading, l.initial, "", r.initial, timeHeading, "")
}

const timeHeading = "time (s)"

// sentence prints text that may take more than a line.
func (y *layout) sentence(text string) {
	for _, s := range y.wrap(strings.Fields(text), y.opts.Width) {
		y.print(s)
	}
}

// line prints one line with its two times, its two states and what lies between the bars, filled up.
func (y *layout) line(lt, ls, mid, rs, rt, color string) {
	s := padLeft(lt, y.time) + " " + padLeft(ls, y.state) + " " + y.bar + padRight(mid, y.inner) + y.bar + " "
	if rt != "" {
		s += padRight(rs, y.state) + " " + padLeft(rt, y.time)
	} else {
		s += rs
	}
	s = strings.TrimRight(s, " ")
	if y.opts.Color && color != "" {
		s = color + s + ansiReset
	}
	y.print(s)
}

func (y *layout) print(s string) {
	y.out.WriteString(s)
	y.out.WriteByte('\n')
}

// minArrow is the shortest arrow: a space, two dashes and its head.
const minArrow = 4

// segmentLines prints a segment: words that do not fit beside the arrow stand in lines above it.
func (y *layout) segmentLines(r *row) {
	lines := y.wrap(y.words(r), y.inner-1-minArrow)
	color := ""
	switch {
	case r.seg.lost != "":
		color = ansiLost
	case r.resent:
		color = ansiResent
	}
	for _, s := range lines[:len(lines)-1] {
		if (r.from == right) != (r.part == arrives) { // words stand at the end that the row is about
			s = padLeft(s, y.inner-1)
		} else {
			s = " " + s
		}
		y.line("", "", s, "", "", color)
	}
	lt, rt := "", ""
	if r.at[left].set {
		lt = seconds(r.at[left].t)
	}
	if r.at[right].set {
		rt = seconds(r.at[right].t)
	}
	ls, rs := r.state[left], r.state[right]
	if r.seg.lost != "" && y.lossBeside(r) {
		if r.from == left {
			rs = r.seg.lost
		} else {
			lt, ls = "", ""
			y.lostLeft(r, y.arrow(r, lines[len(lines)-1]), rs, rt, color)
			return
		}
	}
	y.line(lt, ls, y.arrow(r, lines[len(lines)-1]), rs, rt, color)
}

// lostLeft prints a segment from the right that never reached the left, whose place for time and state is free to say so.
func (y *layout) lostLeft(r *row, mid, rs, rt, color string) {
	side := y.time + 1 + y.state
	s := padLeft(r.seg.lost, side) + " " + y.bar + padRight(mid, y.inner) + y.bar + " " + padRight(rs, y.state) + " " + padLeft(rt, y.time)
	if y.opts.Color && color != "" {
		s = color + s + ansiReset
	}
	y.print(strings.TrimRight(s, " "))
}

// lossBeside reports whether the place of time and state at the end that a lost segment never reached holds the words
// of its loss; else they stand between the bars.
func (y *layout) lossBeside(r *row) bool {
	return utf8.RuneCountInString(r.seg.lost) <= y.time+1+y.state && r.state[1-r.from] == ""
}

// words are what is to be said of a segment. The window is left out where it has not changed and makes a line more.
func (y *layout) words(r *row) []string {
	s := r.seg
	words := []string{s.flags, "S=" + y.number(s.seq, r.from)}
	if s.hasAck {
		words = append(words, "A="+y.number(s.ack, 1-r.from))
	}
	if s.length > 0 {
		words = append(words, "len="+strconv.FormatUint(s.length, 10))
	}
	if r.part == arrives {
		return append(words, r.tail(y)...)
	}
	win := []string{"win=" + strconv.FormatUint(s.win, 10)}
	tail, aside := r.tail(y), r.aside
	lines := func(words ...[]string) int { return len(y.wrap(slices.Concat(words...), y.inner-1-minArrow)) }
	changed := !y.winSet[r.from] || y.winOf[r.from] != s.win
	least := lines(words, tail)
	if !changed && lines(words, win, tail) > least {
		win = nil
	}
	if win != nil {
		y.winOf[r.from], y.winSet[r.from] = s.win, true
		least = lines(words, win, tail)
	}
	if aside != "" && lines(words, win, tail, []string{aside}) == least {
		tail = append(tail, aside)
	}
	return slices.Concat(words, win, tail)
}

// tail is the words after the numbers.
func (r *row) tail(y *layout) []string {
	words := r.notes
	if r.seg.lost != "" && !y.lossBeside(r) {
		words = append(append([]string{}, words...), r.seg.lost)
	}
	if len(words) == 0 {
		return nil
	}
	return []string{"(" + strings.Join(words, "; ") + ")"}
}

// number prints a sequence number of an end.
func (y *layout) number(seq uint32, end int) string {
	if y.opts.Absolute || !y.ends[end].issSeen {
		return strconv.FormatUint(uint64(seq), 10)
	}
	return strconv.FormatInt(int64(int32(seq-y.ends[end].iss)), 10)
}

// wrap breaks words into lines; a word that is too long is broken at its spaces, at last anywhere.
func (y *layout) wrap(words []string, width int) []string {
	var lines []string
	cur := ""
	add := func(w string) {
		switch {
		case cur == "":
			cur = w
		case utf8.RuneCountInString(cur)+1+utf8.RuneCountInString(w) <= width:
			cur += " " + w
		default:
			lines = append(lines, cur)
			cur = w
		}
	}
	for _, w := range words {
		if utf8.RuneCountInString(w) <= width {
			add(w)
			continue
		}
		for _, part := range strings.Fields(w) {
			for utf8.RuneCountInString(part) > width {
				cut := []rune(part)
				add(string(cut[:width]))
				part = string(cut[width:])
			}
			add(part)
		}
	}
	return append(lines, cur)
}

// arrow draws the last line between the bars.
func (y *layout) arrow(r *row, text string) string {
	n := y.inner - 2 - utf8.RuneCountInString(text) // dashes and head
	shaft := func(k int) string { return strings.Repeat(y.dash, max(k, 1)) }
	switch {
	case r.seg.lost != "":
		short := n * 2 / 3
		if r.from == left {
			return " " + text + " " + shaft(short-1) + "X"
		}
		return strings.Repeat(" ", n-short) + "X" + shaft(short-1) + " " + text + " "
	case r.part == departs: // its head comes in a later line
		if r.from == left {
			return " " + text + " " + shaft(n-4) + " ..."
		}
		return "... " + shaft(n-4) + " " + text + " "
	case r.part == arrives:
		if r.from == left {
			return padLeft("... "+text+" "+shaft(min(n-4, 6)-1)+">", y.inner)
		}
		return "<" + shaft(min(n-4, 6)-1) + " " + text + " ..."
	case r.from == left:
		return " " + text + " " + shaft(n-1) + ">"
	}
	return "<" + shaft(n-1) + " " + text + " "
}

// textLines prints what happened at one end without a segment.
func (y *layout) textLines(r *row) {
	lines := []string{""}
	if r.text != "" {
		lines = y.wrap([]string{r.text}, y.inner-4)
	}
	for i, s := range lines {
		var t, state [2]string
		if i == 0 {
			t[r.from], state[r.from] = seconds(r.at[r.from].t), r.state[r.from]
		}
		switch {
		case s == "":
		case r.from == left:
			s = " * " + s
		default:
			s = padLeft(s+" *", y.inner-1)
		}
		y.line(t[left], state[left], s, state[right], t[right], "")
	}
}

func padLeft(s string, n int) string {
	return strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s))) + s
}

func padRight(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s)))
}

// fit shortens a name to n columns.
func fit(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-3]) + "..."
	}
	return s
}
