package app

import (
	"testing"

	"labd.dev/link"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// fastOpenLab is a path of 100 ms between ends that name Fast Open as given.
func fastOpenLab(t *testing.T, client, server string) *lab {
	t.Helper()
	l := newLab(t, link.Config{Delay: 49 * sim.Millisecond})
	name := func(h *host, word string) {
		l.must(h.stack.Reconfigure(tcpstack.Config{Name: h.name, Seed: 1, TCP: tcpstack.TCPConfig{FastOpen: word}}))
	}
	name(l.client, client)
	name(l.server, server)
	return l
}

// takes runs an application and returns how long its bytes took to arrive.
func (l *lab) takes(id string, in *labv1.Input) sim.Time {
	l.t.Helper()
	l.finish(l.client.start(in), l.loop.Now()+10*sim.Second)
	s := l.wantDone(id, l.transfer(id).GetBytesExpected())
	l.settle()
	return sim.Time(s.GetDurationNs())
}

// RFC 7413, abstract: Fast Open "allows data to be carried in the SYN and SYN-ACK packets and consumed by the receiving
// end during the initial connection handshake, and saves up to one full round-trip time". A cookie must have been
// fetched before, by the first connection of all.
func TestFastOpenSavesARoundTrip(t *testing.T) {
	const rtt, slack = 100 * sim.Millisecond, 10 * sim.Millisecond
	for _, c := range []struct {
		client, server string
		saved          sim.Time
	}{
		{"both", "both", rtt},
		{"client", "server", rtt},
		{"off", "both", 0},
		{"both", "client", 0},
		{"", "both", 0}, // clients may, and this one does not ask for it
	} {
		t.Run(c.client+" to "+c.server, func(t *testing.T) {
			l := fastOpenLab(t, c.client, c.server)
			l.serveHTTP(l.blob("a.txt", 100))
			send := func(id string, bytes uint64) *labv1.Input {
				return transferInput(&labv1.Transfer{Id: id, From: "client", To: "server", Content: generatedBytes(bytes), ReplyBytes: 50})
			}
			l.takes("cookie", send("cookie", 1))
			near := func(what string, took, want sim.Time) {
				if took < want || took > want+slack {
					t.Errorf("%s took %v, want %v", what, took, want)
				}
			}
			near("a request", l.takes("small", send("small", 200)), rtt*3/2-c.saved)
			near("five segments", l.takes("more", send("more", 6000)), rtt*3/2)                                                              // the rest waits for the SYN,ACK
			near("a page", l.takes("page", getInput(&labv1.HttpGet{Id: "page", From: "client", Url: "http://server/a.txt"})), 3*rtt-c.saved) // its body waits for the ACK of its head: Nagle
			l.takes("empty", send("empty", 0))
			want := uint64(0)
			if c.saved > 0 {
				want = 3
			}
			if n := l.server.counters("tcp.fast_open_passive")["tcp.fast_open_passive"]; n != want {
				t.Errorf("%d connections opened fast, want %d", n, want)
			}
		})
	}
}
