package node

import (
	"testing"

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
