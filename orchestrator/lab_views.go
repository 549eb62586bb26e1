package orchestrator

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"labd.dev/internal/auth"
	labv1 "labd.dev/proto/lab/v1"
)

// WatchLabs tells of all labs, whole. Those who see the same are told the same message: it is made once for all of them, and
// the workers are asked once for all who watch. A stream that reads slowly is told the newest when it reads again, and not
// what was in between: nothing heaps up for it.

// labsTold bounds what all streams of a view are told of nothing but progress, bytes per second. Where many watch many labs
// whose clocks run, they are told of progress less often; what else changes they are told of at once.
const labsTold = 16 << 20

// labViews are the lists of labs that are watched, by who sees them.
type labViews struct {
	mu    sync.Mutex // guards what is below, and in the views
	views map[auth.Caller]*labView
	look  chan struct{} // holds a token when one waits to be looked at
}

func newLabViews() *labViews {
	return &labViews{views: make(map[auth.Caller]*labView), look: make(chan struct{}, 1)}
}

// labView is the labs as those see them who are alike to labd.
type labView struct {
	watchers map[*labv1.WatchLabsRequest]time.Duration // how often each wants to be told
	shown    *labsShown                                // nil: nobody has looked yet
	next     chan struct{}                             // closed when there is something else to tell
	looked   chan struct{}                             // closed when somebody has looked
}

// labsShown is what a view's watchers are told. It is never changed.
type labsShown struct {
	m     *labv1.WatchLabsResponse
	wire  *labv1.WatchLabsResponse // m, encoded already: it is encoded once for all streams
	firm  *labv1.WatchLabsResponse // without how far the labs are
	index uint64                   // of the state that it was made of, at the least
	at    time.Time                // when it was made
}

// encode makes the message that is sent: its fields are bytes that need only be copied.
func (s *labsShown) encode() error {
	b, err := proto.Marshal(s.m)
	s.wire = &labv1.WatchLabsResponse{}
	s.wire.ProtoReflect().SetUnknown(b)
	return err
}

// eyes are what decides what a caller sees.
func eyes(c auth.Caller) auth.Caller {
	return auth.Caller{Person: c.Person, Role: c.Role, Scope: c.Scope}
}

// join has a view looked at for one more who watches.
func (w *labViews) join(caller auth.Caller, req *labv1.WatchLabsRequest) (*labView, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.views[caller]
	if v == nil {
		v = &labView{watchers: make(map[*labv1.WatchLabsRequest]time.Duration), next: make(chan struct{}), looked: make(chan struct{})}
		w.views[caller] = v
	}
	v.watchers[req] = watchEvery(req.GetIntervalMs())
	return v, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if delete(v.watchers, req); len(v.watchers) == 0 {
			delete(w.views, caller)
		}
	}
}

func (w *labViews) lookSoon() {
	select {
	case w.look <- struct{}{}:
	default:
	}
}

// current is what a view shows, with what is closed when that is something else, and when somebody has looked again.
func (w *labViews) current(v *labView) (shown *labsShown, next, looked <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return v.shown, v.next, v.looked
}

// watched lists the callers whose views are watched, and how often the most impatient wants to be told.
func (w *labViews) watched() (callers []auth.Caller, every time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	every = defaultWatchEvery
	for caller, v := range w.views {
		callers = append(callers, caller)
		every = min(every, v.every())
	}
	return callers, every
}

func (v *labView) every() time.Duration { return slices.Min(slices.Collect(maps.Values(v.watchers))) }

// offer shows a view's watchers what it is now, if they are to be told.
func (w *labViews) offer(caller auth.Caller, now *labsShown) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := w.views[caller]
	switch {
	case v == nil:
		return // nobody watches any more
	case v.shown != nil && !due(v.shown, now, v.every(), len(v.watchers)):
		was := *v.shown
		was.index = now.index
		v.shown = &was // what it tells holds for the newer state as well, but for progress
	default:
		v.shown = now
		close(v.next)
		v.next = make(chan struct{})
	}
	close(v.looked)
	v.looked = make(chan struct{})
}

// due tells whether what there is now is to be told to so many after what was shown them.
func due(was, now *labsShown, every time.Duration, watchers int) bool {
	if !proto.Equal(was.firm, now.firm) {
		return true
	}
	pace := time.Duration(float64(proto.Size(now.m)) * float64(watchers) / labsTold * float64(time.Second))
	return now.at.Sub(was.at) >= max(every, pace) && !proto.Equal(was.m, now.m)
}

// showLabs looks at the views that are watched, for as long as this server leads.
func (l *leadership) showLabs() {
	for {
		callers, every := l.views.watched()
		if len(callers) > 0 {
			l.showTo(callers)
		}
		tick := time.NewTimer(every)
		select {
		case <-tick.C:
		case <-l.views.look:
		case <-l.ctx.Done():
		}
		tick.Stop()
		if l.ctx.Err() != nil {
			return
		}
	}
}

// showTo makes the views of some callers anew.
func (l *leadership) showTo(callers []auth.Caller) {
	if l.c.node.verify() != nil {
		return // this leadership ends soon, and the streams with it
	}
	v, index := l.c.node.fsm.feed.now(l.c.store)
	progress, at := l.progress(l.ctx), time.Now()
	for _, caller := range callers {
		shown := &labsShown{m: &labv1.WatchLabsResponse{}, firm: &labv1.WatchLabsResponse{}, index: index, at: at}
		for _, lab := range v.labsFor(caller) {
			whole := describeLab(l, &grant{caller: caller, lab: lab.LabState, place: lab.place}, progress[lab.GetId()])
			shown.m.Labs = append(shown.m.Labs, whole)
			shown.firm.Labs = append(shown.firm.Labs, with(whole, func(lab *labv1.Lab) { lab.Progress = nil }))
		}
		if err := shown.encode(); err != nil {
			l.c.log.Error("the list of labs cannot be encoded", "error", err)
			return
		}
		l.views.offer(caller, shown)
	}
}

// WatchLabs implements the service.
func (s *watchService) WatchLabs(req *labv1.WatchLabsRequest, out grpc.ServerStreamingServer[labv1.WatchLabsResponse]) error {
	ctx := out.Context()
	l, err := s.c.leader(ctx)
	if err != nil {
		return err
	}
	_, from := s.c.node.fsm.feed.now(s.c.store)
	view, leave := l.views.join(eyes(auth.CallerOf(ctx)), req)
	defer leave()
	return l.tellLabs(ctx, view, from, watchEvery(req.GetIntervalMs()), out.Send)
}

// tellLabs sends what a view shows, from the state of an index on, as often as it is wanted and read.
func (l *leadership) tellLabs(ctx context.Context, view *labView, from uint64, every time.Duration, send func(*labv1.WatchLabsResponse) error) error {
	shown, _, looked := l.views.current(view)
	for shown == nil || shown.index < from {
		l.views.lookSoon()
		if err := until(ctx, l, looked); err != nil {
			return err
		}
		shown, _, looked = l.views.current(view)
	}
	for {
		if err := send(shown.wire); err != nil {
			return err
		}
		wait := time.NewTimer(every)
		err := until(ctx, l, wait.C)
		wait.Stop()
		for told := shown.m; err == nil; {
			var next <-chan struct{}
			if shown, next, _ = l.views.current(view); shown.m != told {
				break
			}
			err = until(ctx, l, next)
		}
		if err != nil {
			return err
		}
	}
}

// until waits for something, as long as a call and a leadership last.
func until[T any](ctx context.Context, l *leadership, done <-chan T) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.ctx.Done():
		return notLeading()
	}
}
