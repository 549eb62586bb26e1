package exchange

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"labd.dev/sim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frame makes a frame with n bytes of payload and every kind of metadata.
func frame(loop *sim.Loop, n int) *sim.Frame {
	f := loop.NewFrame()
	copy(f.Append(54), strings.Repeat("header", 9))
	copy(f.Prepend(14), "ethernet....ip")
	if n > 0 {
		c := loop.NewChunk(n)
		for i := range c.Data {
			c.Data[i] = byte(i)
		}
		f.SetPayload(c, 0, n)
		c.Release()
	}
	f.Pkt, f.Conn, f.Tag, f.Flips = sim.MakePacketID(3, 77), sim.MakeConnID(2, 5), 9, 2
	f.Sum, f.SumKnown, f.Verified = 0x1234, true, n%2 == 0
	return f
}

// pair is two shards' views of each other.
func pair(t *testing.T) (a, b *Peers) {
	t.Helper()
	a, b = NewPeers(0, []string{"w0", "w1"}), NewPeers(1, []string{"w0", "w1"})
	x, y := net.Pipe()
	if err := errors.Join(a.Attach(1, x), b.Attach(0, y)); err != nil {
		t.Fatal(err)
	}
	<-a.Joined()
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// What is sent in a round comes out: the report, frames with all that belongs to them, inputs, each in its order.
func TestMessageCarriesARound(t *testing.T) {
	a, b := pair(t)
	from, to := sim.NewLoop(sim.LoopConfig{}), sim.NewLoop(sim.LoopConfig{})
	for round := range uint64(3) {
		var sent []*sim.Frame
		for i, n := range []int{0, 1, 1448, 65_000} {
			f := frame(from, n)
			a.Carrier(1, sim.Origin(40+i)).Carry(sim.Time(1000+n), uint64(2*i), i%2 == 1, f)
			sent = append(sent, f)
		}
		r := Report{Report: sim.Report{Next: 5, Departure: sim.Never, Arrival: 1000}, Ahead: 10_000, Events: 99, Held: 1 << 40,
			Flags: FlagBusy | FlagReplaying, Limit: 1 << 40}
		if err := a.Send(round, &r, [][]byte{[]byte("one"), nil, []byte("three")}); err != nil {
			t.Fatal(err)
		}
		m := (<-b.Came).Message
		if m == nil || m.Round != round || m.Report != r || m.From != 0 || m.Kind != KindWindow {
			t.Fatalf("round %d: %+v", round, m)
		}
		i := 0
		var inputs []string
		err := m.Read(func(w Arrival, data []byte) (int, error) {
			f, n, ok := to.FrameFromWire(data)
			s := sent[i]
			if !ok || w != (Arrival{sim.Origin(40 + i), sim.Time(1000 + len(s.Payload)), uint64(2 * i), i%2 == 1}) ||
				!bytes.Equal(f.Header(), s.Header()) || !bytes.Equal(f.Payload, s.Payload) || f.Pkt != s.Pkt || f.Conn != s.Conn ||
				f.Tag != s.Tag || f.Sum != s.Sum || f.SumKnown != s.SumKnown || f.Verified != s.Verified || f.Flips != s.Flips {
				t.Errorf("frame %d: %+v", i, f)
			}
			f.Release()
			s.Release()
			i++
			return n, nil
		}, func(entry []byte) error { inputs = append(inputs, string(entry)); return nil })
		if err != nil || i != len(sent) || strings.Join(inputs, ",") != "one,,three" {
			t.Errorf("%d frames, inputs %q, %v", i, inputs, err)
		}
		b.Done(m)
	}
	if from.LiveFrames()+from.LiveChunks()+to.LiveFrames()+to.LiveChunks() != 0 {
		t.Error("frames or chunks are left")
	}
}

// A farewell comes through with its reason, and nothing after it.
func TestFarewell(t *testing.T) {
	a, b := pair(t)
	a.Farewell(KindFailed, strings.Repeat("too many events ", 1000))
	m := (<-b.Came).Message
	if m == nil || m.Kind != KindFailed || len(m.Text) != maxText || !strings.HasPrefix(m.Text, "too many events") {
		t.Errorf("%+v", m)
	}
}

// A peer that closes is told of, by its name, after what it has sent.
func TestPeerCloses(t *testing.T) {
	a, b := pair(t)
	if err := a.Send(0, &Report{Ahead: 1}, nil); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if c := <-b.Came; c.Message == nil {
		t.Errorf("%+v", c)
	}
	c := <-b.Came
	if _, ok := errors.AsType[*PeerError](c.Err); !ok || c.From != 0 || !strings.Contains(c.Err.Error(), "w0") {
		t.Errorf("%+v", c)
	}
}

// What no shard sends ends the connection with an error that names the peer, whatever it is.
func TestGarbage(t *testing.T) {
	good := begin(nil)
	finish(good, KindWindow, 1, &Report{Ahead: 1}, 0, 0)
	change := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] ^= v
		return b
	}
	sealed := func(do func(b []byte)) []byte { // its check sum holds
		b := begin(nil)
		finish(b, KindWindow, 1, &Report{Ahead: 1}, 0, 0)
		do(b)
		seal(b)
		return b
	}
	for what, b := range map[string][]byte{
		"a length of 4294967295 bytes": {0xff, 0xff, 0xff, 0xff},
		"a length of 3 bytes":          {3, 0, 0, 0, 1, 2, 3},
		"unexpected EOF":               good[:40],
		"check sum":                    change(50, 1),
		"kind 7":                       sealed(func(b []byte) { b[8] = 7 }),
		"negative times":               sealed(func(b []byte) { b[39] = 0x80 }),
	} {
		a := NewPeers(0, []string{"w0", "w1"})
		x, y := net.Pipe()
		if err := a.Attach(1, x); err != nil {
			t.Fatal(err)
		}
		_, _ = y.Write(b) // who has heard enough closes
		y.Close()
		if c := <-a.Came; c.Err == nil || !strings.Contains(c.Err.Error(), what) || !strings.Contains(c.Err.Error(), "w1") {
			t.Errorf("%q: %+v", what, c)
		}
		a.Close()
	}
}

// A peer that sends ahead of its turn is not read: what waits for the lab is bounded.
func TestReadAheadIsBounded(t *testing.T) {
	a, b := pair(t)
	done := make(chan int)
	go func() {
		n := 0
		for a.Send(uint64(n), &Report{Ahead: 1}, nil) == nil {
			n++
		}
		done <- n
	}()
	for range inHand {
		<-b.Came
	}
	b.Close()
	if n := <-done; n > inHand+1 {
		t.Errorf("%d messages were taken in, without one being done with", n)
	}
}

// Attach takes each shard once, and none that there is not.
func TestAttach(t *testing.T) {
	a, _ := pair(t)
	x, y := net.Pipe()
	defer x.Close()
	defer y.Close()
	for _, from := range []int{1, 0, 2, -1} {
		if err := a.Attach(from, x); err == nil {
			t.Errorf("shard %d was taken", from)
		}
	}
	a.Close()
	if err := a.Attach(1, x); err == nil || !strings.Contains(err.Error(), "ended") {
		t.Error(err)
	}
}

// Greetings come through, and refusals with their reason.
func TestGreetings(t *testing.T) {
	want := Hello{Lab: "lab-1", Epoch: 7, From: 2, To: 3, Shards: 4, Sum: [32]byte{1, 2, 3}}
	for _, refusal := range []string{"", "stale epoch"} {
		x, y := net.Pipe()
		greeted := make(chan error)
		go func() { greeted <- Greet(x, want) }()
		got, err := ReadHello(y)
		if err != nil || got != want {
			t.Errorf("%+v %v", got, err)
		}
		if err := Answer(y, refusal); err != nil {
			t.Error(err)
		}
		err = <-greeted
		if _, refused := errors.AsType[*RefusedError](err); refused != (refusal != "") || refused && err.Error() != refusal {
			t.Errorf("%v, want %q", err, refusal)
		}
		x.Close()
		y.Close()
	}
	if _, err := parseHello([]byte{protocolVersion + 1, 0}); err == nil || !strings.Contains(err.Error(), "version") {
		t.Error(err)
	}
}

// FuzzMessage: whatever comes from a connection is a message or an error, in bounded memory; reading what is in it never
// goes beyond it, and leaves no frame behind.
func FuzzMessage(f *testing.F) {
	loop := sim.NewLoop(sim.LoopConfig{})
	whole := begin(nil)
	for i, n := range []int{0, 100, 1448} {
		g := frame(loop, n)
		whole = appendFrame(whole, sim.Origin(i), 5, 6, true, g)
		g.Release()
	}
	whole = appendInput(whole, []byte("an input"))
	finish(whole, KindWindow, 3, &Report{Ahead: 1}, 3, 1)
	f.Add(whole)
	f.Add(farewell(KindBroken, "why"))
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		b := bytes.Clone(whole)
		b[8+r.IntN(len(b)-8)] ^= byte(1 + r.IntN(255))
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= fixed { // else only the check sum would be tried
			b = bytes.Clone(b)
			binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
			seal(b)
		}
		m, err := readMessage(bufio.NewReader(bytes.NewReader(b)), nil, 1)
		if err != nil {
			return
		}
		loop := sim.NewLoop(sim.LoopConfig{})
		_ = m.Read(func(_ Arrival, data []byte) (int, error) {
			g, n, ok := loop.FrameFromWire(data)
			if !ok {
				return 0, errGarbage
			}
			again := g.AppendWire(nil)
			if n != len(again) {
				t.Errorf("a frame of %d bytes is written in %d", n, len(again))
			}
			g.Release()
			return n, nil
		}, func([]byte) error { return nil })
		if loop.LiveFrames() != 0 || loop.LiveChunks() != 0 {
			t.Error("frames are left")
		}
	})
}

// FuzzHello: the same of greetings.
func FuzzHello(f *testing.F) {
	f.Add([]byte{1})
	f.Add(bytes.Repeat([]byte{1}, helloFixed+10))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseHello(b); err == nil && h.Lab == "" {
			t.Error("a greeting for no lab")
		}
	})
}

// What a message of a window costs, with frames in it and without.
func BenchmarkRound(b *testing.B) {
	for _, frames := range []int{0, 1, 100} {
		b.Run(map[int]string{0: "empty", 1: "1 frame", 100: "100 frames"}[frames], func(b *testing.B) {
			x, y := NewPeers(0, []string{"w0", "w1"}), NewPeers(1, []string{"w0", "w1"})
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			d, err := l.Accept()
			if err = errors.Join(err, x.Attach(1, c), y.Attach(0, d)); err != nil {
				b.Fatal(err)
			}
			loop := sim.NewLoop(sim.LoopConfig{})
			far := sim.NewLoop(sim.LoopConfig{})
			f := frame(loop, 1448)
			carry := x.Carrier(1, 7)
			round := uint64(0)
			for b.Loop() {
				for range frames {
					carry.Carry(5, 6, false, f)
				}
				if err := x.Send(round, &Report{Ahead: 1}, nil); err != nil {
					b.Fatal(err)
				}
				m := (<-y.Came).Message
				if err := m.Read(func(_ Arrival, data []byte) (int, error) {
					g, n, _ := far.FrameFromWire(data)
					g.Release()
					return n, nil
				}, nil); err != nil && !errors.Is(err, io.EOF) {
					b.Fatal(err)
				}
				y.Done(m)
				round++
			}
			x.Close()
			y.Close()
		})
	}
}
