package orchestrator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// fault is one of a schedule's.
type fault struct {
	at, lasts time.Duration
	words     string
	begin     func()
	end       func()
}

// A schedule's faults begin within faultsFor, and have ended when it and longestFault are over.
const (
	faultsFor    = 20 * time.Second
	longestFault = 12 * time.Second
)

// schedule draws a schedule's faults. What a fault hits is settled here, but for the leader, who is looked for when it comes.
func (c *bubble) schedule(rng *rand.Rand) []fault {
	var list []fault
	lost := false
	for range 2 + rng.IntN(5) {
		f := fault{at: time.Duration(rng.Int64N(int64(faultsFor))), lasts: time.Duration(rng.Int64N(int64(longestFault)))}
		kind := rng.IntN(12)
		if kind == 2 && lost {
			kind = 0 // what a majority has may be lost when two lose their disks
		}
		lost = lost || kind == 2
		c.draw(rng, kind, &f)
		list = append(list, f)
	}
	return list
}

// draw makes a fault of a kind.
func (c *bubble) draw(rng *rand.Rand, kind int, f *fault) {
	s, w := c.servers[rng.IntN(3)], fmt.Sprintf("w%d", 1+rng.IntN(3))
	switch kind {
	case 0:
		f.words, f.begin, f.end = "the leader is killed", func() { s = c.stopLeader(s) }, func() { c.startAgain(s) }
	case 1:
		f.words, f.begin, f.end = "server "+s.address+" is killed", s.kill, func() { c.startAgain(s) }
	case 2:
		f.words, f.begin, f.end = "server "+s.address+" is killed and loses its disk", func() { s.kill(); s.lose() }, func() { c.startAgain(s) }
	case 3, 4:
		rest := slices.DeleteFunc(c.addresses(), func(a string) bool { return a == s.address })
		both := kind == 3
		f.words = "server " + s.address + " reaches nobody"
		if both {
			f.words = "server " + s.address + " and the others do not reach each other"
		}
		f.begin = func() { c.cutOff(s.address, rest, both) }
		f.end = func() { c.mendAll(s.address, rest) }
	case 5:
		a, b := s.address, c.servers[rng.IntN(3)].address
		f.words, f.begin, f.end = fmt.Sprintf("%s does not reach %s", a, b), func() { c.ways.sever(a, b) }, func() { c.ways.mend(a, b) }
	case 6:
		delay := time.Duration(10+rng.IntN(700)) * time.Millisecond
		f.words = fmt.Sprintf("the disk of %s takes %v a write", s.address, delay)
		f.begin, f.end = func() { s.disk.fail(delay, false) }, func() { s.disk.fail(0, false) }
	case 7:
		f.words = "the disk of " + s.address + " is full"
		f.begin, f.end = func() { s.disk.fail(0, true) }, func() { s.disk.fail(0, false) }
	case 8:
		f.words, f.begin, f.end = "worker "+w+" is killed", func() { c.workers[w].kill() }, func() { c.startWorker(w) }
	case 9:
		f.words, f.begin, f.end = "worker "+w+" is stopped", func() { c.workers[w].stop() }, func() { c.workers[w].resume() }
	case 10:
		f.words = "worker " + w + " is cut off"
		f.begin = func() { c.cutOff(w+":1", c.addresses(), true) }
		f.end = func() { c.mendAll(w+":1", c.addresses()) }
	default:
		jump := time.Hour
		if rng.IntN(2) == 0 {
			jump = -jump
		}
		f.words, f.begin, f.end = fmt.Sprintf("the wall clock of %s jumps by %v", s.address, jump), func() { s.jumped.Add(int64(jump)) }, func() {}
	}
}

// stopLeader kills the leader, or a server if there is none.
func (c *bubble) stopLeader(otherwise *bubbleServer) *bubbleServer {
	s := c.leader()
	if s == nil {
		s = otherwise
	}
	s.kill()
	return s
}

func (c *bubble) startAgain(s *bubbleServer) {
	if !s.up {
		s.disk.fail(0, false) // it does not start before there is room
		s.start()
	}
}

func (c *bubble) cutOff(address string, from []string, both bool) {
	for _, other := range from {
		c.ways.sever(address, other)
		if both {
			c.ways.sever(other, address)
		}
	}
}

func (c *bubble) mendAll(address string, from []string) {
	for _, other := range from {
		c.ways.mend(address, other)
		c.ways.mend(other, address)
	}
}

// carryOut lets a schedule's faults come and go, one step after the other, until all are over.
func (c *bubble) carryOut(faults []fault) {
	type step struct {
		at    time.Duration
		words string
		do    func()
	}
	var steps []step
	for _, f := range faults {
		steps = append(steps, step{f.at, f.words, f.begin}, step{f.at + f.lasts, "no more: " + f.words, f.end})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return int(a.at - b.at) })
	began := time.Now()
	for _, s := range steps {
		time.Sleep(s.at - time.Since(began))
		c.say("FAULT %s", s.words)
		s.do()
	}
}

// cutOffSteady cuts off the worker that has the steady lab, for longer than its lease.
func (c *bubble) cutOffSteady() fault {
	f := fault{at: 5 * time.Second, lasts: longestFault}
	for name, w := range c.workers {
		w.mu.Lock()
		if len(w.labs) > 0 {
			f.words = "worker " + name + " is cut off"
			f.begin = func() { c.cutOff(w.address(), c.addresses(), true) }
			f.end = func() { c.mendAll(w.address(), c.addresses()) }
		}
		w.mu.Unlock()
	}
	return f
}
