package packetdrill

import (
	"errors"
	"strings"
	"testing"

	"go.starlark.net/starlark"
)

// vars are what a block of these tests sees.
func vars() starlark.StringDict {
	return starlark.StringDict{"tcpi_snd_cwnd": starlark.MakeInt(10), "tcpi_rtt": starlark.MakeInt(20500), "tcpi_ca_state": starlark.MakeInt(0), "TCP_CA_Open": starlark.MakeInt(0)}
}

// Python's asserts hold or fail as Python has it; an empty why means that they hold.
func TestCodeBlocks(t *testing.T) {
	for _, c := range []struct{ code, why string }{
		{"assert tcpi_snd_cwnd == 10", ""},
		{"assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd", ""},
		{"assert tcpi_snd_cwnd == 11, tcpi_snd_cwnd", "assert tcpi_snd_cwnd == 11: 10"},
		{"assert(tcpi_snd_cwnd == 10)", ""},
		{"assert (tcpi_snd_cwnd == 11), 'cwnd=%d' % tcpi_snd_cwnd", "assert (tcpi_snd_cwnd == 11): cwnd=10"},
		{"assert 20000 <= tcpi_rtt <= 21000, tcpi_rtt", ""},
		{"assert 20000 <= tcpi_rtt < 20500", "assert 20000 <= tcpi_rtt < 20500"},
		{"assert not 1 <= tcpi_snd_cwnd <= 5 and tcpi_ca_state is TCP_CA_Open", ""},
		{"assert tcpi_snd_cwnd <> 10", "assert tcpi_snd_cwnd <> 10"},
		{"assert tcpi_snd_cwnd in (9, 10) and tcpi_snd_cwnd not in [11]", ""},
		{"assert (tcpi_snd_cwnd == 11, 'a tuple always holds')", ""},
		{"print tcpi_snd_cwnd, 'segments'\nprint(tcpi_rtt)\nassert tcpi_rtt == 1", "assert tcpi_rtt == 1\nprinted: 10 segments\nprinted: 20500"},
		{"# a comment\nx = tcpi_snd_cwnd * 2 # another\nassert x == 20L; assert x % 3 == 2", ""},
		{"assert tcpi_snd_cwnd == \\\n 10", ""},
		{"assert (tcpi_snd_cwnd ==\n   10 and\n   tcpi_rtt > 0)", ""},
		{"if tcpi_snd_cwnd > 5: assert tcpi_rtt > 1\nif tcpi_snd_cwnd > 5:\n  assert tcpi_rtt == 1", "assert tcpi_rtt == 1"},
		{"x = 1\nx += 2\nassert x == 3", ""},
		{"assert abs(tcpi_rtt - 20000) < 1000 if tcpi_snd_cwnd else False", ""},
	} {
		var in interpreter
		err := in.run(c.code, vars())
		var skip *skipError
		switch {
		case errors.As(err, &skip):
			t.Errorf("%q is skipped: %v", c.code, err)
		case c.why == "" && err != nil:
			t.Errorf("%q fails: %v", c.code, err)
		case c.why != "" && (err == nil || err.Error() != c.why):
			t.Errorf("%q: %v, want %s", c.code, err, c.why)
		}
	}
}

// What is not understood, or could take much, is a skip.
func TestCodeBlocksThatAreSkipped(t *testing.T) {
	for _, c := range []struct{ code, why string }{
		{"import math", "code:"},
		{"assert tcpi_of_tomorrow == 1", "undefined: tcpi_of_tomorrow"},
		{"def f(): pass", "functions"},
		{"x = [i for i in range(3)]", "comprehensions"},
		{"x = 'a' * 1000000000", "may become long"},
		{"x = 'abc'.replace('a', 'b')", "attributes"},
		{"while True: pass", "too many steps"},
		{"x = 2\nwhile True:\n  x = x * x", "bits"},
		{"x = 1 << 1000000", "bits"},
		{"for i in range(10): pass", "range is not for code blocks"},
		{"x = 'never ends", "does not end"},
		{"assert f'{tcpi_rtt}'", "code:"},
		{strings.Repeat("x", maxCodeText+1), "more than"},
	} {
		var in interpreter
		err := in.run(c.code, vars())
		var skip *skipError
		if !errors.As(err, &skip) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%.60q: %v, want a skip that says %q", c.code, err, c.why)
		}
	}
}

// A block sees what the ones before it have assigned, as in the one program that the original makes of them.
func TestCodeBlocksShareVariables(t *testing.T) {
	var in interpreter
	for _, code := range []string{"cwnd = tcpi_snd_cwnd", "assert cwnd == tcpi_snd_cwnd", "assert cwnd == 10"} {
		if err := in.run(code, vars()); err != nil {
			t.Errorf("%q: %v", code, err)
		}
	}
}

func FuzzCode(f *testing.F) {
	f.Add("assert 1 < tcpi_rtt < 2, 'x'\nprint tcpi_rtt")
	f.Add("x = (1,\n2)[0] # c\nif x: x += 1\nelse: x = -x")
	f.Fuzz(func(t *testing.T, code string) {
		var in interpreter
		_ = in.run(code, vars())
	})
}
