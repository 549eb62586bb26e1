package orchestrator

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/hashicorp/go-memdb"
	"google.golang.org/grpc"

	"labd.dev/internal/auth"
	"labd.dev/internal/sight"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

const (
	// keptChanges is how many changes are kept at the least, and half of how many at most, for watches to be resumed: at 2,000 a
	// second, eight seconds of them, in which a watch finds another server.
	keptChanges = 16_384
	// changesAtOnce bounds one message of a watch.
	changesAtOnce = 256
)

// keptChange is a change with what it is of, before and after it: from that follows who may hear of it.
type keptChange struct {
	*labv1.Change
	before, after any // *controlv1.LabState or *controlv1.RunState; of an input both are the lab or the run
}

// feed keeps the newest changes of the state for those who watch. Every server has the same, as all apply the same log.
type feed struct {
	mu      sync.Mutex // guards what is below, and holds the state and index together
	changes []keptChange
	floor   uint64        // what was changed after this index is kept
	index   uint64        // of the last log entry that was applied
	fresh   bool          // the state was replaced, and of which entry it is is not known yet
	next    chan struct{} // closed at the next entries
}

func newFeed() *feed { return &feed{next: make(chan struct{})} }

// advance applies the entries from one index to another, and keeps what they changed.
func (f *feed) advance(first, last uint64, apply func() ([]keptChange, error)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	changes, err := apply()
	if err != nil {
		return err
	}
	if f.fresh {
		f.floor, f.fresh = first-1, false
	}
	f.index = last
	f.changes = append(f.changes, changes...)
	if len(f.changes) > 2*keptChanges {
		f.cut(len(f.changes) - keptChanges)
	}
	f.wake()
	return nil
}

// cut forgets so many of the oldest changes; an entry's are kept all or not at all.
func (f *feed) cut(over int) {
	f.floor = f.changes[over-1].GetIndex()
	for over < len(f.changes) && f.changes[over].GetIndex() == f.floor {
		over++
	}
	f.changes = slices.Clone(f.changes[over:])
}

// settle tells, after the state was replaced, of which log entry it is. It is called when all of the log is applied.
func (f *feed) settle(index uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fresh {
		f.index, f.fresh = max(f.index, index), false
		f.floor = f.index
	}
}

func (f *feed) wake() {
	close(f.next)
	f.next = make(chan struct{})
}

// restart replaces the state by another, of which it is not known how it came about.
func (f *feed) restart(replace func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	replace()
	f.changes, f.fresh, f.floor = nil, true, f.index
	f.wake()
}

// now gives the state with the index that it is of.
func (f *feed) now(store *Store) (view, uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return store.view(), f.index
}

// after gives the changes after an index, at most so many that an entry's stay together, and up to which index they are all.
// kept is false where not all of them are there any more. next is closed when there are more.
func (f *feed) after(index uint64) (changes []keptChange, upTo uint64, kept bool, next <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if index < f.floor || index > f.index || f.fresh {
		return nil, 0, false, nil
	}
	from, _ := slices.BinarySearchFunc(f.changes, index+1, func(c keptChange, i uint64) int {
		switch {
		case c.GetIndex() < i:
			return -1
		case c.GetIndex() > i:
			return 1
		}
		return 0
	})
	changes = f.changes[from:]
	if len(changes) <= changesAtOnce {
		return slices.Clone(changes), f.index, true, f.next
	}
	end := changesAtOnce
	for end < len(changes) && changes[end].GetIndex() == changes[end-1].GetIndex() {
		end++
	}
	return slices.Clone(changes[:end]), changes[end-1].GetIndex(), true, f.next
}

// changesOf tells what a command changed, for those who watch. How far labs have come is not among it.
func changesOf(v view, kind string, index uint64, made memdb.Changes) []keptChange {
	if kind == "mark_reached" {
		return nil
	}
	var list []keptChange
	for _, m := range made {
		change := keptChange{Change: &labv1.Change{Index: index, Kind: labv1.Change_KIND_CHANGED}, before: m.Before, after: m.After}
		object := m.After
		switch {
		case m.Created():
			change.Kind = labv1.Change_KIND_CREATED
		case m.Deleted():
			change.Kind, object = labv1.Change_KIND_REMOVED, m.Before
		}
		if !describeChange(change.Change, object) {
			continue
		}
		if kind == "append_input" && change.GetObject() != labv1.ObjectKind_OBJECT_KIND_INPUT {
			continue
		}
		if change.GetObject() == labv1.ObjectKind_OBJECT_KIND_INPUT {
			whole := v.whole(change.GetId())
			change.before, change.after = whole, whole
		}
		list = append(list, change)
	}
	return list
}

// whole is the lab or the run of an id.
func (v view) whole(id string) any {
	if lab := v.lab(id); lab != nil {
		return lab
	}
	if run := v.run(id); run != nil {
		return run
	}
	return nil
}

// watchedKey is the key of an object of which those who watch are told; nil: they are not. Of inputs they are as well.
func watchedKey(object any) []any {
	switch o := object.(type) {
	case *controlv1.LabState:
		return []any{o.GetId()}
	case *controlv1.RunState:
		return []any{o.GetId()}
	case *controlv1.WorkerState:
		return []any{o.GetName()}
	}
	return nil
}

// describeChange fills in what an object is; false: it is nothing that is watched.
func describeChange(c *labv1.Change, object any) bool {
	switch o := object.(type) {
	case *controlv1.LabState:
		c.Object, c.Id, c.Name, c.Epoch = labv1.ObjectKind_OBJECT_KIND_LAB, o.GetId(), o.GetSpec().GetName(), o.GetEpoch()
		c.Owner = o.GetOwner()
	case *controlv1.RunState:
		c.Object, c.Id, c.Name, c.Epoch = labv1.ObjectKind_OBJECT_KIND_RUN, o.GetId(), o.GetName(), o.GetEpoch()
		c.Owner = o.GetOwner()
	case *controlv1.InputState:
		c.Object, c.Id, c.Entry = labv1.ObjectKind_OBJECT_KIND_INPUT, o.GetLabId(), o.GetEntry()
		c.By, c.At = o.GetBy(), wallTime(o.GetAtUnixNs())
	case *controlv1.WorkerState:
		c.Object, c.Id = labv1.ObjectKind_OBJECT_KIND_WORKER, o.GetName()
	default:
		return false
	}
	return true
}

// toldTo is a change as a caller hears of it; nil: not at all. What comes to be the caller's to see is made then for the
// caller, what is no longer is removed.
func (c keptChange) toldTo(v view, caller auth.Caller) *labv1.Change {
	if c.GetObject() == labv1.ObjectKind_OBJECT_KIND_WORKER {
		if caller.Role != auth.Admin {
			return nil
		}
		return c.Change
	}
	was, is := v.placeBy(caller, c.before), v.placeBy(caller, c.after)
	told := c.Change
	switch {
	case was == nil && is == nil:
		return nil
	case c.GetObject() == labv1.ObjectKind_OBJECT_KIND_INPUT:
		told = c.inputTo(v, is)
	case was == nil && c.GetKind() == labv1.Change_KIND_CHANGED:
		told = with(c.Change, func(m *labv1.Change) { m.Kind = labv1.Change_KIND_CREATED })
	case is == nil && c.GetKind() == labv1.Change_KIND_CHANGED:
		told = with(c.Change, func(m *labv1.Change) { m.Kind, m.Epoch = labv1.Change_KIND_REMOVED, 0 })
	}
	if run, ok := cmp.Or(c.after, c.before).(*controlv1.RunState); ok && told != nil && run.GetOwner() != "" {
		told = with(told, func(m *labv1.Change) { m.Id = calledBy(caller, run.GetOwner(), runCall(run)) })
	}
	return told
}

// inputTo is a change of a journal as it is seen from a place; nil: not at all.
func (c keptChange) inputTo(v view, place *sight.Place) *labv1.Change {
	lab, ok := c.after.(*controlv1.LabState)
	if !ok {
		return c.Change // a run's, which is seen whole
	}
	entry := place.Entry(presentSpec(lab), c.GetEntry(), v.faultsOf(lab.GetId()))
	switch entry {
	case nil:
		return nil
	case c.GetEntry():
		return c.Change
	}
	return with(c.Change, func(m *labv1.Change) { m.Entry = entry })
}

// placeBy is a caller's place in a lab or a run; nil: none, or there is no such thing.
func (v view) placeBy(caller auth.Caller, object any) *sight.Place {
	switch o := object.(type) {
	case *controlv1.LabState:
		return v.placeIn(caller, o)
	case *controlv1.RunState:
		if mayHaveRun(caller, o) {
			return sight.Whole()
		}
	}
	return nil
}

// there lists what there is, as changes that made it.
func there(v view, caller auth.Caller, lab string, index uint64) []*labv1.Change {
	var list []keptChange
	add := func(object any) {
		c := keptChange{Change: &labv1.Change{Index: index, Kind: labv1.Change_KIND_CREATED}, after: object}
		if describeChange(c.Change, object) {
			list = append(list, c)
		}
	}
	for _, l := range v.labs() {
		add(l)
	}
	for _, r := range v.runs() {
		add(r)
	}
	for _, w := range v.workers() {
		add(w)
	}
	return tell(v, caller, lab, list)
}

// tell lists the changes that a caller hears of; of one lab or run, if it is named.
func tell(v view, caller auth.Caller, lab string, changes []keptChange) []*labv1.Change {
	var list []*labv1.Change
	for _, c := range changes {
		if told := c.toldTo(v, caller); told != nil && (lab == "" || told.GetId() == lab && told.GetObject() != labv1.ObjectKind_OBJECT_KIND_WORKER) {
			list = append(list, told)
		}
	}
	return list
}

// WatchChanges implements the service.
func (s *watchService) WatchChanges(req *labv1.WatchChangesRequest, out grpc.ServerStreamingServer[labv1.WatchChangesResponse]) error {
	l, err := s.c.leader(out.Context())
	if err != nil {
		return err
	}
	at := req.GetAfterIndex()
	if at == 0 {
		v, index := s.c.node.fsm.feed.now(s.c.store)
		m := &labv1.WatchChangesResponse{Index: index, Snapshot: true, Changes: there(v, auth.CallerOf(out.Context()), req.GetLab(), index)}
		if err := out.Send(m); err != nil {
			return err
		}
		at = index
	}
	return l.tellChanges(out.Context(), req.GetLab(), at, out.Send)
}

// indexEvery is after how many entries of the log, of which the caller hears nothing, the caller hears that: well before what
// follows the last index that was told is no longer kept.
const indexEvery = keptChanges / 4

// tellChanges sends what changes after an index, for as long as this server leads.
func (l *leadership) tellChanges(ctx context.Context, lab string, at uint64, send func(*labv1.WatchChangesResponse) error) error {
	caller, told := auth.CallerOf(ctx), at
	for {
		changes, upTo, kept, next := l.c.node.fsm.feed.after(at)
		if !kept {
			return refuse(labv1.ErrorReason_ERROR_REASON_TOO_OLD, "what has changed after index %d is not all kept any more; begin anew", at)
		}
		if m := tell(l.c.store.view(), caller, lab, changes); len(m) > 0 || upTo >= told+indexEvery {
			if err := send(&labv1.WatchChangesResponse{Index: upTo, Changes: m}); err != nil {
				return err
			}
			told = upTo
		}
		if at < upTo {
			at = upTo
			continue // there may be more
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.ctx.Done():
			return notLeading()
		}
	}
}
