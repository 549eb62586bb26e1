package sim

// Windows are how several loops run one lab with the result that one loop would have. Each round every loop reports;
// with m the least time of all reports, every loop may run its events in [m, m+lookahead), because no frame that departs
// at m or later arrives in another loop before m+lookahead. Then the frames that crossed are handed over, and the next
// round begins. Idle time is jumped, nothing is ever rolled back, and no frame comes late.

// Report is what a loop tells at the end of a window.
type Report struct {
	Next      Time // Loop.Next
	Departure Time // the first departure of a frame that still waits to go on a wire to another loop
	Arrival   Time // the earliest arrival of the frames just shipped to other loops; Never if the receivers report it
}

// Least is the least time of all reports: no event of the lab precedes it.
func Least(reports ...Report) Time {
	m := Never
	for _, r := range reports {
		m = min(m, r.Next, r.Departure, r.Arrival)
	}
	return m
}

// Windows decides how far the loops of a lab run in each round. The zero value begins at lab time 0.
type Windows struct {
	end Time
}

// End is the end of the current window, or of the last one that was run: every event before it has been run, or will be
// before anything else is decided.
func (w *Windows) End() Time { return w.end }

// Open makes the next window: loops run RunBefore(end). m is Least of all reports, lookahead the least of all directions
// that cross (Never if none does), limit the time of the next input, or the end of the lab: the window does not pass it.
// idle says that no event was left before limit; loops still run to it, to stand there.
func (w *Windows) Open(m, lookahead, limit Time) (end Time, idle bool) {
	limit = max(limit, w.end)
	if m >= limit {
		w.end = limit
		return limit, true
	}
	end = Never
	if lookahead < Never-m {
		end = m + max(lookahead, 1)
	}
	w.end = min(end, limit)
	return w.end, false
}

// InputTime is the lab time that an input gets which is to happen at about want: strictly after every event that any
// loop has run, and not before the end of the current window.
func (w *Windows) InputTime(want Time) Time { return max(want, w.end) }

// Crossing is a link direction whose ends are in different loops (link.Direction).
type Crossing interface {
	// Ship hands over the frames that have departed before a time and tells the earliest arrival among them.
	Ship(before Time) (earliest Time)
	// NextDeparture is when the next waiting frame departs.
	NextDeparture() Time
	// Lookahead is the least time between a departure and its arrival.
	Lookahead() Time
}

// Lookahead is the least of all crossings; Never if there is none.
func Lookahead(crossings []Crossing) Time {
	least := Never
	for _, c := range crossings {
		least = min(least, c.Lookahead())
	}
	return least
}

// Group runs several loops as one, in the caller's goroutine, one after another.
type Group struct {
	Loops     []*Loop
	Crossings []Crossing
	Rounds    uint64 // windows run so far

	windows Windows
}

// Next is a time that no event of the lab precedes.
func (g *Group) Next() Time {
	m := Never
	for _, l := range g.Loops {
		m = min(m, l.Next())
	}
	for _, c := range g.Crossings {
		m = min(m, c.NextDeparture())
	}
	return m
}

// RunBefore runs every event of all loops before end and leaves them at end, as Loop.RunBefore does.
func (g *Group) RunBefore(end Time) error {
	for idle := false; !idle; {
		var to Time
		to, idle = g.windows.Open(g.Next(), Lookahead(g.Crossings), end)
		g.Rounds++
		for _, l := range g.Loops {
			if err := l.RunBefore(to); err != nil {
				return err
			}
		}
		for _, c := range g.Crossings {
			c.Ship(to)
		}
	}
	return nil
}
