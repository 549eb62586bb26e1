package orchestrator

import (
	"errors"
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

// Apply carries a committed command out.
func (f *fsm) Apply(entry *raft.Log) any { return f.ApplyBatch([]*raft.Log{entry})[0] }

// ApplyBatch carries out what was committed together. What cannot be carried out for the state's sake is answered with a
// refusal; a command that cannot be understood halts the machine: it applies nothing any more, and its server stops.
func (f *fsm) ApplyBatch(entries []*raft.Log) []any {
	answers := make([]any, len(entries))
	var at []int // of the commands among the entries: servers that come and go are none
	var indexes []uint64
	var cmds []*controlv1.Command
	var malformed error
	for i, entry := range entries {
		if entry.Type != raft.LogCommand || malformed != nil {
			continue
		}
		cmd := &controlv1.Command{}
		if err := proto.Unmarshal(entry.Data, cmd); err != nil {
			malformed = fmt.Errorf("log entry %d: %w", entry.Index, err)
			continue
		}
		at, indexes, cmds = append(at, i), append(indexes, entry.Index), append(cmds, cmd)
	}
	results := f.carryOut(indexes, cmds)
	for n, res := range results {
		answers[at[n]] = res
	}
	if malformed != nil && len(results) == len(cmds) {
		f.halt(malformed)
	}
	for i, entry := range entries {
		if answers[i] == nil && entry.Type == raft.LogCommand {
			answers[i] = f.cause // it has halted
		}
	}
	return answers
}

// carryOut applies commands, up to the one that halts the machine.
func (f *fsm) carryOut(indexes []uint64, cmds []*controlv1.Command) (results []result) {
	if len(cmds) == 0 || f.hasHalted() {
		return nil
	}
	db, _ := f.store.current()
	_ = f.feed.advance(indexes[0], indexes[len(indexes)-1], func() (changes []keptChange, err error) {
		all, done := applyAll(db, indexes, cmds)
		if !done {
			return nil, errApplyEach
		}
		results, changes = all, changesIn(all)
		return changes, nil
	})
	for i := len(results); i < len(cmds) && !f.hasHalted(); i++ {
		err := f.feed.advance(indexes[i], indexes[i], func() (changes []keptChange, err error) {
			res, err := apply(db, indexes[i], cmds[i])
			if err == nil {
				all := []result{res}
				changes = changesIn(all)
				results = append(results, all...)
			}
			return changes, err
		})
		if err != nil {
			f.halt(fmt.Errorf("log entry %d: %w", indexes[i], err))
		}
	}
	return results
}

// errApplyEach says that commands were not applied together.
var errApplyEach = errors.New("each is applied by itself")

// changesIn takes the changes out of results, which need not keep them.
func changesIn(results []result) (changes []keptChange) {
	for i := range results {
		changes, results[i].changes = append(changes, results[i].changes...), nil
	}
	return changes
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
