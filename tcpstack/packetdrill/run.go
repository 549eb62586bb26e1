package packetdrill

import (
	"errors"
	"fmt"

	"labd.dev/sim"
)

// Status is what came of a script.
type Status string

// What may come of a script.
const (
	Pass Status = "pass"
	Fail Status = "fail"
	Skip Status = "skip"
)

// Result is what came of a script, and why and at which line, if it did not pass.
type Result struct {
	File   string `json:"file"`
	Status Status `json:"status"`
	Reason string `json:"reason"`
	Line   int    `json:"line"`
}

// Run runs a script. It never panics, whatever the script holds: a broken
// invariant of the stack is a failure of its script and of no other.
func Run(name string, src []byte, o Options) (res Result) {
	r := &runner{name: name, opts: o}
	defer func() {
		if p := recover(); p != nil {
			res = r.result(fmt.Errorf("panic: %v", p))
		}
	}()
	return r.result(r.run(src))
}

// runner plays a script inside the loop: it is an origin of events of its own,
// the inputs, so that what the script does at an instant comes before what the
// stack's timers do then.
type runner struct {
	name   string
	opts   Options
	script *Script
	g      *settings
	cmp    comparison
	host   *host
	sys    system

	src   sim.Source // of the script's own events: sim.InputOrigin
	timer sim.Timer

	conn  *conn
	ports uint16        // of peers' ports, the next to be used
	sent  []*livePacket // what the stack sent and the script has not looked at
	parts []*livePacket // segments gathered for the outbound event at hand

	next     int // index of the event at hand
	begun    bool
	t        timing // of the event at hand
	last     *Event
	lastAt   sim.Time // script time of the event before
	call     *pending // the call that has not returned
	starting bool     // the event at hand is a call that holds up the script
	pausing  bool     // a shell line sleeps
	resume   sim.Time // until then
	stepping bool
	done     bool
	err      error
	line     int // of err
}

// pending is a system call that has not returned.
type pending struct {
	call *Call
	t    timing // of its return, if it may block
}

// budget ends a script that makes the stack spin: far above what a script needs,
// and a second of wall time.
var budget = sim.Budget{PerLab: 10_000_000, PerSecond: 2_000_000}

// run parses the script and plays it to its end.
func (r *runner) run(src []byte) error {
	s, g, err := r.parse(src)
	if err != nil {
		return err
	}
	r.script, r.g = s, g
	r.cmp = comparison{laxPSH: g.laxPSH, tsTick: g.tsTick, tolerance: g.tolerance}
	r.timer.H = r
	r.ports = firstPeerPort
	if r.host, err = newHost(g, r.opts, r.sniff); err != nil {
		return err
	}
	defer r.host.stack.Shutdown()
	r.host.under = r.under
	r.sys = newSystem(r.host)
	for _, name := range g.initScripts {
		if err := r.sys.Command(&Command{Line: 1, Text: name}); err != nil {
			return err
		}
	}
	if s.Init != nil {
		r.line = s.Init.Line
		if err := r.sys.Command(s.Init); err != nil {
			return err
		}
		r.host.pause = 0 // the script's time begins after it
	}
	loop := r.host.loop
	for r.step(); !r.done; {
		next := loop.Next()
		if next == sim.Never {
			return failf("nothing can happen any more, and the script has not ended")
		}
		if err := loop.RunBefore(next + 1); err != nil {
			return err
		}
	}
	if r.err == nil && s.Cleanup != nil {
		r.line = s.Cleanup.Line
		return r.sys.Command(s.Cleanup)
	}
	return r.err
}

// parse reads the script twice: the symbols that the original's driver defines
// depend on the script's --ip_version.
func (r *runner) parse(src []byte) (*Script, *settings, error) {
	s, err := Parse(r.name, src, r.defines(familyIPv4))
	var g *settings
	if err == nil {
		g, err = newSettings(s, r.opts)
	}
	if err != nil {
		return nil, nil, err
	}
	s, err = Parse(r.name, src, r.defines(g.family))
	return s, g, err
}

// defines are the symbols that a script of a family may use.
func (r *runner) defines(f family) map[string]string {
	d := driverDefines(f)
	for k, v := range r.opts.Defines {
		d[k] = v
	}
	return d
}

// result makes a Result of what run returned.
func (r *runner) result(err error) Result {
	res := Result{File: r.name, Status: Pass}
	if err == nil {
		return res
	}
	res.Status, res.Reason, res.Line = Fail, err.Error(), max(r.line, 1)
	var skip *skipError
	var bad *ParseError
	switch {
	case errors.As(err, &skip):
		res.Status = Skip
		if skip.line != 0 {
			res.Line = skip.line
		}
	case errors.As(err, &bad):
		res.Status, res.Line, res.Reason = Skip, bad.Line, bad.Text
	}
	return res
}

// now is the script's time.
func (r *runner) now() sim.Time { return r.host.loop.Now() - bootTime }

// Fire goes on with the script, at a time that it waited for.
func (r *runner) Fire(sim.Time) { r.step() }

// wake goes on with the script once the event that is running in the stack has
// ended, still at this instant.
func (r *runner) wake() {
	if !r.stepping && !r.done {
		r.host.loop.Arm(&r.timer, &r.src, r.host.loop.Now())
	}
}

// sleep waits for a time of the script.
func (r *runner) sleep(at sim.Time) { r.host.loop.Arm(&r.timer, &r.src, at+bootTime) }

// fail ends the script.
func (r *runner) fail(line int, err error) {
	if !r.done {
		r.done, r.err, r.line = true, err, line
	}
}

// step plays events until one has to wait.
func (r *runner) step() {
	r.stepping = true
	defer func() { r.stepping = false }()
	for !r.done {
		if r.next == len(r.script.Events) {
			r.end()
			return
		}
		e := r.script.Events[r.next]
		if !r.begun {
			r.begin(e)
		}
		ready, err := r.play(e)
		if err != nil {
			r.fail(e.Line, err)
		}
		if !ready {
			return
		}
		r.last, r.lastAt, r.begun = e, r.t.at, false
		r.next++
	}
}

// begin settles when an event is due. Offsets count from the end of the event
// before; but inbound packets that follow one another count from the times that
// the script gives them, as with the original.
func (r *runner) begin(e *Event) {
	r.begun = true
	offset := sim.Time(0)
	if k := e.Time.Kind; e.Time.Relative() || k == TimeAny {
		offset = r.now()
		if r.last != nil && inbound(r.last) && inbound(e) {
			offset = r.lastAt
		}
	}
	r.t = timing{kind: e.Time.Kind, at: e.Time.At + offset, until: e.Time.Until + offset, before: r.lastAt}
	if k := e.Time.Kind; k == TimeAbsolute || k == TimeRelative {
		r.t.until = r.t.at
	}
	if r.last == nil {
		r.t.before = r.t.at // no event before: no tolerance from the time since
	}
}

func inbound(e *Event) bool { return e.Packet != nil && !e.Packet.Outbound }

// play does what an event says, and reports whether it is over.
func (r *runner) play(e *Event) (bool, error) {
	if e.Packet != nil && e.Packet.Outbound {
		return r.outbound(e)
	}
	if r.pausing {
		if r.pausing = r.now() < r.resume; r.pausing {
			r.sleep(r.resume)
		}
		return !r.pausing, nil
	}
	if r.starting {
		return r.returned(e)
	}
	if r.now() < r.t.at {
		r.sleep(r.t.at)
		return false, nil
	}
	if e.Call != nil && r.call != nil {
		return r.returned(e)
	}
	if r.last != nil {
		if err := r.g.check(r.t, r.now(), e.what()); err != nil {
			return false, err
		}
	}
	switch {
	case e.Packet != nil:
		return true, r.inbound(e.Packet)
	case e.Command != nil:
		return r.command(e.Command)
	case e.Code != nil:
		return true, r.sys.Code(e.Code)
	}
	return r.start(e)
}

// command runs a shell line, and waits as long as it sleeps.
func (r *runner) command(c *Command) (bool, error) {
	if err := r.sys.Command(c); err != nil || r.host.pause == 0 {
		return true, err
	}
	r.pausing, r.resume = true, r.now()+r.host.pause
	r.host.pause = 0
	r.sleep(r.resume)
	return false, nil
}

// what is an event in the words of an error.
func (e *Event) what() string {
	switch {
	case e.Packet != nil && e.Packet.Outbound:
		return "outbound packet"
	case e.Packet != nil:
		return "inbound packet"
	case e.Call != nil:
		return "system call"
	case e.Command != nil:
		return "command"
	}
	return "code"
}

// start begins a system call.
func (r *runner) start(e *Event) (bool, error) {
	c := e.Call
	p := &pending{call: c}
	if c.Blocking {
		end := c.End + r.t.at - e.Time.At // by as much as the beginning was moved
		p.t = timing{kind: TimeAbsolute, at: end, until: end, before: r.t.at}
	}
	r.call = p
	r.sys.Call(c, func(err error) { r.finish(p, err) })
	if r.call == nil || c.Blocking {
		return true, nil
	}
	r.starting = true
	r.t.until = r.now() + longestCall
	return r.returned(e)
}

// finish takes in that a call has returned.
func (r *runner) finish(p *pending, err error) {
	r.call = nil
	if err != nil && r.g.nonFatalSyscalls && !errors.As(err, new(*skipError)) {
		err = nil
	}
	if err == nil && p.call.Blocking {
		err = r.g.check(p.t, r.now(), "the return of "+p.call.Name)
	}
	if err != nil {
		r.fail(p.call.Line, err)
	}
	r.wake()
}

const (
	// longestCall bounds how long a call without an end time may hold up the
	// script; the original's driver gives up on a script after as long.
	longestCall = 180 * sim.Second
	// callGrace is how long a call waits for the blocking one before it
	// (the original: MAX_WAIT_SECS).
	callGrace = sim.Second
)

// returned waits for the call that is under way.
func (r *runner) returned(e *Event) (bool, error) {
	if r.call == nil {
		over := r.starting
		r.starting = false
		if !over {
			return r.play(e)
		}
		return true, nil
	}
	limit := r.t.until
	if !r.starting {
		limit = max(limit, r.call.t.at+sim.Time(r.g.tolerance)) + callGrace
	}
	if r.now() >= limit {
		r.fail(r.call.call.Line, failf("%s has not returned by %s", r.call.call.Name, secs(r.now())))
		return false, nil
	}
	r.sleep(limit)
	return false, nil
}

// end ends the script, which a blocking call may hold up for a while.
func (r *runner) end() {
	if r.call == nil {
		r.done = true
		return
	}
	limit := r.call.t.at + sim.Time(r.g.tolerance) + callGrace
	if r.now() >= limit {
		r.fail(r.call.call.Line, failf("%s has not returned by the script's end", r.call.call.Name))
		return
	}
	r.sleep(limit)
}
