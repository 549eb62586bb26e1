package worker

import (
	"testing"
	"testing/synctest"
	"time"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
)

// asks has turns asked for in order, and gives who has one then.
func asks(turns []*place, rank int) []bool {
	has := make([]bool, len(turns))
	for _, t := range turns {
		t.ask(rank)
	}
	for i, t := range turns {
		has[i] = t.has
	}
	return has
}

// However many labs one person has, another's single one gets every second turn.
func TestPersonsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShare(1)
		var all []*place
		for range 100 {
			all = append(all, s.newPlace("many"))
		}
		one := s.newPlace("one")
		all = append(all, one)
		asks(all, inBatch)
		got := 0
		for range 200 {
			time.Sleep(turnLength)
			for _, p := range all {
				if p.has {
					if p == one {
						got++
					}
					p.ran()
					break
				}
			}
		}
		if got < 95 || got > 105 {
			t.Errorf("of 200 turns the person with one lab got %d", got)
		}
	})
}

// One core is left to those who keep up, and who catches up goes before those in batch.
func TestWhoGetsTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShare(2)
		batch := []*place{s.newPlace("a"), s.newPlace("b"), s.newPlace("c")}
		if has := asks(batch, inBatch); !has[0] || !has[1] || has[2] {
			t.Fatalf("of two cores, with nobody to keep one for: %v", has)
		}
		s.keptUp()
		late := s.newPlace("d")
		late.ask(catchingUp)
		for _, b := range batch[:2] {
			time.Sleep(turnLength)
			s.keptUp()
			b.ran()
		}
		if batch[0].has || batch[1].has || batch[2].has || !late.has || s.taken != 1 {
			t.Errorf("one core is kept free: %d turns are taken, the late one has it: %v", s.taken, late.has)
		}
		late.leave()
		if !batch[2].has || s.taken != 1 {
			t.Errorf("then the one that has waited longest: %v", batch[2].has)
		}
		time.Sleep(keptFree)
		if batch[2].ran(); s.taken != 2 {
			t.Error("nobody keeps up any more, and a core is left free still")
		}
		for _, b := range batch {
			b.leave()
		}
		if s.taken != 0 || len(s.waiting[inBatch])+len(s.owners) != 0 {
			t.Errorf("all have left: %d turns are taken, %v", s.taken, s.waiting)
		}
	})
}

// A turn goes on while nobody waits for it.
func TestLoneLabKeepsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newShare(1).newPlace("a")
		p.ask(inBatch)
		for range 10 {
			time.Sleep(turnLength)
			if p.ran(); !p.has {
				t.Fatal("it was given up for nobody")
			}
		}
	})
}

// A lab that waits for its turn answers, and can be stopped.
func TestLabThatWaitsForItsTurn(t *testing.T) {
	b := newBench(t)
	b.share = newShare(1)
	other := b.share.newPlace("other")
	if !other.ask(inBatch) {
		t.Fatal("no turn")
	}
	l := b.start(&workerv1.StartLabRequest{LabId: "l", Spec: twoHosts(), Mode: workerv1.Mode_MODE_RUN, EndNs: 1000 * ms, Journal: journalOf(timed{ms, transfer("t1", 1000)})})
	if p := b.get("l").GetProgress(); p.GetNowNs() != 0 || p.GetEnded() {
		t.Errorf("without a turn it is at %d ns", p.GetNowNs())
	}
	other.leave()
	b.wait(l)
	if p := b.get("l").GetProgress(); !p.GetEnded() || p.GetNowNs() != 1000*ms {
		t.Errorf("with its turn: %v", p)
	}
	other.ask(inBatch)
	<-other.ready // once the first lab has given its turn away
	b.start(&workerv1.StartLabRequest{LabId: "never", Spec: twoHosts(), Mode: workerv1.Mode_MODE_RUN, EndNs: 1000 * ms, Journal: journalOf(timed{ms, transfer("t1", 1000)})})
	if _, err := b.StopLab(t.Context(), &workerv1.StopLabRequest{LabId: "never", Epoch: 0}); err != nil {
		t.Error(err)
	}
	b.share.mu.Lock()
	taken, waiting := b.share.taken, len(b.share.waiting[inBatch])
	b.share.mu.Unlock()
	if taken != 1 || waiting != 0 {
		t.Error("a lab that was stopped waits still")
	}
	other.leave()
}

// A lab on the real clock that was late and has caught up has no turn while it waits for what comes next: here the next request
// of a ping, in an hour.
func TestLabThatHasCaughtUpHasNoTurn(t *testing.T) {
	b := newBench(t)
	b.share = newShare(1)
	l := b.start(standing("l", labv1.Clock_CLOCK_REAL))
	b.input("l", &labv1.Input{Kind: &labv1.Input_Ping{Ping: &labv1.Ping{Id: "p1", From: "client", To: "server", Count: 2, IntervalNs: 3_600_000 * ms}}})
	b.until("l", "only the second request is to come", func(*workerv1.GetLabResponse) (is bool) {
		err := l.do(t.Context(), func() error { is = l.x.now() > 10*sim.Millisecond && l.next() > l.x.now()+sim.Second; return nil })
		return err == nil && is
	})
	if err := l.do(t.Context(), func() error { l.asking = true; l.place.ask(catchingUp); return nil }); err != nil {
		t.Fatal(err)
	}
	other := b.share.newPlace("other")
	other.ask(inBatch)
	select {
	case <-other.ready:
	case <-time.After(2 * time.Minute):
		t.Fatal("it keeps its turn")
	}
	other.leave()
}
