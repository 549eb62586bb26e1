package orchestrator

import (
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	controlv1 "labd.dev/proto/control/v1"
)

// fsm is Raft's state machine over the store.
type fsm struct {
	store *Store
	feed  *feed

	mu     sync.Mutex // guards halted's being closed once
	halted chan struct{}
	cause  error // why it halted; read after halted is closed
}

func newFSM(store *Store) *fsm {
	return &fsm{store: store, feed: newFeed(), halted: make(chan struct{})}
}

// Apply carries a committed command out. What cannot be carried out for the state's sake is answered with a refusal; a
// command that cannot be understood halts the machine: it applies nothing any more, and its server stops.
func (f *fsm) Apply(entry *raft.Log) any {
	if f.hasHalted() {
		return f.cause
	}
	var cmd controlv1.Command
	if err := proto.Unmarshal(entry.Data, &cmd); err != nil {
		return f.halt(fmt.Errorf("log entry %d: %w", entry.Index, err))
	}
	db, _ := f.store.current()
	var res result
	err := f.feed.advance(entry.Index, func() (changes []keptChange, err error) {
		res, err = apply(db, entry.Index, &cmd)
		changes, res.changes = res.changes, nil
		return changes, err
	})
	if err != nil {
		return f.halt(fmt.Errorf("log entry %d: %w", entry.Index, err))
	}
	return res
}

func (f *fsm) hasHalted() bool {
	select {
	case <-f.halted:
		return true
	default:
		return false
	}
}

func (f *fsm) halt(cause error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.hasHalted() {
		f.cause = cause
		close(f.halted)
	}
	return cause
}

// Snapshot takes the state as it is; writing it out goes on while further commands are applied.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.hasHalted() {
		return nil, f.cause // the state lacks a committed command
	}
	return &snapshot{view: f.store.view()}, nil
}

// Restore reads a snapshot into a store of its own and swaps it in when it is whole.
func (f *fsm) Restore(from io.ReadCloser) error {
	defer from.Close()
	db, err := readSnapshot(from)
	if err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	f.feed.restart(func() { f.store.replace(db) })
	return nil
}
