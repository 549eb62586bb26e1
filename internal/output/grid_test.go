package output_test

import (
	"bytes"
	"strings"
	"testing"

	"labd.dev/internal/output"
)

func printedGrid(t *testing.T, f output.Format, l *output.List) string {
	t.Helper()
	var b bytes.Buffer
	if err := f.Write(&b, l); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// The table shows the brief view, wide and CSV all there is; a note stands beneath its row.
func TestBriefView(t *testing.T) {
	l := &output.List{Columns: []string{"ID", "STATE", "ERROR"}, Brief: &output.Brief{Columns: []string{"ID"}}}
	l.Add(nil, "t1", "done", "")
	l.Brief.Add("", "t1")
	l.Add(nil, "t2", "failed", "reset")
	l.Brief.Add("reset", "t2")
	for format, want := range map[output.Format]string{
		output.Table: "ID\nt1\nt2\n    reset\n",
		output.Wide:  "ID  STATE   ERROR\nt1  done    -\nt2  failed  reset\n",
		output.CSV:   "id,state,error\nt1,done,\nt2,failed,reset\n",
	} {
		if got := printedGrid(t, format, l); got != want {
			t.Errorf("%s: got\n%swant\n%s", format, got, want)
		}
	}
}

// What is wider than 80 columns goes on in the line below, between the things of a list; what would fill a screen is elided.
func TestWideCells(t *testing.T) {
	l := &output.List{Columns: []string{"NAME", "INTERFACES", "UP"}}
	l.Add(nil, "router", "eth0 10.0.0.1/30, eth1 10.0.0.5/30, eth2 10.0.0.9/30, eth3 10.0.0.13/30", "yes")
	const want = `NAME    INTERFACES                                             UP
router  eth0 10.0.0.1/30, eth1 10.0.0.5/30, eth2 10.0.0.9/30,  yes
        eth3 10.0.0.13/30
`
	if got := printedGrid(t, output.Table, l); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	long := &output.List{Columns: []string{"A", "B"}}
	long.Add(nil, "a", strings.Repeat("é", 1000))
	got := printedGrid(t, output.Table, long)
	for line := range strings.Lines(got) {
		if n := len([]rune(line)) - 1; n > output.Columns {
			t.Errorf("a line of %d columns", n)
		}
	}
	if !strings.HasSuffix(got, "…\n") || strings.Count(got, "\n") > 10 {
		t.Errorf("not elided:\n%s", got)
	}
}

// A path longer than a line stays whole, to be copied.
func TestHanging(t *testing.T) {
	path := "/" + strings.Repeat("d", 90)
	for text, want := range map[string]string{
		"short\n":                             "short\n",
		"file: " + path + "\n":                "file:\n  " + path + "\n",
		path + "\n":                           path + "\n",
		strings.Repeat("word ", 17) + "end\n": strings.Repeat("word ", 15) + "word\n  word end\n",
	} {
		if got := output.Hanging(text, 2); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
}

func TestElided(t *testing.T) {
	text := strings.Repeat("é", 81) + "\nab\n"
	if got, want := output.Elided(text), strings.Repeat("é", 79)+"…\nab\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestShortUnits(t *testing.T) {
	for got, want := range map[string]string{
		output.ShortDuration(56_398_000): "56.4ms", output.ShortDuration(999_600): "1ms", output.ShortDuration(0): "0s",
		output.ShortDuration(12_345_678_901): "12.3s", output.ShortDuration(90e9): "1m30s",
		output.ShortRate(999_500): "1mbit", output.ShortRate(7.21e6): "7.21mbit", output.ShortRate(0): "0bit",
		output.ShortRate(5e15): "5000tbit", output.ShortSeconds(273_629_760): "0.274s",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
