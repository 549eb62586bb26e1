package orchestrator

import (
	"fmt"
	"slices"
	"time"

	workerv1 "labd.dev/proto/worker/v1"
)

// fault is one of a schedule's.
type fault struct {
	at, lasts time.Duration
	words     string
	begin     func()
	end       func()
}

const (
	// A schedule's faults begin within faultsFor, and most have ended when it and longestFault are over.
	faultsFor    = 20 * time.Second
	longestFault = 12 * time.Second
	// inFlight is in what time most calls are somewhere on their way between the client that has made them and their answer.
	inFlight = 20 * time.Millisecond
	// hanging is what a write takes on a disk that does not answer, as long as it does not.
	hanging = minute
	// minute is for how long a worker may be stopped or cut off: far beyond its lease.
	minute = time.Minute
)

// kinds are the faults that schedules are drawn from, each as often as the others. What a fault hits is settled when it is
// drawn, but for the leader, who is looked for when it comes.
var kinds = []func(*bubble, *fault){
	(*bubble).leaderKilled, (*bubble).serverKilled, (*bubble).diskLost, (*bubble).serverCutOff, (*bubble).leaderCutOff, (*bubble).allCutOff,
	(*bubble).serverDumb, (*bubble).serverDeaf, (*bubble).wayCut, (*bubble).diskSlow, (*bubble).diskFull, (*bubble).recordTorn,
	(*bubble).snapshotTaken, (*bubble).workerKilled, (*bubble).workerStopped, (*bubble).workerCutOff, (*bubble).callsLost,
	(*bubble).clockJumps, (*bubble).leaderStuck,
}

// schedule draws a schedule's faults.
func (c *bubble) schedule() []fault {
	var list []fault
	for range 2 + c.rng.IntN(5) {
		f := fault{at: time.Duration(c.rng.Int64N(int64(faultsFor))), lasts: time.Duration(c.rng.Int64N(int64(longestFault)))}
		kinds[c.rng.IntN(len(kinds))](c, &f)
		list = append(list, f)
	}
	return list
}

func (c *bubble) anyServer() *bubbleServer { return c.servers[c.rng.IntN(len(c.servers))] }

func (c *bubble) anyWorker() string { return fmt.Sprintf("w%d", 1+c.rng.IntN(len(c.workers))) }

// leaderOr is who leads, or a server if nobody does.
func (c *bubble) leaderOr(s *bubbleServer) *bubbleServer {
	if l := c.leader(); l != nil {
		return l
	}
	return s
}

func (c *bubble) others(s *bubbleServer) []string {
	return slices.DeleteFunc(c.addresses(), func(a string) bool { return a == s.address })
}

func (c *bubble) leaderKilled(f *fault) {
	s := c.anyServer()
	f.words, f.begin, f.end = "the leader is killed", func() { s = c.leaderOr(s); s.kill() }, func() { c.startAgain(s) }
}

func (c *bubble) serverKilled(f *fault) {
	s := c.anyServer()
	f.words, f.begin, f.end = "server "+s.address+" is killed", s.kill, func() { c.startAgain(s) }
}

// diskLost comes once in a schedule: what a majority has may be lost when two lose their disks.
func (c *bubble) diskLost(f *fault) {
	if c.lost {
		c.serverKilled(f)
		return
	}
	c.lost = true
	s := c.anyServer()
	f.words, f.begin, f.end = "server "+s.address+" is killed and loses its disk", func() { s.kill(); s.lose() }, func() { c.startAgain(s) }
}

func (c *bubble) serverCutOff(f *fault) {
	s, tells := c.anyServer(), c.rng.IntN(2) == 0
	f.words = "server " + s.address + " and the others do not reach each other"
	c.isolated(f, func() []*bubbleServer { return []*bubbleServer{s} }, tells)
}

func (c *bubble) leaderCutOff(f *fault) {
	s, tells := c.anyServer(), c.rng.IntN(2) == 0
	f.words = "the leader and the others do not reach each other"
	c.isolated(f, func() []*bubbleServer { return []*bubbleServer{c.leaderOr(s)} }, tells)
}

func (c *bubble) allCutOff(f *fault) {
	tells := c.rng.IntN(2) == 0
	f.words = "no server reaches another"
	c.isolated(f, func() []*bubbleServer { return c.servers }, tells)
}

// isolated cuts servers off from all others, and asks them in the end what they say to that.
func (c *bubble) isolated(f *fault, who func() []*bubbleServer, tells bool) {
	var cut []*bubbleServer
	var began time.Time
	f.begin = func() {
		cut, began = who(), time.Now()
		for _, s := range cut {
			c.cutOff(s.address, c.others(s), tells)
		}
	}
	f.end = func() {
		if time.Since(began) >= noticedWithin {
			for _, s := range cut {
				c.askAlone(s)
			}
		}
		for _, s := range cut {
			c.mendAll(s.address, c.others(s))
		}
	}
}

// serverDumb and serverDeaf are cut off in one direction.
func (c *bubble) serverDumb(f *fault) {
	s, tells := c.anyServer(), c.rng.IntN(2) == 0
	f.words = "server " + s.address + " reaches nobody"
	f.begin = func() {
		for _, other := range c.others(s) {
			c.ways.sever(s.address, other, tells)
		}
	}
	f.end = func() {
		for _, other := range c.others(s) {
			c.ways.mend(s.address, other)
		}
	}
}

func (c *bubble) serverDeaf(f *fault) {
	s, tells := c.anyServer(), c.rng.IntN(2) == 0
	f.words = "nobody reaches server " + s.address
	f.begin = func() {
		for _, other := range c.others(s) {
			c.ways.sever(other, s.address, tells)
		}
	}
	f.end = func() {
		for _, other := range c.others(s) {
			c.ways.mend(other, s.address)
		}
	}
}

func (c *bubble) wayCut(f *fault) {
	s := c.anyServer()
	b, tells := c.others(s)[c.rng.IntN(2)], c.rng.IntN(2) == 0
	f.words = fmt.Sprintf("%s does not reach %s", s.address, b)
	f.begin, f.end = func() { c.ways.sever(s.address, b, tells) }, func() { c.ways.mend(s.address, b) }
}

func (c *bubble) diskSlow(f *fault) {
	s, delay := c.anyServer(), time.Duration(10+c.rng.IntN(700))*time.Millisecond
	f.words = fmt.Sprintf("the disk of %s takes %v a write", s.address, delay)
	f.begin, f.end = func() { s.disk.fail(delay, false) }, func() { s.disk.fail(0, false) }
}

// leaderStuck has the leader's machine stand still as far as others can see: its disk hangs, and the other servers do not reach it. It
// cannot notice that it leads no more before its disk answers, while clients ask it.
func (c *bubble) leaderStuck(f *fault) {
	s, tells := c.anyServer(), c.rng.IntN(2) == 0
	f.words = "the leader's disk hangs, and the others do not reach it"
	f.begin = func() {
		s = c.leaderOr(s)
		s.disk.fail(hanging, false)
		c.stir()
		time.Sleep(inFlight) // it is writing when it is cut off
		c.cutOff(s.address, c.others(s), tells)
	}
	f.end = func() {
		s.disk.fail(0, false)
		c.mendAll(s.address, c.others(s))
	}
}

func (c *bubble) diskFull(f *fault) {
	s := c.anyServer()
	f.words = "the disk of " + s.address + " is full"
	f.begin, f.end = func() { s.disk.fail(0, true) }, func() { s.disk.fail(0, false) }
}

// recordTorn has the power fail while a record is on its way to the disk.
func (c *bubble) recordTorn(f *fault) {
	s := c.anyServer()
	part := time.Duration(c.rng.Int64N(int64(diskDelay)))
	f.words = "the power of server " + s.address + " fails in the middle of a write"
	f.begin = func() {
		if !s.up {
			return
		}
		select {
		case <-s.disk.writing():
			time.Sleep(part)
		case <-time.After(longestFault):
		}
		s.kill()
	}
	f.end = func() { c.startAgain(s) }
}

// snapshotTaken has a server write its state out, and cut its log down to the last few entries: who was away then is sent
// the state.
func (c *bubble) snapshotTaken(f *fault) {
	s := c.anyServer()
	f.words, f.end = "server "+s.address+" takes a snapshot", func() {}
	f.begin = s.compact
}

func (c *bubble) workerKilled(f *fault) {
	w := c.anyWorker()
	f.words, f.begin, f.end = "worker "+w+" is killed", func() { c.workers[w].kill() }, func() { c.startWorker(w) }
}

func (c *bubble) workerStopped(f *fault) {
	w := c.anyWorker()
	c.maybeLong(f)
	f.words, f.begin, f.end = "worker "+w+" is stopped", func() { c.workers[w].stop() }, func() { c.workers[w].resume() }
}

func (c *bubble) workerCutOff(f *fault) {
	w, tells := c.anyWorker(), c.rng.IntN(2) == 0
	c.maybeLong(f)
	f.words = "worker " + w + " is cut off"
	f.begin = func() { c.cutOff(w+":1", c.addresses(), tells) }
	f.end = func() { c.mendAll(w+":1", c.addresses()) }
}

// callsLost has the next few calls to workers of a kind get lost: on their way there, or the answers.
func (c *bubble) callsLost(f *fault) {
	method := []string{workerv1.WorkerService_StampInput_FullMethodName, workerv1.WorkerService_CommitInput_FullMethodName,
		workerv1.WorkerService_AbandonInput_FullMethodName, workerv1.WorkerService_StartLab_FullMethodName,
		workerv1.WorkerService_StopLab_FullMethodName}[c.rng.IntN(5)]
	answered, n := c.rng.IntN(2) == 0, 1+c.rng.IntN(5)
	f.words = fmt.Sprintf("the next %d calls of %s are lost (answers only: %t)", n, method, answered)
	f.begin, f.end = func() { c.losses.lose(method, answered, n) }, func() { c.losses.lose(method, answered, 0) }
}

// maybeLong has one in three of a kind's faults last a minute.
func (c *bubble) maybeLong(f *fault) {
	if c.rng.IntN(3) == 0 {
		f.lasts = minute
	}
}

func (c *bubble) clockJumps(f *fault) {
	s, jump := c.anyServer(), time.Hour
	if c.rng.IntN(2) == 0 {
		jump = -jump
	}
	f.words, f.begin, f.end = fmt.Sprintf("the wall clock of %s jumps by %v", s.address, jump), func() { s.jumped.Add(int64(jump)) }, func() {}
}

func (c *bubble) startAgain(s *bubbleServer) {
	if !s.up {
		s.disk.fail(0, false) // it does not start before there is room
		s.start()
	}
}

func (c *bubble) cutOff(address string, from []string, tells bool) {
	for _, other := range from {
		c.ways.sever(address, other, tells)
		c.ways.sever(other, address, tells)
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
		c.stir()
		time.Sleep(time.Duration(c.rng.Int64N(int64(inFlight))))
		c.say("FAULT %s", s.words)
		s.do()
		c.stir()
	}
}

// cutOffSteady cuts off the worker that has the steady lab, for longer than its lease.
func (c *bubble) cutOffSteady() fault {
	f := fault{at: 5 * time.Second, lasts: longestFault}
	for name, w := range c.workers {
		if w.hosts() {
			f.words = "worker " + name + " is cut off"
			f.begin = func() { c.cutOff(w.address(), c.addresses(), true) }
			f.end = func() { c.mendAll(w.address(), c.addresses()) }
		}
	}
	return f
}
