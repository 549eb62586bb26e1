package cut

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

const ms = int64(sim.Millisecond)

func node(name string, kind labv1.NodeKind) *labv1.NodeSpec {
	return &labv1.NodeSpec{Name: name, Kind: kind}
}

func joined(a, b string, rate uint64, delay int64) *labv1.LinkSpec {
	d := &labv1.DirectionSpec{RateBps: rate, DelayNs: delay}
	return &labv1.LinkSpec{A: &labv1.Endpoint{Node: a}, B: &labv1.Endpoint{Node: b}, Forward: d, Reverse: d}
}

// random is a connected lab of routers with hosts around them, and a journal that changes some delays.
func random(r *rand.Rand) (*labv1.LabSpec, []*labv1.JournalEntry) {
	spec := &labv1.LabSpec{}
	routers := 1 + r.IntN(12)
	delay := func() int64 {
		if r.IntN(4) == 0 {
			return 0
		}
		return int64(1+r.IntN(20)) * ms
	}
	for i := range routers {
		spec.Nodes = append(spec.Nodes, node(fmt.Sprintf("r%02d", i), labv1.NodeKind(2+r.IntN(2))))
		if i > 0 {
			spec.Links = append(spec.Links, joined(fmt.Sprintf("r%02d", r.IntN(i)), fmt.Sprintf("r%02d", i), uint64(r.IntN(20))*1e9, delay()))
		}
	}
	for i := range r.IntN(40) {
		name := fmt.Sprintf("h%02d", i)
		spec.Nodes = append(spec.Nodes, node(name, labv1.NodeKind_NODE_KIND_HOST))
		l := joined(name, fmt.Sprintf("r%02d", r.IntN(routers)), uint64(1+r.IntN(10))*1e8, delay())
		if r.IntN(6) == 0 {
			l.Reverse = &labv1.DirectionSpec{RateBps: 1e8, DelayNs: l.Forward.DelayNs, Jitter: &labv1.Jitter{
				AmountNs: l.Forward.DelayNs / 4, Distribution: labv1.Distribution_DISTRIBUTION_NORMAL}}
		}
		spec.Links = append(spec.Links, l)
	}
	var journal []*labv1.JournalEntry
	for i := 0; len(spec.Links) > 0 && i < r.IntN(4); i++ {
		l := spec.Links[r.IntN(len(spec.Links))]
		in := &labv1.Input{Kind: &labv1.Input_Fault{Fault: &labv1.Fault{
			Link: l.A.Node + "--" + l.B.Node, Effect: &labv1.Fault_DelayNs{DelayNs: delay()}}}}
		if r.IntN(2) == 0 {
			in = &labv1.Input{Kind: &labv1.Input_LinkSet{LinkSet: &labv1.LinkSet{
				Link: l.B.Node + "->" + l.A.Node, Patch: &labv1.DirectionPatch{DelayNs: ptr(delay())}}}}
		}
		journal = append(journal, &labv1.JournalEntry{Index: uint64(len(journal) + 1), Input: in})
	}
	return spec, journal
}

// "A pure, deterministic function": every node in one shard, no shard without, nothing cut that may have no delay, now or
// by an input, the same however the file is ordered; where it cannot be done the error names the links.
func TestShardsOfRandomLabs(t *testing.T) {
	for seed := range uint64(800) {
		r := rand.New(rand.NewPCG(seed, 1))
		spec, journal := random(r)
		n := 1 + r.IntN(6)
		shards, err := Shards(spec, journal, n)
		if most := Most(spec, journal); (err != nil) != (most < n) {
			t.Fatalf("seed %d: %d shards, at most %d: %v", seed, n, most, err)
		}
		if err != nil {
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Possible >= n || e.Nodes >= n && len(e.Links) == 0 {
				t.Fatalf("seed %d: %v", seed, err)
			}
			continue
		}
		var all []string
		for _, s := range shards {
			if len(s) == 0 || !slices.IsSorted(s) {
				t.Fatalf("seed %d: shard %v", seed, s)
			}
			all = append(all, s...)
		}
		if slices.Sort(all); len(slices.Compact(all)) != len(spec.Nodes) || len(shards) != n {
			t.Fatalf("seed %d: %v", seed, shards)
		}
		if link, ok := Holds(spec, journal, shards); !ok {
			t.Fatalf("seed %d: cut at %s", seed, link)
		}
		r.Shuffle(len(spec.Nodes), func(i, j int) { spec.Nodes[i], spec.Nodes[j] = spec.Nodes[j], spec.Nodes[i] })
		if again, _ := Shards(spec, journal, n); fmt.Sprint(again) != fmt.Sprint(shards) {
			t.Fatalf("seed %d: %v, with the nodes in another order %v", seed, shards, again)
		}
	}
}

// No split of a small lab is much better than the one found: neither its lookahead nor its balance.
func TestCostIsNearTheBest(t *testing.T) {
	worst := 1.0
	for seed := range uint64(600) {
		r := rand.New(rand.NewPCG(seed, 2))
		spec, journal := random(r)
		if len(spec.Nodes) > 11 {
			continue
		}
		l := read(spec, journal)
		n := 2 + r.IntN(2)
		part := l.graph.Parts(n)
		if parts(part) < n {
			continue
		}
		found, best := l.graph.cost(part, n), l.graph.bestCost(n)
		worst = max(worst, found/best)
		if found > 2*best {
			t.Errorf("seed %d: %d parts cost %.0f, the best %.0f: %v", seed, n, found, best, part)
		}
	}
	t.Logf("the worst is %.2f times the best", worst)
}

// bestCost tries all splits.
func (g *Graph) bestCost(n int) float64 {
	part := make([]int, len(g.Work))
	best := -1.0
	for {
		if g.Lookahead(part) > 0 && used(part, n) == n {
			if c := g.cost(part, n); best < 0 || c < best {
				best = c
			}
		}
		i := 0
		for ; i < len(part); i++ {
			if part[i]++; part[i] < n {
				break
			}
			part[i] = 0
		}
		if i == len(part) {
			return best
		}
	}
}

func used(part []int, n int) (count int) {
	for p := range n {
		if slices.Contains(part, p) {
			count++
		}
	}
	return count
}

// Three sites with links of 10 ms between them are three shards, though everything in them could be cut too.
func TestSitesAreShards(t *testing.T) {
	spec := &labv1.LabSpec{}
	for s := range 3 {
		router := fmt.Sprintf("r%d", s)
		spec.Nodes = append(spec.Nodes, node(router, labv1.NodeKind_NODE_KIND_ROUTER))
		for i := range 20 {
			a, b := fmt.Sprintf("a%d-%02d", s, i), fmt.Sprintf("b%d-%02d", s, i)
			spec.Nodes = append(spec.Nodes, node(a, 0), node(b, 0))
			spec.Links = append(spec.Links, joined(a, router, 1e9, ms), joined(b, router, 1e9, ms))
		}
	}
	for _, ends := range [][2]string{{"r0", "r1"}, {"r1", "r2"}, {"r2", "r0"}} {
		spec.Links = append(spec.Links, joined(ends[0], ends[1], 10e9, 10*ms))
	}
	shards, err := Shards(spec, nil, 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range shards {
		if len(s) != 41 || s[0][1] != s[40][1] {
			t.Errorf("shard %v", s)
		}
	}
}

// Where nothing crosses, only the load decides: the heaviest shard is at most four thirds of the best possible (Graham 1969,
// longest processing time first).
func TestBalance(t *testing.T) {
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 3))
		n := 2 + r.IntN(6)
		g := Graph{}
		for range n + r.IntN(40) {
			g.Work = append(g.Work, 1+r.Int64N(1000))
		}
		work := make([]int64, n)
		for i, p := range g.Parts(n) {
			work[p] += g.Work[i]
		}
		least := max((sum(g.Work)+int64(n)-1)/int64(n), slices.Max(g.Work))
		if big := slices.Sorted(slices.Values(g.Work)); len(big) > n {
			least = max(least, big[len(big)-n]+big[len(big)-n-1]) // two of the n+1 largest share a part
		}
		if heaviest := slices.Max(work); 3*heaviest > 4*least {
			t.Errorf("seed %d: a shard of %d, the best is at least %d: %v", seed, heaviest, least, work)
		}
	}
}

// "Refused with an error that names the links that prevent it."
func TestErrorNamesTheLinks(t *testing.T) {
	spec := &labv1.LabSpec{
		Nodes: []*labv1.NodeSpec{node("a", 0), node("b", 2), node("c", 2), node("d", 0)},
		Links: []*labv1.LinkSpec{joined("a", "b", 1e9, ms), joined("b", "c", 1e9, 0), joined("c", "d", 1e9, 2*ms)},
	}
	spec.Links[2].Reverse = &labv1.DirectionSpec{DelayNs: 2 * ms, Jitter: &labv1.Jitter{
		AmountNs: ms, Distribution: labv1.Distribution_DISTRIBUTION_NORMAL}}
	if _, err := Shards(spec, nil, 2); err != nil {
		t.Fatal(err)
	}
	_, err := Shards(spec, nil, 3)
	for _, want := range []string{"over 3 workers", "only over 2", "b--c (no delay)", "c--d (jitter may take 4ms off its delay of 2ms)"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: no %q", err, want)
		}
	}
	zero := &labv1.JournalEntry{Index: 4, Input: &labv1.Input{Kind: &labv1.Input_LinkSet{LinkSet: &labv1.LinkSet{
		Link: "a:eth0--b:eth0", Patch: &labv1.DirectionPatch{DelayNs: ptr(int64(0))}}}}}
	if _, err := Shards(spec, []*labv1.JournalEntry{zero}, 2); err == nil || !strings.Contains(err.Error(), "a--b (no delay, by input 4)") {
		t.Error(err)
	}
	if _, err := Shards(spec, nil, 5); err == nil || !strings.Contains(err.Error(), "it has 4 nodes") {
		t.Error(err)
	}
}

// A lab of ten thousand nodes is cut in a moment.
func BenchmarkShards(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 4))
	spec := &labv1.LabSpec{}
	for i := range 10_000 {
		spec.Nodes = append(spec.Nodes, node(fmt.Sprintf("n%05d", i), 2))
		for j := 0; i > 0 && j < 2; j++ {
			spec.Links = append(spec.Links, joined(fmt.Sprintf("n%05d", r.IntN(i)), fmt.Sprintf("n%05d", i), 1e9, r.Int64N(20*ms)))
		}
	}
	for b.Loop() {
		if _, err := Shards(spec, nil, 100); err != nil {
			b.Fatal(err)
		}
	}
}
