package sim

import "testing"

func TestOpen(t *testing.T) {
	var w Windows
	for _, c := range []struct {
		name                string
		m, lookahead, limit Time
		end                 Time
		idle                bool
	}{
		{"from the least event, a lookahead far", 100, 50, 1000, 150, false},
		{"idle time is jumped", 600, 50, 1000, 650, false},
		{"not past an input", 980, 50, 1000, 1000, false},
		{"nothing before the input", 1000, 50, 1000, 1000, true},
		{"no crossing: to the limit", 1000, Never, 5000, 5000, false},
		{"no delay: windows of 1 ns", 6000, 0, 9000, 6001, false},
		{"nothing at all", Never, Never, 9000, 9000, true},
		{"a limit in the past does not go back", 9500, 50, 10, 9000, true},
		{"far sums saturate", Never - 10, 50, Never, Never, false},
	} {
		end, idle := w.Open(c.m, c.lookahead, c.limit)
		if end != c.end || idle != c.idle || w.End() != end {
			t.Errorf("%s: Open(%d, %d, %d) = %d, %v, want %d, %v",
				c.name, c.m, c.lookahead, c.limit, end, idle, c.end, c.idle)
		}
	}
}

// "An input's time T is strictly after every event that any loop of the lab has run, and not before the end of the
// current window."
func TestInputTime(t *testing.T) {
	var w Windows
	w.Open(100, 50, Never)
	if got := w.InputTime(120); got != 150 {
		t.Errorf("inside the window: %d, want its end, 150", got)
	}
	if got := w.InputTime(170); got != 170 {
		t.Errorf("after the window: %d, want 170", got)
	}
}

func TestLeast(t *testing.T) {
	if got := Least(Report{7, Never, 9}, Report{8, 6, Never}); got != 6 {
		t.Errorf("least %d, want 6", got)
	}
	if got := Least(); got != Never {
		t.Errorf("least of none %d, want never", got)
	}
}
