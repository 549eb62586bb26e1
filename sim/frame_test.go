package sim

import (
	"bytes"
	"testing"
)

// newFrame is a frame of 40 header bytes and n of payload, all different.
func newFrame(l *Loop, n int) *Frame {
	f := l.NewFrame()
	for i, h := 0, f.Append(40); i < len(h); i++ {
		h[i] = byte(i)
	}
	c := l.NewChunk(n)
	for i := range c.Data {
		c.Data[i] = byte(i * 7)
	}
	f.SetPayload(c, 0, n)
	c.Release()
	f.Pkt, f.Conn, f.Tag, f.Sum, f.SumKnown, f.Verified = 1, 2, 3, 4, true, true
	return f
}

func wantLive(t *testing.T, l *Loop, frames, chunks int) {
	t.Helper()
	if l.LiveFrames() != frames || l.LiveChunks() != chunks {
		t.Errorf("%d frames and %d chunks live, want %d and %d", l.LiveFrames(), l.LiveChunks(), frames, chunks)
	}
}

func wantSame(t *testing.T, f, g *Frame) {
	t.Helper()
	if !bytes.Equal(f.Header(), g.Header()) || !bytes.Equal(f.Payload, g.Payload) {
		t.Error("bytes differ")
	}
	if f.Pkt != g.Pkt || f.Conn != g.Conn || f.Tag != g.Tag || f.Sum != g.Sum || f.SumKnown != g.SumKnown ||
		f.Verified != g.Verified || f.Flips != g.Flips {
		t.Error("metadata differ")
	}
}

func wantPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

func TestHeaders(t *testing.T) {
	l := NewLoop(LoopConfig{})
	f := l.NewFrame()
	copy(f.Append(20), "network header......")
	copy(f.Prepend(14), "link header...")
	if got := string(f.Header()); got != "link header...network header......" || f.Len() != 34 {
		t.Errorf("%q, %d bytes", got, f.Len())
	}
	f.Strip(14)
	f.Truncate(7)
	if got := string(f.Header()); got != "network" {
		t.Errorf("%q", got)
	}
	if got := f.Room(); got != HeaderRoom-frameFront-7 || len(f.Append(got)) != got || f.Room() != 0 {
		t.Errorf("room %d", got)
	}
	f.Release()
	wantLive(t, l, 0, 0)
}

// A clone shares the payload; a copy in another loop shares nothing.
func TestCloneAndCopy(t *testing.T) {
	l, other := NewLoop(LoopConfig{}), NewLoop(LoopConfig{})
	f := newFrame(l, 1000)
	g := f.Clone()
	wantSame(t, f, g)
	wantLive(t, l, 2, 1)
	if &f.Payload[0] != &g.Payload[0] {
		t.Error("the clone has a payload of its own")
	}
	h := g.CopyTo(other)
	wantSame(t, f, h)
	wantLive(t, l, 1, 1)
	wantLive(t, other, 1, 1)
	if &f.Payload[0] == &h.Payload[0] {
		t.Error("the copy shares the payload")
	}
	empty := l.NewFrame().CopyTo(other)
	empty.Release()
	f.Release()
	h.Release()
	wantLive(t, l, 0, 0)
	wantLive(t, other, 0, 0)
}

func TestFlip(t *testing.T) {
	l := NewLoop(LoopConfig{})
	for _, bit := range []int{0, 319, 320, 320 + 8*1000 - 1} {
		f := newFrame(l, 1000)
		g := f.Clone()
		g.Flip(bit)
		a, b := append(f.Header(), f.Payload...), append(g.Header(), g.Payload...)
		a[bit/8] ^= 1 << (7 - bit%8)
		if !bytes.Equal(a, b) || g.Flips != 1 || g.Verified || g.SumKnown != (bit < 320) {
			t.Errorf("bit %d: %d flips, verified %v, sum known %v", bit, g.Flips, g.Verified, g.SumKnown)
		}
		f.Release()
		g.Release()
	}
	wantLive(t, l, 0, 0)
}

// A released frame comes back empty.
func TestReuse(t *testing.T) {
	l := NewLoop(LoopConfig{})
	f := newFrame(l, 10)
	f.Flip(3)
	f.Release()
	g := l.NewFrame()
	if g != f || g.Len() != 0 || g.Chunk() != nil || g.Pkt != 0 || g.Conn != 0 || g.Tag != 0 || g.SumKnown || g.Verified || g.Flips != 0 {
		t.Errorf("%+v", g)
	}
	g.Release()
	wantPanic(t, "a frame released twice", g.Release)
	c := l.NewChunk(1)
	c.Release()
	wantPanic(t, "a chunk released twice", c.Release)
}

func TestChunkSizes(t *testing.T) {
	l := NewLoop(LoopConfig{})
	for _, n := range []int{0, 1, 512, 513, 4096, 16384, 65536, 65537, 1 << 20} {
		c := l.NewChunk(n)
		if len(c.Data) != n {
			t.Errorf("%d bytes, want %d", len(c.Data), n)
		}
		c.Retain()
		c.Release()
		wantLive(t, l, 0, 1)
		c.Release()
		wantLive(t, l, 0, 0)
	}
	file := []byte("immutable")
	c := l.NewStaticChunk(file)
	f := l.NewFrame()
	f.SetPayload(c, 2, 4)
	c.Release()
	if string(f.Payload) != "muta" || f.Chunk() != c {
		t.Errorf("payload %q", f.Payload)
	}
	f.Release()
	wantLive(t, l, 0, 0)
}

func TestFramesDoNotAllocate(t *testing.T) {
	l := NewLoop(LoopConfig{})
	if n := testing.AllocsPerRun(100, func() { newFrame(l, 1460).Release() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRecorder(t *testing.T) {
	var got []Record
	var blocks int
	r := NewRecorder(4, func(rs []Record) { got = append(got, rs...); blocks++ })
	id := &Identity{Src: Source{ID: 7}, Name: "n"}
	for i := range 10 {
		rec := id.Record(r, Time(i), KindTCP)
		rec.W[0] = uint32(i)
	}
	r.Flush()
	r.Flush()
	if len(got) != 10 || blocks != 3 {
		t.Fatalf("%d records in %d blocks, want 10 in 3", len(got), blocks)
	}
	for i, rec := range got {
		if rec.T != Time(i) || rec.Node != 7 || rec.ESeq != uint32(i+1) || rec.Kind != KindTCP || rec.W[0] != uint32(i) || rec.W[1] != 0 {
			t.Errorf("record %d: %+v", i, rec)
		}
	}
	// Without a recorder nothing is made, and no number is taken.
	if id.Record(nil, 0, KindTCP) != nil || id.Events != 10 {
		t.Error("a record without a recorder")
	}
}

func TestNames(t *testing.T) {
	id := &Identity{Src: Source{ID: 5}}
	p, c := id.NextPacket(), id.NextConn()
	if p.Node() != 5 || p.Counter() != 1 || p.String() != "5:1" || c.Node() != 5 || c.Counter() != 1 || c.String() != "5/1" {
		t.Errorf("packet %v, connection %v", p, c)
	}
	for _, x := range []struct {
		t    Time
		want string
	}{{0, "0.000000000s"}, {12345678901, "12.345678901s"}, {-5, "-0.000000005s"}, {Never, "never"}} {
		if got := x.t.String(); got != x.want {
			t.Errorf("%q, want %q", got, x.want)
		}
	}
	if (90 * Second).Duration().Minutes() != 1.5 {
		t.Error("duration")
	}
}
