package worker

import (
	"fmt"
	"runtime/debug"

	"labd.dev/node"
	"labd.dev/sim"
)

// panicError is a panic of a lab's code, caught: it ends that lab and nothing else.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("internal error: %v", e.value) }

// guard runs f and turns a panic into an error.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: debug.Stack()}
		}
	}()
	return f()
}

// parallelLookahead is the least lookahead for which loops get goroutines of their own in a window: below it a window
// holds too few events to pay for waking somebody up (some 5 us each way).
const parallelLookahead = 50 * sim.Microsecond

// executor runs a lab's loops window by window. With several loops and a useful lookahead each runs in a goroutine of
// its own; the result is the same either way.
type executor struct {
	net     *node.Network
	loops   []*sim.Loop
	windows sim.Windows
	// reports, in a lab that is split over workers, is the least of all shards' reports and of their lookaheads; nil: the lab
	// is whole.
	reports func() (least, ahead sim.Time)
	alone   bool        // loops take turns in the caller's goroutine
	inner   sim.Windows // of the loops here, within a window of all shards

	start []chan sim.Time // to the goroutine of each loop but the first, which runs in the caller's
	done  chan error
}

func newExecutor(net *node.Network, loops []*sim.Loop) *executor {
	x := &executor{net: net, loops: loops, done: make(chan error, len(loops))}
	for _, l := range loops[1:] {
		c := make(chan sim.Time)
		x.start = append(x.start, c)
		go func() {
			for end := range c {
				x.done <- guard(func() error { return l.RunBefore(end) })
			}
		}()
	}
	return x
}

// close ends the goroutines.
func (x *executor) close() {
	for _, c := range x.start {
		close(c)
	}
	x.start = nil
}

// now is where the lab has come to: all events before it have been run.
func (x *executor) now() sim.Time { return x.windows.End() }

// window runs one window that does not pass limit.
func (x *executor) window(limit sim.Time) error {
	if x.reports != nil {
		return x.shardWindow(limit)
	}
	ahead := x.net.Lookahead()
	end, idle := x.windows.Open(x.net.Next(), ahead, limit)
	if err := x.runTo(end, !idle && ahead >= parallelLookahead); err != nil {
		return err
	}
	return x.ship()
}

// shardWindow runs a window of all shards, in which the loops here have windows of their own.
func (x *executor) shardWindow(limit sim.Time) error {
	least, ahead := x.reports()
	if least < sim.Never-shardWindow {
		limit = min(limit, least+shardWindow)
	}
	end, _ := x.windows.Open(least, ahead, limit)
	for idle := false; !idle; {
		ahead := x.net.Lookahead()
		var to sim.Time
		to, idle = x.inner.Open(x.net.Next(), ahead, end)
		if err := x.runTo(to, !idle && ahead >= parallelLookahead); err != nil {
			return err
		}
		if err := guard(func() error { x.net.Ship(to); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// runTo runs all loops to a time.
func (x *executor) runTo(end sim.Time, parallel bool) error {
	if parallel && !x.alone && len(x.loops) > 1 {
		return x.parallel(end)
	}
	for _, l := range x.loops {
		if err := guard(func() error { return l.RunBefore(end) }); err != nil {
			return err
		}
	}
	return nil
}

// ship hands over the frames that have left over the cut: at the end of a window, and after inputs, which may send too.
// Until then no window may open, for nothing else tells when those frames arrive.
func (x *executor) ship() error {
	return guard(func() error { x.net.Ship(x.now()); return nil })
}

func (x *executor) parallel(end sim.Time) error {
	for _, c := range x.start {
		c <- end
	}
	err := guard(func() error { return x.loops[0].RunBefore(end) })
	for range x.start {
		if e := <-x.done; err == nil {
			err = e
		}
	}
	return err
}
