package orchestrator

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// someCommands are some that change, some that are refused, some that repeat others, and one that is refused after it has
// written.
func someCommands(t *testing.T, rng *rand.Rand) []*raft.Log {
	var entries []*raft.Log
	index, inputs := uint64(0), map[string]uint64{}
	add := func(request string, kind any) {
		data, err := proto.Marshal(command(t, request, kind))
		if err != nil {
			t.Fatal(err)
		}
		index++
		entries = append(entries, &raft.Log{Index: index, Type: raft.LogCommand, Data: data})
		if rng.IntN(20) == 0 {
			index++
			entries = append(entries, &raft.Log{Index: index, Type: raft.LogConfiguration})
		}
	}
	tooMany := &controlv1.CreateRun{Name: "long", Spec: testSpec("long"), Journal: make([]*labv1.JournalEntry, maxInputs+1)}
	for i := range tooMany.Journal {
		tooMany.Journal[i] = &labv1.JournalEntry{}
	}
	names := []string{"x", "y", "z"}
	for n := range 300 {
		name, request := names[rng.IntN(len(names))], string(rune('a'+rng.IntN(200)))
		switch kind := rng.IntN(10); {
		case n == 150:
			add("", tooMany)
		case kind == 0:
			add(request, createLab(name))
			inputs[name] = 0
		case kind == 1:
			add(request, &controlv1.DeleteLab{LabId: name + ".1"})
		case kind == 2:
			add("", &controlv1.AddFile{Sha256: request, SizeBytes: 1})
		default:
			inputs[name]++
			add(request, appendInput(name+".1", 1, inputs[name]))
		}
	}
	return entries
}

// However the log is cut into batches, it comes to the same state, answers and changes.
func TestAppliedTogether(t *testing.T) {
	const seed = 1
	entries := someCommands(t, rand.New(rand.NewPCG(seed, seed)))
	one := newMachine(t)
	var want []any
	for _, e := range entries {
		want = append(want, one.fsm.ApplyBatch([]*raft.Log{e})...)
	}
	changes, _, _, _ := one.fsm.feed.after(0)
	for _, most := range []int{2, 7, 64, len(entries)} {
		rng := rand.New(rand.NewPCG(seed, uint64(most)))
		together := newMachine(t)
		var got []any
		for rest := entries; len(rest) > 0; {
			n := min(1+rng.IntN(most), len(rest))
			got = append(got, together.fsm.ApplyBatch(rest[:n])...)
			rest = rest[n:]
		}
		for i := range want {
			if !sameAnswer(want[i], got[i]) {
				t.Fatalf("up to %d together: entry %d is answered with %v, by itself with %v", most, entries[i].Index, got[i], want[i])
			}
		}
		if !bytes.Equal(one.bytes(), together.bytes()) {
			t.Errorf("up to %d together come to another state", most)
		}
		told, upTo, _, _ := together.fsm.feed.after(0)
		if upTo == 0 || len(told) != len(changes) {
			t.Fatalf("up to %d together: %d changes, by themselves %d", most, len(told), len(changes))
		}
		for i := range told {
			if !proto.Equal(told[i], changes[i]) {
				t.Errorf("up to %d together: change %v, by itself %v", most, told[i], changes[i])
			}
		}
	}
}

func sameAnswer(a, b any) bool {
	x, is := a.(result)
	y, both := b.(result)
	if !is || !both {
		return a == nil && b == nil
	}
	return x.repeated == y.repeated && proto.Equal(x.outcome, y.outcome) && reflect.DeepEqual(x.refused, y.refused)
}

// A command that cannot be understood halts the machine where it stands in a batch: what was before it is done, and nothing
// behind it.
func TestHaltsWithinABatch(t *testing.T) {
	for name, data := range map[string][]byte{"garbage": {0xff, 0xff}, "unknown": {0xfa, 0x3f, 0x00}} {
		m := newMachine(t)
		entries := []*raft.Log{{Index: 1, Type: raft.LogCommand}, {Index: 2, Type: raft.LogCommand, Data: data}, {Index: 3, Type: raft.LogCommand}}
		for i, lab := range map[int]string{0: "x", 2: "y"} {
			b, err := proto.Marshal(command(t, "", createLab(lab)))
			if err != nil {
				t.Fatal(err)
			}
			entries[i].Data = b
		}
		answers := m.fsm.ApplyBatch(entries)
		v := m.fsm.store.view()
		if _, done := answers[0].(result); !done || v.labNamed("", "x") == nil || v.labNamed("", "y") != nil || !m.fsm.hasHalted() {
			t.Errorf("%s: answers %v", name, answers)
		}
		for _, answer := range answers[1:] {
			if err, is := answer.(error); !is || err == nil {
				t.Errorf("%s: answers %v", name, answers)
			}
		}
	}
}
