package orchestrator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protodelim"

	controlv1 "labd.dev/proto/control/v1"
)

func filledMachine(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 500 {
		m.apply(fmt.Sprintf("r%d", i), randomCommand(r, i))
	}
	return m
}

func TestSnapshotRoundTrip(t *testing.T) {
	m := filledMachine(t)
	taken := m.bytes()
	fresh := newMachine(t)
	fresh.want("", createLab("forgotten"))
	_, watched := fresh.fsm.store.watchRun("x-1")
	if err := fresh.fsm.Restore(io.NopCloser(bytes.NewReader(taken))); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(fresh.bytes(), taken) {
		t.Fatal("the restored state is another one")
	}
	if err := watched.WatchCtx(t.Context()); err != nil {
		t.Fatalf("a watcher was not woken: %v", err)
	}
	// Both go on alike.
	fresh.index = m.index
	for _, machine := range []*machine{m, fresh} {
		r := rand.New(rand.NewPCG(3, 4))
		for i := range 200 {
			machine.apply(fmt.Sprintf("s%d", i), randomCommand(r, i))
		}
	}
	if !bytes.Equal(fresh.bytes(), m.bytes()) {
		t.Fatal("a restored machine goes on otherwise")
	}
}

// A damaged snapshot is refused as a whole, and the state stays as it was.
func TestDamagedSnapshot(t *testing.T) {
	taken := filledMachine(t).bytes()
	var newer bytes.Buffer
	header := &controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Header{Header: &controlv1.SnapshotHeader{Version: snapshotVersion + 1}}}
	if _, err := protodelim.MarshalTo(&newer, header); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "cut short", nil},
		{"cut in the middle", "cut short", taken[:len(taken)/2]},
		{"cut before its end", "cut short", taken[:len(taken)-3]},
		{"endless length", "cut short", append(bytes.Clone(taken[:8]), 0xff, 0xff, 0xff, 0xff, 0x7f)},
		{"newer", "newer than this labd reads", newer.Bytes()},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			m.want("", createLab("kept"))
			err := m.fsm.Restore(io.NopCloser(bytes.NewReader(c.data)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one with %q", err, c.want)
			}
			if m.fsm.store.view().labNamed("kept") == nil {
				t.Fatal("the state was touched")
			}
		})
	}
	if _, err := readSnapshot(bytes.NewReader(taken[:100])); !errors.Is(err, errSnapshotCut) {
		t.Fatalf("not typed: %v", err)
	}
}
