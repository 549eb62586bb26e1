package congestion

// windowedMax is the largest value seen in a window of rounds: the best, second best and third best, each in a later part
// of the window (Kathleen Nichols' algorithm; Linux's lib/win_minmax.c).
type windowedMax [3]struct {
	at uint32 // round
	v  uint64
}

func (m *windowedMax) max() uint64 { return m[0].v }

func (m *windowedMax) reset(at uint32, v uint64) {
	for i := range m {
		m[i].at, m[i].v = at, v
	}
}

// update takes a value in and returns the largest of the window.
func (m *windowedMax) update(window, at uint32, v uint64) uint64 {
	if v >= m[0].v || at-m[2].at > window {
		m.reset(at, v)
		return v
	}
	for i := 1; i < 3; i++ {
		if v >= m[i].v {
			for ; i < 3; i++ {
				m[i].at, m[i].v = at, v
			}
			break
		}
	}
	switch age := at - m[0].at; {
	case age > window:
		// The best has left the window: the others move up, and the new value is the third.
		m[0], m[1] = m[1], m[2]
		m[2].at, m[2].v = at, v
		if at-m[0].at > window {
			m[0], m[1] = m[1], m[2]
			m[2].at, m[2].v = at, v
		}
	case m[1].at == m[0].at && age > window/4:
		m[1].at, m[1].v = at, v
		m[2] = m[1]
	case m[2].at == m[1].at && age > window/2:
		m[2].at, m[2].v = at, v
	}
	return m[0].v
}
