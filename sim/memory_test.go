package sim

import (
	"errors"
	"testing"
)

// hoard takes a chunk at each event and keeps it.
type hoard struct {
	timer Timer
	loop  *Loop
	src   Source
	kept  []*Chunk
}

func (h *hoard) Fire(now Time) {
	h.kept = append(h.kept, h.loop.NewChunk(60_000))
	h.loop.Arm(&h.timer, &h.src, now+Microsecond)
}

// A loop that takes more memory than its budget ends at the next event, and says how much it held; what is given back and
// taken again counts once.
func TestMemoryBudget(t *testing.T) {
	l := NewLoop(LoopConfig{Name: "loop-1", Budget: Budget{Memory: 10 << 20}})
	for range 200 {
		l.NewChunk(60_000).Release()
		l.NewChunk(1 << 20).Release()
		l.NewFrame().Release()
	}
	if l.Held() > 128<<10 {
		t.Errorf("nothing is in use and %d bytes are held", l.Held())
	}
	h := &hoard{loop: l, src: Source{ID: 1}}
	h.timer.H = h
	l.Arm(&h.timer, &h.src, 1)
	over, ok := errors.AsType[*MemoryError](l.RunBefore(Second))
	if !ok || over.Loop != "loop-1" || over.Limit != 10<<20 || over.Held > 11<<20 || len(h.kept) != 160 {
		t.Fatalf("%v after %d chunks of 64 KiB", over, len(h.kept))
	}
	for _, c := range h.kept {
		c.Release()
	}
}

// Memory that is charged and given back between two events ends nothing.
func TestMemoryForAMoment(t *testing.T) {
	l := NewLoop(LoopConfig{Budget: Budget{Memory: 1 << 20}})
	ran := 0
	tm := &Timer{H: fire(func(Time) { ran++ })}
	src := Source{ID: 1}
	l.Charge(2 << 20)
	l.Charge(-2 << 20)
	for at := Time(1); at < 100; at++ {
		l.Arm(tm, &src, at)
		if err := l.RunBefore(at + 1); err != nil {
			t.Fatal(err)
		}
	}
	if ran != 99 {
		t.Errorf("%d events ran", ran)
	}
}

type fire func(Time)

func (f fire) Fire(now Time) { f(now) }
