package node

import (
	"testing"

	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// RFC 9293 3.3.2: TIME-WAIT is a state of the connection, and who looks at an end must see it there for 2 MSL.
func TestStatusShowsTimeWait(t *testing.T) {
	s := newScene(t, line3())
	s.input(&labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{Id: "t1", From: "a", To: "b",
		Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: 1000}}}})
	for _, c := range []struct {
		at   sim.Time
		want string
	}{{5 * sim.Second, "a/1 TIME_WAIT"}, {59 * sim.Second, "a/1 TIME_WAIT"}, {62 * sim.Second, ""}} {
		s.advance(c.at)
		got := ""
		for _, n := range s.net.Nodes() {
			for _, conn := range n.Conns() {
				got += conn.Conn + " " + conn.State
			}
		}
		if got != c.want {
			t.Errorf("at %v: connections %q, want %q", c.at, got, c.want)
		}
	}
}

// What a queue marked, and what the device behind it holds, can be asked for, with the settings in force.
func TestStatusShowsTheDevice(t *testing.T) {
	spec := line3()
	spec.Links[1].Forward = &labv1.DirectionSpec{DelayNs: 10e6, RateBps: 10e6, Queue: &labv1.Queue{Mark: &labv1.QueueMark{SojournNs: 1e6},
		Device: &labv1.QueueDevice{RingPackets: 256, Bql: &labv1.ByteQueueLimits{LimitMinBytes: 4000}}}}
	for _, n := range spec.Nodes {
		n.Tcp = &labv1.TcpSettings{Ecn: proto.String("on")}
	}
	s := newScene(t, spec)
	s.input(&labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{Id: "t1", From: "a", To: "b",
		Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: 100_000_000}}}})
	d, _ := s.net.cfg.Plan.Link("r->b")
	got := &labv1.DirectionStatus{}
	for at := sim.Second; at < 10*sim.Second && got.QueuePackets == 0; at += sim.Millisecond { // the first congestion
		s.advance(at)
		got = s.net.directions[d[0]].status()
	}
	if got.MarkedPackets == 0 || got.RingPackets == 0 || got.RingBytes < uint64(got.RingPackets)*60 ||
		got.BqlLimitBytes < 4000 || got.BqlLimitBytes > 8000 {
		t.Errorf("%v", got)
	}
	want := &labv1.QueueDevice{RingPackets: 256, Bql: &labv1.ByteQueueLimits{LimitMinBytes: 4000, LimitMaxBytes: 1879048192, HoldTimeNs: 1e9}}
	if !proto.Equal(got.Spec.Queue.Device, want) {
		t.Errorf("in force: %v, want %v", got.Spec.Queue.Device, want)
	}
}
