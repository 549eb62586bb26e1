package tcpstack

import (
	"testing"

	"labd.dev/sim"
)

// pathRun sends n bytes from client to server over a path whose frames fate displaces or delays, and returns what the
// sender's tcp_info says then.
func pathRun(t *testing.T, cfg TCPConfig, n int, fate func(n uint64, now sim.Time) sim.Time) (i Info, undone int) {
	t.Helper()
	p := newTCPPair(t, [2]Config{}, 10*sim.Millisecond)
	p.pipe[0].fate = func(n uint64, _ *sim.Frame) (bool, sim.Time, int) { return false, fate(n, p.loop.Now()), 0 }
	rec := sim.NewRecorder(64, func(recs []sim.Record) {
		seen.note(recs)
		for i := range recs {
			if recs[i].Kind == KindTCPRecoveryUndone {
				undone++
			}
		}
	})
	p.loop.Rec = rec
	a := &peer{t: t, out: pattern(n, 1)}
	b := &peer{t: t}
	p.connect(cfg, a, b)
	p.run(60 * sim.Second)
	rec.Flush()
	if b.in.Len() != n {
		t.Fatalf("%d of %d bytes arrived", b.in.Len(), n)
	}
	i = a.c.Info()
	p.teardown()
	return i, undone
}

// RFC 8985 6.2 (4): once reordering has been seen, a displacement below the reordering window, a quarter of the least
// round-trip time, makes no false retransmission. Counting, without RACK, makes many until it has learnt the distance.
func TestLawReorderingWithinTheWindow(t *testing.T) {
	displaced := func(n uint64, _ sim.Time) sim.Time {
		if n%23 == 0 && n > 10 {
			return 4 * sim.Millisecond // of 5
		}
		return 0
	}
	i, _ := pathRun(t, TCPConfig{SendBuffer: 128 << 10, RecvBuffer: 128 << 10}, 3_000_000, displaced)
	if i.TotalRetrans > 1 || i.ReordSeen < 20 {
		t.Errorf("%d retransmissions, reordering seen %d times", i.TotalRetrans, i.ReordSeen)
	}
}

// RFC 3522, RFC 5682: a timeout that a sudden delay makes is found to be spurious, by timestamps or without, and the window
// comes back. With both off it does not.
func TestLawSpuriousTimeoutIsUndone(t *testing.T) {
	off, on := false, true
	for _, c := range []struct {
		name        string
		eifel, frto *bool
		undone      bool
	}{{"eifel", &on, &off, true}, {"frto", &off, &on, true}, {"off", &off, &off, false}} {
		t.Run(c.name, func(t *testing.T) {
			cfg := TCPConfig{Eifel: c.eifel, FRTO: c.frto, DSACKUndo: &off, TLP: &off, SendBuffer: 1 << 20, RecvBuffer: 1 << 20}
			// From 100 ms on all stands still until 600 ms.
			i, undone := pathRun(t, cfg, 3_000_000, func(_ uint64, now sim.Time) sim.Time {
				if now < 100*sim.Millisecond {
					return 0
				}
				return max(0, 600*sim.Millisecond-now)
			})
			if i.TotalRTO == 0 || (undone > 0) != c.undone || (i.SndSSThresh == ssthreshUnset) != c.undone {
				t.Errorf("%d timeouts, %d undone, ssthresh %d", i.TotalRTO, undone, i.SndSSThresh)
			}
		})
	}
}

// The switches reordering and maxReordering bound what is learnt: tcp_reordering, tcp_max_reordering.
func TestReorderingBounds(t *testing.T) {
	four := uint32(4)
	for _, c := range []struct {
		most *uint32
		want uint32
	}{{nil, 8}, {&four, 4}} {
		x := flight(t, TCPConfig{MaxReordering: c.most}, "sackok", 10)
		x.later(20*sim.Millisecond, "A seq=101 ack=1001 sack=8001-9001")
		x.later(sim.Millisecond, "A seq=101 ack=2001 sack=8001-9001") // 8 segments late
		if i := x.c.Info(); i.Reordering != c.want || i.ReordSeen != 1 {
			t.Errorf("reordering %d seen %d times", i.Reordering, i.ReordSeen)
		}
		x.send("A seq=101 ack=11001")
	}
}

// RFC 9293 3.8.6 (MUST-34): data in flight over which the window was closed is sent again as a probe, for as long as the
// peer answers.
func TestWindowClosedOverData(t *testing.T) {
	two := uint32(2)
	x := flight(t, TCPConfig{DataRetries: &two}, "sackok", 2)
	x.later(20*sim.Millisecond, "A seq=101 ack=1001 win=0")
	for range 6 {
		x.advance(121 * sim.Second)
		if len(x.out) == 0 || x.c.State() != StateEstablished {
			t.Fatalf("%d segments, %v", len(x.out), x.c.State())
		}
		x.out = nil
		x.send("A seq=101 ack=1001 win=0")
	}
	x.send("A seq=101 ack=3001")
	x.out = nil
}
