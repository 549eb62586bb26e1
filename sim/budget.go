package sim

import "fmt"

// Budget stops event storms. Zero fields mean the defaults.
type Budget struct {
	PerLab    uint64 // events of a loop in the whole lab; 0: unlimited
	PerSecond uint64 // events of a loop in one simulated second; 0: DefaultPerSecond
	Memory    uint64 // bytes that a loop's frames, chunks and connections may take; 0: DefaultMemory
	ConnEnds  uint64 // ends of connections that a loop may have at once; 0: unlimited
}

// DefaultPerSecond is far above what a busy lab needs (a saturated 100 Gbit/s link makes 8 million arrivals a second) and
// ends a storm within seconds of wall time.
const DefaultPerSecond = 200_000_000

// busiestSample is how many of the last events before a budget ends are counted by origin, to name the culprit.
const busiestSample = 1 << 16

// BudgetError says that a loop ran more events than its budget allows.
type BudgetError struct {
	Loop      string
	At        Time   // where it stopped
	Limit     uint64 // the budget's
	PerSecond bool   // the limit is of one simulated second, not of the whole lab
	Busiest   Origin // who made most of the last events
	Share     float64
}

func (e *BudgetError) Error() string {
	of := "in the whole lab"
	if e.PerSecond {
		of = "in one simulated second"
	}
	return fmt.Sprintf("loop %q: more than %d events %s, stopped at %v; origin %d made %.0f%% of the last",
		e.Loop, e.Limit, of, e.At, e.Busiest, 100*e.Share)
}

// meter watches the budget without work for each event: Loop.watch is the count at which it must look again.
type meter struct {
	second     Time   // the simulated second that ends at
	base       uint64 // events run when that second was first seen
	sample     map[Origin]uint64
	sampled    uint64
	busiest    Origin
	perLab     uint64
	perSecond  uint64
	memory     int    // bytes
	connEnds   int    // that there may be
	connsOpen  int    // ends that there are
	sampleFrom uint64 // events before a limit at which counting by origin begins
}

func (m *meter) start(l *Loop) {
	m.perLab, m.perSecond = l.cfg.Budget.PerLab, l.cfg.Budget.PerSecond
	if m.perLab == 0 {
		m.perLab = 1<<64 - 1
	}
	if m.perSecond == 0 {
		m.perSecond = DefaultPerSecond
	}
	m.memory = int(min(l.cfg.Budget.Memory, 1<<62))
	if m.memory == 0 {
		m.memory = DefaultMemory
	}
	if m.connEnds = int(min(l.cfg.Budget.ConnEnds, 1<<62)); m.connEnds == 0 {
		m.connEnds = 1 << 62
	}
	m.sampleFrom = min(busiestSample, m.perLab/2, m.perSecond/2)
	m.second = Second
	m.setWatch(l)
}

// limit is the count of events that must not be passed, as long as the simulated second lasts.
func (m *meter) limit() uint64 {
	if m.perSecond >= m.perLab-min(m.base, m.perLab) {
		return m.perLab
	}
	return m.base + m.perSecond
}

func (m *meter) setWatch(l *Loop) {
	l.watch = m.limit() - m.sampleFrom
	m.sample, m.sampled = nil, 0
}

// look is called for each event that is run while the count is close to a limit, and when too much is held. A second is
// noticed to have begun only then, so that up to two budgets fit into one second; what is promised is that a storm ends.
func (m *meter) look(l *Loop, t *Timer) error {
	if err := l.overMemory(); err != nil {
		return err
	}
	if m.connsOpen > m.connEnds {
		return &ConnsError{Loop: l.cfg.Name, At: l.now, Ends: m.connsOpen, Limit: m.connEnds}
	}
	if l.watch == 0 && l.ran <= m.limit()-m.sampleFrom {
		m.setWatch(l) // there was too much for a moment between two events
		return nil
	}
	if l.now >= m.second && l.ran <= m.perLab {
		m.second = l.now - l.now%Second + Second
		m.base = l.ran - 1
		m.setWatch(l)
		if l.ran <= l.watch {
			return nil
		}
	}
	if m.sample == nil {
		m.sample = make(map[Origin]uint64)
	}
	m.sample[t.origin]++
	m.sampled++
	if m.sample[t.origin] > m.sample[m.busiest] {
		m.busiest = t.origin
	}
	limit := m.limit()
	if l.ran <= limit {
		return nil
	}
	e := &BudgetError{
		Loop: l.cfg.Name, At: l.now, Limit: m.perLab,
		Busiest: m.busiest, Share: float64(m.sample[m.busiest]) / float64(m.sampled),
	}
	if limit != m.perLab {
		e.Limit, e.PerSecond = m.perSecond, true
	}
	return e
}

// SetBudget gives the loop another budget. What it has run so far counts for the whole lab, not for the second under way.
func (l *Loop) SetBudget(b Budget) {
	l.cfg.Budget = b
	m := &l.budget
	m.start(l)
	m.base, m.second = l.ran, l.now-l.now%Second+Second
	m.setWatch(l)
}
