package tcpstack

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"labd.dev/sim"
)

// traceOf collects a loop's records and decodes them.
type traceOf struct{ recs []sim.Record }

func (tr *traceOf) recorder() *sim.Recorder {
	return sim.NewRecorder(64, func(r []sim.Record) {
		seen.note(r)
		tr.recs = append(tr.recs, r...)
	})
}

func (tr *traceOf) events(t *testing.T, rec *sim.Recorder) []Event {
	t.Helper()
	rec.Flush()
	var d Decoder
	var out []Event
	for rest := tr.recs; len(rest) > 0; {
		e, n := d.Decode(rest)
		if e != nil {
			out = append(out, e)
		}
		rest = rest[n:]
	}
	return out
}

// answerer replies with n bytes once it has read m.
type answerer struct {
	peer
	m, n int
}

func (a *answerer) Readable(c *Conn) {
	a.pull()
	if a.in.Len() == a.m {
		a.out, a.m = pattern(a.n, 3), -1
		a.push()
	}
}

// The example of the handshake with fixed numbers: six segments, and the states that both ends go through.
func TestHandshakeTrace(t *testing.T) {
	off, long := false, 100*sim.Millisecond
	isn := [2]uint32{100, 2000}
	cfg := TCPConfig{Timestamps: &off, QuickACK: &off, DelayedACK: &long}
	var both [2]Config
	for i := range both {
		both[i].TCP = cfg
		both[i].TCP.ISN = &isn[i]
	}
	p := newTCPPair(t, both, 5*sim.Millisecond)
	var tr traceOf
	p.loop.Rec = tr.recorder()
	srv := &answerer{peer: peer{t: t}, m: 100, n: 500}
	if _, err := p.stack[1].Listen(netip.AddrPortFrom(netip.Addr{}, 80), TCPConfig{}, func(c *Conn) ConnHandler { srv.c = c; return srv }); err != nil {
		t.Fatal(err)
	}
	cli := &peer{t: t, out: pattern(100, 1)}
	c, err := p.stack[0].Dial(netip.AddrPort{}, netip.AddrPortFrom(p.addr[1], 80), TCPConfig{Tag: 7}, cli)
	if err != nil {
		t.Fatal(err)
	}
	p.run(sim.Second)
	var segs, states []string
	for _, e := range tr.events(t, p.loop.Rec) {
		switch e := e.(type) {
		case *SegmentSent:
			segs = append(segs, fmt.Sprintf("%d %v S=%d A=%d len=%d off=%d ack_off=%d %v %v", e.Node, e.Flags, e.Seq, e.Ack, e.Len, e.Off, e.AckOff, e.Reason, e.Conn))
		case *StateUpdated:
			states = append(states, fmt.Sprintf("%d %v>%v %v", e.Node, e.Old, e.New, e.Trigger))
		}
	}
	wantSegs := []string{
		"1 S S=100 A=0 len=0 off=0 ack_off=0 syn 1/1",
		"2 AS S=2000 A=101 len=0 off=0 ack_off=0 syn 1/1",
		"1 A S=101 A=2001 len=0 off=0 ack_off=0 ack 1/1",
		"1 AP S=101 A=2001 len=100 off=0 ack_off=0 data 1/1",
		"2 AP S=2001 A=201 len=500 off=0 ack_off=100 data 1/1",
		"1 A S=201 A=2501 len=0 off=100 ack_off=500 delack 1/1",
	}
	wantStates := []string{"2 CLOSED>LISTEN app_open", "1 CLOSED>SYN_SENT app_open", "2 LISTEN>SYN_RCVD rx_syn",
		"1 SYN_SENT>ESTABLISHED rx_synack", "2 SYN_RCVD>ESTABLISHED rx_ack"}
	if !slices.Equal(segs, wantSegs) {
		t.Errorf("segments\n%q\nwant\n%q", segs, wantSegs)
	}
	if !slices.Equal(states, wantStates) {
		t.Errorf("states\n%q\nwant\n%q", states, wantStates)
	}
	if srv.c.ID() != c.ID() || srv.c.Tag() != 7 || srv.c.Initiator() || !c.Initiator() {
		t.Errorf("the responder knows %v, tag %d", srv.c.ID(), srv.c.Tag())
	}
	if srv.c.RemoteAddr() != c.LocalAddr() || srv.c.LocalAddr() != c.RemoteAddr() {
		t.Errorf("%v-%v and %v-%v", c.LocalAddr(), c.RemoteAddr(), srv.c.LocalAddr(), srv.c.RemoteAddr())
	}
	p.teardown()
}

// A lossy transfer's records: every event decodes, causes point back, offsets are those of the stream, and what the
// records say adds up to what happened.
func TestLossyTrace(t *testing.T) {
	p := newTCPPair(t, [2]Config{}, 10*sim.Millisecond)
	var tr traceOf
	p.loop.Rec = tr.recorder()
	p.pipe[0].fate = func(n uint64, f *sim.Frame) (bool, sim.Time, int) {
		return n == 12 || n == 30 || n == 31 || n >= 60 && n < 75, 0, 0
	}
	data := pattern(300_000, 1)
	a := &peer{t: t, out: bytes.Clone(data), closeOut: true, closeEOF: true}
	b := &peer{t: t, closeEOF: true}
	p.connect(TCPConfig{SendBuffer: 64 << 10}, a, b)
	info := a.c
	p.run(20 * sim.Second)
	if !bytes.Equal(b.in.Bytes(), data) {
		t.Fatal("wrong bytes")
	}
	seen := map[string]int{}
	last := map[uint32]uint32{}
	var retrans, lost uint32
	var maxOff uint64
	for _, e := range tr.events(t, p.loop.Rec) {
		seen[e.EventName()]++
		switch e := e.(type) {
		case *SegmentSent:
			if e.TxCount > 1 {
				retrans++
			}
			if e.Node == 1 && e.Len > 0 {
				maxOff = max(maxOff, e.Off+uint64(e.Len))
			}
			if e.Cause >= e.ESeq {
				t.Errorf("%+v is caused by a later event", e)
			}
			last[e.Node] = e.ESeq
		case *SegmentLost:
			lost++
			seen["lost by "+e.Trigger.String()]++
		case *RecoveryEntered:
			seen["entered "+e.Kind.String()]++
			if e.CwndAfter > e.CwndBefore {
				t.Errorf("%+v", e)
			}
		case *CCStateUpdated:
			seen["cc "+e.New.String()]++
		case *SegmentReceived:
			seen["rx "+e.Verdict.String()]++
		case *TimerFired:
			seen["fired "+e.Timer.String()]++
		case *ConnectionClosed:
			if e.Node == 1 && (e.BytesAcked != uint64(len(data)) || e.TotalRetrans != info.Info().TotalRetrans) {
				t.Errorf("%+v", e)
			}
		}
	}
	if maxOff != uint64(len(data)) || retrans != info.Info().TotalRetrans || retrans < 18 || lost < retrans {
		t.Errorf("offsets to %d, %d retransmissions of %d lost, tcp_info says %d", maxOff, retrans, lost, info.Info().TotalRetrans)
	}
	for _, name := range []string{"tcp:connection_started", "tcp:state_updated", "tcp:segment_sent", "tcp:segment_received",
		"tcp:ack_processed", "tcp:segment_lost", "tcp:recovery_entered", "tcp:recovery_exited", "tcp:cc_state_updated",
		"tcp:metrics_updated", "tcp:timer_set", "tcp:timer_fired", "tcp:timer_cancelled", "tcp:reassembly_updated",
		"tcp:connection_closed", "lost by rack", "entered fast", "cc fast_recovery", "cc congestion_avoidance", "rx in_order",
		"rx ooo", "fired delack", "fired time_wait"} {
		if seen[name] == 0 && name != "fired time_wait" {
			t.Errorf("no %s among %v", name, seen)
		}
	}
	p.teardown()
}

// Recording changes nothing: the same segments leave at the same times.
func TestRecordingChangesNothing(t *testing.T) {
	run := func(rec *sim.Recorder) (times []sim.Time) {
		p := newTCPPair(t, [2]Config{}, 10*sim.Millisecond)
		p.loop.Rec = rec
		for i := range p.pipe {
			p.pipe[i].fate = func(n uint64, f *sim.Frame) (bool, sim.Time, int) {
				times = append(times, p.loop.Now()*100+sim.Time(f.Len()))
				return n%17 == 16, sim.Time(n % 5 * 1_000_000), 0
			}
		}
		a, b := &peer{t: t, out: pattern(100_000, 1), closeOut: true}, &peer{t: t, closeEOF: true}
		p.connect(TCPConfig{}, a, b)
		p.run(100 * sim.Second)
		p.teardown()
		return times
	}
	if a, b := run(nil), run(sim.NewRecorder(100, func([]sim.Record) {})); !slices.Equal(a, b) {
		t.Errorf("%d and %d frames, or other times", len(a), len(b))
	}
}

// RFC 7323 2.2: the scale of a window lasts as long as its connection, and so into TIME-WAIT: what the record of an ACK
// from there says of the window is what the ACK before it said.
func TestTimeWaitRecordsItsWindowScaled(t *testing.T) {
	on := true
	x := newTCPTrace(t, TCPConfig{WindowScaling: &on, RecvBuffer: 1 << 20})
	var tr traceOf
	x.loop.Rec = tr.recorder()
	x.accept("mss=1460 ws=7")
	x.c.CloseWrite()
	x.want("FA seq=1001 ack=101")
	x.send("A seq=101 ack=1002")
	x.send("FA seq=101 ack=1002")
	x.want("A seq=1002 ack=102")
	x.send("FA seq=101 ack=1002")
	x.want("A seq=1002 ack=102")
	var windows []uint32
	for _, e := range tr.events(t, x.loop.Rec) {
		if s, ok := e.(*SegmentSent); ok && s.Ack == 102 {
			windows = append(windows, s.WinScaled)
			if s.State != StateTimeWait && len(windows) == 2 {
				t.Errorf("the second is sent in %v", s.State)
			}
		}
	}
	if len(windows) != 2 || windows[0] != windows[1] || windows[0] < 65536 {
		t.Errorf("windows %v", windows)
	}
}

// RFC 3168 5: "Bits 6 and 7 in the IPv4 TOS octet are designated as the ECN field": what a segment came with is
// recorded, whatever the rest of the octet is.
func TestSegmentsRecordTheirECN(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("")
	var tr traceOf
	rec := tr.recorder()
	x.loop.Rec = rec
	want := []ECN{NotECT, ECT1, ECT0, CE}
	for i, cp := range want {
		x.tos = 0xb8 | uint8(cp)
		x.send(fmt.Sprintf("PA seq=%d ack=1001 len=100", 101+100*i))
		x.advance(50 * sim.Millisecond)
		x.want(fmt.Sprintf("A seq=1001 ack=%d", 201+100*i))
	}
	var got []ECN
	for _, e := range tr.events(t, rec) {
		if r, ok := e.(*SegmentReceived); ok {
			got = append(got, r.ECN)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("ECN codepoints %v, want %v", got, want)
	}
}
