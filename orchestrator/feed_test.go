package orchestrator

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	labv1 "labd.dev/proto/lab/v1"
)

// follower follows a cluster's changes as a client does: at one server, and after it is gone at another.
type follower struct {
	t     *testing.T
	after uint64
	seen  []*labv1.Change
}

// follow takes what a server tells, until enough of it has come.
func (f *follower) follow(m *member, enough func([]*labv1.Change) bool) {
	f.t.Helper()
	eventually(f.t, "the changes come", func() bool {
		ctx, cancel := context.WithCancel(f.t.Context())
		defer cancel()
		stream, err := m.watches().WatchChanges(ctx, &labv1.WatchChangesRequest{AfterIndex: f.after})
		for err == nil && !enough(f.seen) {
			var r *labv1.WatchChangesResponse
			if r, err = stream.Recv(); err == nil {
				if r.GetSnapshot() && f.after != 0 {
					f.t.Error("it begins anew though it was resumed")
				}
				f.after, f.seen = r.GetIndex(), append(f.seen, r.GetChanges()...)
			}
		}
		if err != nil && reasonIn(err) == "TOO_OLD" {
			f.t.Fatalf("resumed after %d: %v", f.after, err)
		}
		return enough(f.seen)
	})
}

// made counts the labs that were told to have been made.
func made(n int) func([]*labv1.Change) bool {
	return func(seen []*labv1.Change) bool {
		labs := 0
		for _, c := range seen {
			if c.GetObject() == labv1.ObjectKind_OBJECT_KIND_LAB && c.GetKind() == labv1.Change_KIND_CREATED {
				labs++
			}
		}
		return labs >= n
	}
}

// A watch that goes on at another server after the leader's death tells each change once, in order, and misses none.
func TestChangesOverAFailover(t *testing.T) {
	_, all := three(t)
	leader := leaderOf(t, all)
	f := &follower{t: t}
	if _, err := leader.create("r0", "lab0"); err != nil {
		t.Fatal(err)
	}
	f.follow(others(all, leader)[0], made(1))
	for i := 1; i < 4; i++ {
		if _, err := leader.create(fmt.Sprint("r", i), fmt.Sprint("lab", i)); err != nil {
			t.Fatal(err)
		}
	}
	rest := others(all, leader)
	leader.kill()
	leaderOf(t, rest)
	for i := 4; i < 6; i++ {
		if _, err := rest[0].create(fmt.Sprint("r", i), fmt.Sprint("lab", i)); err != nil {
			t.Fatal(err)
		}
	}
	f.follow(rest[1], made(6))
	var names []string
	last := uint64(0)
	for _, c := range f.seen {
		if c.GetIndex() < last {
			t.Errorf("%v comes after index %d", c, last)
		}
		last = c.GetIndex()
		if c.GetObject() == labv1.ObjectKind_OBJECT_KIND_LAB && c.GetKind() == labv1.Change_KIND_CREATED {
			names = append(names, c.GetName())
		}
	}
	if want := []string{"lab0", "lab1", "lab2", "lab3", "lab4", "lab5"}; !slices.Equal(names, want) {
		t.Errorf("told of %v, want %v", names, want)
	}
}

// What is no longer kept cannot be resumed at.
func TestChangesTooOld(t *testing.T) {
	f := newFeed()
	for i := uint64(1); i <= 3*keptChanges; i++ {
		err := f.advance(i, i, func() ([]keptChange, error) {
			c := keptChange{Change: &labv1.Change{Index: i}}
			return []keptChange{c, c}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := len(f.changes); n < keptChanges || n > 2*keptChanges {
		t.Errorf("%d changes are kept", n)
	}
	if _, _, kept, _ := f.after(f.floor - 1); kept {
		t.Error("what was forgotten is told to be all there")
	}
	if _, _, kept, _ := f.after(f.index + 1); kept {
		t.Error("what is yet to come is told to be there")
	}
	at, told := f.floor, 0
	for at < f.index {
		changes, upTo, kept, _ := f.after(at)
		if !kept || upTo <= at || len(changes) > changesAtOnce+1 {
			t.Fatalf("after %d: %d changes up to %d, kept %v", at, len(changes), upTo, kept)
		}
		for _, c := range changes {
			if told++; c.GetIndex() <= at {
				t.Fatalf("after %d comes %d", at, c.GetIndex())
			}
		}
		at = upTo
	}
	if told != len(f.changes) {
		t.Errorf("%d changes told, want %d", told, len(f.changes))
	}
	f.restart(func() {})
	if _, _, kept, _ := f.after(f.index); kept {
		t.Error("a watch goes on over another state")
	}
	f.settle(f.index + 7)
	if _, upTo, kept, _ := f.after(f.index); !kept || upTo != f.index {
		t.Errorf("after the state was replaced: up to %d, kept %v", upTo, kept)
	}
}

// A state that was given back ends the watches of the one before.
func TestChangesEndWithARestore(t *testing.T) {
	_, all := three(t)
	leader := leaderOf(t, all)
	if _, err := leader.create("r1", "x"); err != nil {
		t.Fatal(err)
	}
	state := readBack(t, leader)
	f := &follower{t: t}
	f.follow(leader, made(1))
	if _, err := give(t, leader, state); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it cannot be resumed", func() bool {
		stream, err := leader.watches().WatchChanges(t.Context(), &labv1.WatchChangesRequest{AfterIndex: f.after})
		if err == nil {
			_, err = stream.Recv()
		}
		if reasonIn(err) == "TOO_OLD" {
			wantReason(t, err, codes.OutOfRange, "TOO_OLD")
			return true
		}
		return false
	})
	anew := &follower{t: t}
	anew.follow(leader, made(1))
}
