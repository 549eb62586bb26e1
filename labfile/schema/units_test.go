package schema

import (
	"strings"
	"testing"
)

func TestQuantities(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64
		err  string
	}{
		{"10ms", 10e6, ""}, {"1.5s", 1.5e9, ""}, {"0s", 0, ""}, {"-1us", -1000, ""}, {"2 h", 7200e9, ""}, {".5us", 500, ""},
		{"9223372036s", 9223372036e9, ""},
		{"10", 0, "has no unit"},
		{"0.5ns", 0, "finer than 1 ns"},
		{"9223372037s", 0, "too large"},
		{"10 parsecs", 0, `unknown unit "parsecs"`},
		{"10MS", 0, `did you mean "10ms"?`},
		{"ms", 0, "not a duration"},
		{"", 0, "not a duration"},
		{"1.2.3s", 0, "not a duration"},
		{"1e9s", 0, `unknown unit "e9s"`},
		{strings.Repeat("9", 1000) + "s", 0, "not a duration"},
	} {
		got, err := ParseDuration(c.text)
		if c.err == "" && (err != nil || got != c.want) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%.40q: %d, %v; want %d, %q", c.text, got, err, c.want, c.err)
		}
	}
	for text, want := range map[string]uint64{"1kbit": 1000, "0.5gbit": 5e8} {
		if got, err := ParseRate(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for text, want := range map[string]uint64{"1kB": 1000, "1KiB": 1024, "1.5MiB": 1.5 * (1 << 20)} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"0bit", "0.0mbit"} {
		if _, err := ParseRate(text); err == nil || !strings.Contains(err.Error(), "is no rate") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"0p", "0B", "0KiB"} {
		if _, _, err := ParseLimit(text); err == nil || !strings.Contains(err.Error(), "is no limit") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := ParseSize("-1B"); err == nil {
		t.Error("a negative size is none")
	}
	for text, want := range map[string]float64{"1%": 0.01, "0.01%": 0.0001, "150%": 1.5, "-1%": -0.01, "100%": 1} {
		if got, err := ParseChance(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if packets, bytes, err := ParseLimit("100p"); packets != 100 || bytes != 0 || err != nil {
		t.Errorf("100p: %d, %d, %v", packets, bytes, err)
	}
	if packets, bytes, err := ParseLimit("64KiB"); packets != 0 || bytes != 65536 || err != nil {
		t.Errorf("64KiB: %d, %d, %v", packets, bytes, err)
	}
}
