package checks

import (
	"errors"
	"fmt"
	"slices"

	"go.starlark.net/starlark"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// maxPending bounds the events that wait for theirs at one time.
const maxPending = 10_000

var errTooManyPending = fmt.Errorf("more than %d events wait for what must follow them; ask for fewer, or for a shorter time", maxPending)

// eventually is the verb eventually_within.
type eventually struct {
	after, then *selector // after is nil: the run's beginning
	within      int64
	same        []string

	begun   bool
	pending []pending // by time
	met     uint64
	late    uint64
	missed  []trace.Event // the first that nothing followed in time
	overdue bool          // the run's beginning was followed by nothing in time
	last    int64         // lab time of the newest event
}

// pending is an event that waits for what must follow it.
type pending struct {
	event    trace.Event
	key      []string
	deadline int64
}

func newEventually(v *labv1.EventuallyWithin) (*eventually, error) {
	ev := &eventually{within: v.GetWithinNs(), same: v.GetSame()}
	var err, err2 error
	if v.GetAfter() != nil {
		ev.after, err = newSelector(v.GetAfter())
	}
	ev.then, err2 = newSelector(v.GetThen())
	return ev, errors.Join(err, err2)
}

func (ev *eventually) event(x *session, e *trace.Event) error {
	if !ev.begun && ev.after == nil {
		ev.pending = []pending{{key: make([]string, len(ev.same)), deadline: ev.within}}
	}
	ev.begun, ev.last = true, e.TNs
	ev.expire(e.TNs)
	if len(ev.pending) > 0 {
		ok, err := ev.then.matches(x, e)
		if err != nil {
			return err
		}
		if ok {
			ev.meet(ev.keyOf(e))
		}
	}
	if ev.after == nil {
		return nil
	}
	ok, err := ev.after.matches(x, e)
	if err != nil || !ok {
		return err
	}
	if len(ev.pending) == maxPending {
		return errTooManyPending
	}
	ev.pending = append(ev.pending, pending{event: *e, key: ev.keyOf(e), deadline: e.TNs + ev.within})
	return nil
}

// meet lets all go that waited for such an event.
func (ev *eventually) meet(key []string) {
	before := len(ev.pending)
	ev.pending = slices.DeleteFunc(ev.pending, func(p pending) bool { return ev.after == nil || slices.Equal(p.key, key) })
	ev.met += uint64(before - len(ev.pending))
}

// expire counts those whose time is over.
func (ev *eventually) expire(now int64) {
	n := 0
	for ; n < len(ev.pending) && ev.pending[n].deadline < now; n++ {
		ev.late++
		if ev.after == nil {
			ev.overdue = true
		} else {
			ev.missed = show(ev.missed, &ev.pending[n].event)
		}
	}
	ev.pending = slices.Delete(ev.pending, 0, n)
}

func (ev *eventually) keyOf(e *trace.Event) []string {
	key := make([]string, len(ev.same))
	for i, field := range ev.same {
		if v := fieldOf(e, field); v != starlark.None {
			key[i] = v.String()
		}
	}
	return key
}

// end holds those to it whose time was not over when the run was: nothing can follow any more.
func (ev *eventually) end(r *trace.CheckSummary) {
	ev.expire(int64(1)<<62 - 1)
	r.Events = ev.missed
	switch {
	case ev.after == nil:
		r.OK = ev.met > 0
		r.Got = fmt.Sprintf("%s came within %s", ev.then, seconds(ev.within))
		if !r.OK {
			r.Got = fmt.Sprintf("no %s within %s of the beginning%s", ev.then, seconds(ev.within), ev.then.others())
			r.Events = ev.then.near
		}
	case ev.met+ev.late == 0:
		r.Got = fmt.Sprintf("there is no %s that anything could follow%s", ev.after, ev.after.others())
		r.Events = ev.after.near
	default:
		r.OK = ev.late == 0
		r.Got = fmt.Sprintf("%d of %d %s were followed by %s within %s", ev.met, ev.met+ev.late, ev.after, ev.then, seconds(ev.within))
	}
}
