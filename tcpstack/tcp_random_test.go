package tcpstack

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"labd.dev/sim"
)

// A path that loses, delays, reorders, doubles and corrupts: every byte arrives once and in order, both ends close, and
// nothing leaks. The seed of a failing run is in its name.
func TestRandomPaths(t *testing.T) {
	for seed := range uint64(700) {
		t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) { randomPath(t, seed, nil) })
	}
}

// randomPath runs one of them; look, if there is one, sees the pair before it starts, and may do something to each frame
// that arrives.
func randomPath(t *testing.T, seed uint64, look func(p *tcpPair) (arrives func(*sim.Frame))) {
	dice := sim.NewStream(seed, "random paths")
	draw := uint64(0)
	below := func(n uint64) uint64 { draw++; return dice.Below(draw, n) }
	on, off := true, false
	choose := func() *bool {
		if below(3) == 0 {
			return &off
		}
		return &on
	}
	cfg := TCPConfig{SACK: choose(), Timestamps: choose(), WindowScaling: choose(), Nagle: choose(), QuickACK: choose(),
		FastRetransmit: choose(), Congestion: []string{"cubic", "reno"}[below(2)],
		SendBuffer: 4096 << below(7), RecvBuffer: 4096 << below(7), MSS: []uint32{0, 100, 536, 1000}[below(4)]}
	if below(4) == 0 {
		d := sim.Time(below(3)) * 100 * sim.Millisecond
		cfg.DelayedACK = &d
	}
	mode := Config{Checksums: ChecksumMode(below(2))}
	p := newTCPPair(t, [2]Config{mode, mode}, sim.Time(below(50_000_000)))
	if seed%4 == 3 {
		p.useIPv6()
	}
	loss, reorder, double, corrupt := below(100), below(200), below(50), below(20)
	if below(4) == 0 {
		loss *= 3
	}
	arrives := func(*sim.Frame) {}
	if look != nil {
		arrives = look(p)
	}
	for i := range p.pipe {
		w := sim.NewStream(seed, fmt.Sprint("pipe ", i))
		p.pipe[i].fate = func(n uint64, f *sim.Frame) (drop bool, extra sim.Time, copies int) {
			if p.loop.Now() > 300*sim.Second { // the path becomes good, so that every run ends
				arrives(f)
				return false, 0, 0
			}
			if w.Below(5*n+3, 1000) < corrupt {
				f.Flip(int(w.Below(5*n+4, uint64(f.Len()*8))))
			}
			if w.Below(5*n+1, 1000) < reorder {
				extra = sim.Time(w.Below(5*n+2, 30_000_000))
			}
			if w.Below(5*n, 1000) < double {
				copies = 1
			}
			arrives(f)
			return w.Below(5*n+5, 1000) < loss, extra, copies
		}
	}
	ab, ba := pattern(int(below(200_000)), 1), pattern(int(below(50_000)), 2)
	a := &peer{t: t, out: bytes.Clone(ab), closeOut: true, closeEOF: true}
	b := &peer{t: t, out: bytes.Clone(ba), closeOut: below(2) == 0, closeEOF: true}
	p.connect(cfg, a, b)
	for range 2000 {
		p.run(sim.Second)
		if a.closed && (b.closed || b.c == nil) {
			break
		}
		check(t, p)
	}
	if a.err == nil && b.err == nil && (!bytes.Equal(b.in.Bytes(), ab) || !bytes.Equal(a.in.Bytes(), ba)) {
		t.Errorf("got %d of %d and %d of %d bytes, or wrong ones", b.in.Len(), len(ab), a.in.Len(), len(ba))
	}
	if !bytes.HasPrefix(ab, b.in.Bytes()) || !bytes.HasPrefix(ba, a.in.Bytes()) {
		t.Error("wrong bytes were delivered")
	}
	// The other end may never have heard of it, or have given up: an orphan is not kept for long.
	if gaveUp := errors.Is(a.err, ErrTimeout) || errors.Is(b.err, ErrTimeout); !gaveUp && (!a.closed || b.c != nil && !b.closed) {
		t.Errorf("not closed: %+v %v; %+v %v", a.c.Info(), a.c.State(), b.heard, b.c)
	}
	p.teardown()
}

// check asserts what holds at any time.
func check(t *testing.T, p *tcpPair) {
	t.Helper()
	for _, s := range p.stack {
		for _, c := range s.Conns() {
			if c.Unacked() > int(c.sndBuf) {
				t.Fatalf("%d bytes in a send buffer of %d", c.Unacked(), c.sndBuf)
			}
			if c.Buffered() > int(c.set.rcvBuf)+1<<c.rcvWscale {
				t.Fatalf("%d bytes in a receive buffer of %d", c.Buffered(), c.set.rcvBuf)
			}
			if q := c.rtx; q != nil {
				var sacked, lost, retrans int
				for i := range q.n {
					x := q.at(i)
					if x.flags&txSacked != 0 {
						sacked++
					}
					if x.flags&txLost != 0 {
						lost++
					}
					if x.flags&txRetrans != 0 {
						retrans++
					}
				}
				if c.sackOK && sacked != q.sackedOut || lost != q.lostOut || retrans != q.retransOut || q.inFlight() < 0 {
					t.Fatalf("counts %d %d %d, segments say %d %d %d", q.sackedOut, q.lostOut, q.retransOut, sacked, lost, retrans)
				}
			}
		}
	}
}
