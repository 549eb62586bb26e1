package tcpstack

import (
	"sync"

	"labd.dev/sim"
)

// Runner runs code inside the loop that owns a stack. It is how goroutines from outside reach what only the loop may
// touch.
type Runner interface {
	// Do runs f between two events of the loop and returns once it has run. It returns false, without having run f, when
	// the loop has ended. f must not block and must not call Do.
	Do(f func()) bool
	// Ended is closed when the loop has ended.
	Ended() <-chan struct{}
}

// Driver is a Runner for a loop that no lab drives: a goroutine of its own runs the loop's events when their wall time
// comes, so that stacks can be used from an ordinary Go program. The loop belongs to the Driver until Close returns.
type Driver struct {
	loop  *sim.Loop
	pacer *sim.Pacer

	mu    sync.Mutex // guards what follows
	calls []func()
	ended bool
	err   error

	done chan struct{} // closed when the goroutine has ended
}

// NewDriver takes the loop over and starts running it.
func NewDriver(loop *sim.Loop, pace sim.PacerConfig) *Driver {
	d := &Driver{loop: loop, pacer: sim.NewPacer(pace, loop.Now()), done: make(chan struct{})}
	go d.run()
	return d
}

// Do implements Runner.
func (d *Driver) Do(f func()) bool {
	ran := make(chan struct{})
	d.mu.Lock()
	if d.ended {
		d.mu.Unlock()
		return false
	}
	d.calls = append(d.calls, func() { f(); close(ran) })
	d.pacer.Wake() // under the lock: Close frees the pacer after it
	d.mu.Unlock()
	<-ran
	return true
}

// Ended implements Runner.
func (d *Driver) Ended() <-chan struct{} { return d.done }

// Close ends the driver after the calls under way; nothing runs in the loop any more.
func (d *Driver) Close() error {
	d.end(nil)
	<-d.done
	return d.err
}

// end lets no more calls in. The goroutine sees it at its next turn.
func (d *Driver) end(err error) {
	d.mu.Lock()
	if !d.ended {
		d.ended, d.err = true, err
		d.pacer.Wake()
	}
	d.mu.Unlock()
}

func (d *Driver) run() {
	defer close(d.done)
	for {
		d.pacer.Wait(d.loop.Next())
		if err := d.loop.RunBefore(d.pacer.Due() + 1); err != nil { // an event storm, or too much memory
			d.end(err)
		}
		d.mu.Lock()
		calls, ended := d.calls, d.ended
		d.calls = nil
		d.mu.Unlock()
		for _, f := range calls {
			f()
		}
		if ended {
			d.mu.Lock()
			d.pacer.Close()
			d.mu.Unlock()
			return
		}
	}
}
