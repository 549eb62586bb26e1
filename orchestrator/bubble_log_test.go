package orchestrator

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// logHistory is what the cluster's log says has happened: all that was committed, applied once more from the first entry on to
// an empty state, with no server, snapshot or compaction between.
type logHistory struct {
	entries []raft.Log
	changes []*labv1.Change
	store   *Store
}

// committed joins what the disks ever had, up to an entry that is committed. Of entries with one index that of the greatest
// term is the committed one: no leader of a later term lacks it (Raft's Leader Completeness).
func (c *bubble) committed(upTo uint64) []raft.Log {
	at := make(map[uint64]raft.Log)
	for _, d := range c.disks {
		d.past.mu.Lock()
		for index, e := range d.past.logs {
			if was, known := at[index]; index <= upTo && (!known || was.Term < e.Term) {
				at[index] = e
			}
		}
		d.past.mu.Unlock()
	}
	var list []raft.Log
	for index := uint64(1); index <= upTo; index++ {
		e, there := at[index]
		if !there {
			c.complain("no disk ever had log entry %d of %d", index, upTo)
			return nil
		}
		list = append(list, e)
	}
	return list
}

func (c *bubble) logHistory(upTo uint64) *logHistory {
	h := &logHistory{entries: c.committed(upTo)}
	var kept []keptChange
	h.store = h.applied(upTo, func(r result) { kept = append(kept, r.changes...) })
	h.changes = tell(h.store.view(), auth.Anybody("", ""), "", kept)
	return h
}

// applied gives the state behind an entry.
func (h *logHistory) applied(upTo uint64, each func(result)) *Store {
	store, err := newStore()
	if err != nil {
		panic(err)
	}
	db, _ := store.current()
	for _, e := range h.entries {
		if e.Type != raft.LogCommand || e.Index > upTo {
			continue
		}
		var cmd controlv1.Command
		if err := proto.Unmarshal(e.Data, &cmd); err != nil {
			panic(err)
		}
		res, err := apply(db, e.Index, &cmd)
		if err != nil {
			panic(err)
		}
		each(res)
	}
	return store
}

// stateAt is what a watch begins with behind an entry.
func (h *logHistory) stateAt(index uint64) []*labv1.Change {
	return there(h.applied(index, func(result) {}).view(), auth.Anybody("", ""), "", index)
}

// stateBytes is all of a state, table by table, and not as a snapshot has it: that may lack something.
func stateBytes(v view) []byte {
	var b []byte
	put := func(m proto.Message) {
		var err error
		if b, err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(append(b, 0xff), m); err != nil {
			panic(err)
		}
	}
	for _, table := range slices.Sorted(maps.Keys(schema().Tables)) {
		b = append(b, table...)
		it, err := v.txn.Get(table, "id")
		if err != nil {
			panic(err)
		}
		for obj := it.Next(); obj != nil; obj = it.Next() {
			switch o := obj.(type) {
			case proto.Message:
				put(o)
			case *journalRow:
				for _, in := range o.inputs {
					put(in)
				}
			case *requestRow:
				for _, r := range o.list {
					put(r)
				}
			default:
				panic(fmt.Sprintf("table %s has a %T", table, obj))
			}
		}
	}
	return b
}

// checkStates complains unless every server has come to the state that the log makes, however it came there: by the log,
// by a snapshot from its disk or by one that it was sent.
func (c *bubble) checkStates() *logHistory {
	leader := c.leader()
	if leader == nil {
		c.complain("nobody leads")
		return nil
	}
	upTo := leader.control.node.raft.AppliedIndex()
	for _, s := range c.servers {
		for until := time.Now().Add(healedWithin); s.control.node.raft.AppliedIndex() < upTo && time.Now().Before(until); {
			time.Sleep(100 * time.Millisecond)
		}
	}
	all := leader.control.node.raft.AppliedIndex() // it may have got further meanwhile, and no server further than that
	h := c.logHistory(all)
	for _, s := range c.servers {
		v, index := s.control.node.fsm.feed.now(s.control.store)
		switch {
		case s.control.node.raft.AppliedIndex() < upTo:
			c.complain("server %s has applied the log up to %d, and there is %d", s.address, s.control.node.raft.AppliedIndex(), upTo)
		case !bytes.Equal(stateBytes(v), stateBytes(h.applied(index, func(result) {}).view())):
			c.complain("server %s has another state at %d than the log makes", s.address, index)
		}
	}
	return h
}
