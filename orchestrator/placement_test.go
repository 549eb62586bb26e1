package orchestrator

import (
	"strings"
	"testing"

	labv1 "labd.dev/proto/lab/v1"
)

func TestPlace(t *testing.T) {
	const mib = 1 << 20
	idle := func(name string) candidate { return candidate{name: name, cores: 1} }
	busy := func(c candidate, events float64) candidate { c.events = events; return c }
	with := func(c candidate, memory, used uint64) candidate { c.memory, c.used = memory*mib, used*mib; return c }
	labs := func(c candidate, n int) candidate { c.labs = n; return c }
	cores := func(c candidate, n uint32) candidate { c.cores = n; return c }
	fresh := func(c candidate, n int) candidate { c.fresh = n; return c }
	disk := func(c candidate, free uint64) candidate { c.disk = free; return c }
	small := need{lab: "x", memory: 10 * mib}
	for _, c := range []struct {
		name string
		need need
		all  []candidate
		want string // the workers, or a part of the error
	}{
		{"none", small, nil, "no worker is up"},
		{"by name", small, []candidate{idle("b"), idle("a")}, "a"},
		{"by load", small, []candidate{busy(idle("a"), 1e6), idle("b")}, "b"},
		{"load is per core", small, []candidate{busy(cores(idle("a"), 8), 2e6), busy(idle("b"), 1e6)}, "a"},
		{"a small difference is noise", small, []candidate{labs(busy(idle("a"), 10), 5), busy(idle("b"), 20)}, "b"},
		{"what was just given counts", small, []candidate{fresh(idle("a"), 1), idle("b")}, "b"},
		{"by memory", small, []candidate{with(idle("a"), 20, 15), with(busy(idle("b"), 1e6), 20, 5)}, "b"},
		{"full disk", small, []candidate{disk(idle("a"), leastDisk-1), disk(idle("b"), leastDisk)}, "b"},
		{"all disks full", small, []candidate{disk(idle("a"), 1)}, "no worker has the 64 MiB of free disk"},
		{"too large", need{lab: "x", memory: 30 * mib}, []candidate{with(idle("a"), 20, 0), with(idle("b"), 10, 0)},
			`lab "x" needs 30 MiB of memory, and worker a, which has the most, has 20 MiB for labs`},
		{"too large now", need{lab: "x", memory: 15 * mib}, []candidate{with(idle("a"), 20, 10), with(idle("b"), 12, 0)},
			`lab "x" needs 15 MiB of memory, and the most that is free now is 12 MiB, at worker b`},
		{"asked for two", need{lab: "x", memory: 10 * mib, workers: 2, parts: 9}, []candidate{idle("a"), busy(idle("b"), 1e6), idle("c")}, "a c"},
		{"asked for more than there are", need{lab: "x", workers: 3}, []candidate{idle("a"), idle("b")}, `lab "x" asks for 3 workers (placement), and 2 take labs now`},
		{"fewer are left than it was on", need{lab: "x", workers: 3, again: true}, []candidate{idle("a"), idle("b")}, "a b"},
		{"one is left of those it was on", need{lab: "x", workers: 3, again: true}, []candidate{idle("a")}, "a"},
		{"none is left of those it was on", need{lab: "x", workers: 3, again: true}, nil, "no worker is up"},
		{"larger than one", need{lab: "x", memory: 30 * mib, parts: 9}, []candidate{with(idle("a"), 20, 0), with(idle("b"), 20, 0), with(idle("c"), 20, 0)}, "a b"},
		{"larger than one, and in one piece", need{lab: "x", memory: 30 * mib, parts: 1}, []candidate{with(idle("a"), 20, 0), with(idle("b"), 20, 0)}, "has 20 MiB for labs"},
	} {
		got, err := place(c.need, c.all)
		if text := strings.Join(got, " "); err == nil && text != c.want {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
		if err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// Labs that are made at once, before any worker has measured the first, are spread.
func TestPlaceSpreadsFreshLabs(t *testing.T) {
	all := []candidate{{name: "a"}, {name: "b"}, {name: "c"}}
	got := map[string]int{}
	for range 300 {
		to, err := place(need{lab: "x"}, all)
		if err != nil {
			t.Fatal(err)
		}
		got[to[0]]++
		for i := range all {
			if all[i].name == to[0] {
				all[i].fresh++
			}
		}
	}
	if got["a"] != 100 || got["b"] != 100 || got["c"] != 100 {
		t.Errorf("placed %v", got)
	}
}

func TestNeedOf(t *testing.T) {
	spec := testSpec("x")
	if n := needOf(spec, nil); n.memory != labMemory+2*nodeMemory+linkMemory || n.lab != "x" || n.parts != 2 || n.workers != 0 {
		t.Errorf("needs %+v", n)
	}
	spec.Budget = &labv1.EventBudget{MemoryBytes: 5}
	if n := needOf(spec, nil); n.memory != 5 {
		t.Errorf("needs %+v with a budget", n)
	}
}
