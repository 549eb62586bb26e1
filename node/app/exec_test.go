package app

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"labd.dev/link"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

func netipPort(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

func pingInput(p *labv1.Ping) *labv1.Input { return &labv1.Input{Kind: &labv1.Input_Ping{Ping: p}} }

func traceInput(p *labv1.Traceroute) *labv1.Input {
	return &labv1.Input{Kind: &labv1.Input_Traceroute{Traceroute: p}}
}

// wantLines compares a command's output line by line; a line that ends in "..." is a beginning.
func (l *lab) wantLines(id string, code int, want ...string) {
	l.t.Helper()
	got := l.lines[id]
	same := slices.EqualFunc(got, want, func(a, b string) bool {
		if begin, ok := strings.CutSuffix(b, "..."); ok {
			return strings.HasPrefix(a, begin)
		}
		return a == b
	})
	if c, done := l.codes[id]; !same || !done || c != code {
		l.t.Errorf("exit code %d (ended: %v), want %d\n%s\nwant\n%s", c, done, code, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPing(t *testing.T) {
	l := newLab(t, link.Config{Delay: 5 * sim.Millisecond})
	a := l.client.start(pingInput(&labv1.Ping{Id: "p", From: "client", To: "server", Count: 3}))
	l.finish(a, 10*sim.Second)
	l.wantLines("p", 0,
		"PING server (10.0.2.2) 56(84) bytes of data.",
		"64 bytes from 10.0.2.2: icmp_seq=1 ttl=63 time=24.0 ms", // ARP on both links comes first
		"64 bytes from 10.0.2.2: icmp_seq=2 ttl=63 time=12.0 ms",
		"64 bytes from 10.0.2.2: icmp_seq=3 ttl=63 time=12.0 ms",
		"",
		"--- server ping statistics ---",
		"3 packets transmitted, 3 received, 0% packet loss, time 2012ms",
		"rtt min/avg/max/mdev = 12.000/16.000/24.000/5.657 ms")
}

func TestPingThatFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		spec   *labv1.Ping
		break_ func(*lab)
		code   int
		lines  []string
	}{
		{"nobody has the address", &labv1.Ping{To: "10.0.2.77", Count: 1, TimeoutNs: 5e9}, nil, 1, []string{
			"PING 10.0.2.77...", "From 10.0.1.2 icmp_seq=1 Destination Host Unreachable", "", "--- 10.0.2.77 ping statistics ---",
			"1 packets transmitted, 0 received, +1 errors, 100% packet loss...", ""}},
		{"no route", &labv1.Ping{To: "192.168.9.9", Count: 1}, nil, 1, []string{
			"PING 192...", "From 10.0.1.2 icmp_seq=1 Destination Net Unreachable", "", "---...", "1 packets...", ""}},
		{"the TTL ends", &labv1.Ping{To: "server", Count: 1, Ttl: 1}, nil, 1, []string{
			"PING server...", "From 10.0.1.2 icmp_seq=1 Time to live exceeded", "", "---...", "1 packets...", ""}},
		{"silence", &labv1.Ping{To: "server", Count: 2, IntervalNs: 1e8}, func(l *lab) { l.links["r1->server"].Set(link.Config{Down: true}) }, 1, []string{
			"PING server...", "", "---...", "2 packets transmitted, 0 received, 100% packet loss, time 1100ms", ""}},
		{"unknown", &labv1.Ping{To: "nowhere"}, nil, 2, []string{"ping: nowhere: name or address not known"}},
		{"too large", &labv1.Ping{To: "server", SizeBytes: 1 << 20}, nil, 2, []string{"ping: message too long"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, link.Config{Delay: 5 * sim.Millisecond})
			l.must(l.loop.RunBefore(sim.Millisecond))
			if c.break_ != nil {
				c.break_(l)
			}
			c.spec.Id, c.spec.From = "p", "client"
			l.finish(l.client.start(pingInput(c.spec)), 20*sim.Second)
			l.wantLines("p", c.code, c.lines...)
		})
	}
}

// A duplicate is shown as such and not counted as an answer.
func TestPingDuplicates(t *testing.T) {
	l := newLab(t, link.Config{Delay: 5 * sim.Millisecond, Duplicate: link.Duplicate{Chance: 1, Delay: sim.Millisecond}})
	l.finish(l.client.start(pingInput(&labv1.Ping{Id: "p", From: "client", To: "server", Count: 2})), 10*sim.Second)
	out := strings.Join(l.lines["p"], "\n")
	if !strings.Contains(out, "icmp_seq=1 ttl=63 time=12.0 ms (DUP!)") && !strings.Contains(out, "(DUP!)") ||
		!strings.Contains(out, "2 packets transmitted, 2 received, +") || !strings.Contains(out, "duplicates, 0% packet loss") {
		t.Error(out)
	}
}

func TestPingTimes(t *testing.T) {
	for _, c := range []struct {
		rtt  sim.Time
		want string
	}{{45 * sim.Microsecond, "0.045"}, {1234 * sim.Microsecond, "1.23"}, {9999 * sim.Microsecond, "10.0"}, {12_345 * sim.Microsecond, "12.3"},
		{99_960 * sim.Microsecond, "100"}, {123_456 * sim.Microsecond, "123"}, {1, "0.000"}} {
		if got := pingTime(c.rtt); got != c.want {
			t.Errorf("%v is printed %s, want %s", c.rtt, got, c.want)
		}
	}
}

func TestTraceroute(t *testing.T) {
	l := newLab(t, link.Config{Delay: 5 * sim.Millisecond})
	l.finish(l.client.start(traceInput(&labv1.Traceroute{Id: "x", From: "client", To: "server"})), 20*sim.Second)
	l.wantLines("x", 0,
		"traceroute to server (10.0.2.2), 30 hops max, 60 byte packets",
		" 1  r1 (10.0.1.2)  4.000 ms  2.000 ms  2.000 ms",
		" 2  server (10.0.2.2)  22.000 ms  12.000 ms  12.000 ms")
}

func TestTracerouteThatFindsNoWay(t *testing.T) {
	l := newLab(t, link.Config{Down: true})
	l.finish(l.client.start(traceInput(&labv1.Traceroute{Id: "x", From: "client", To: "server", MaxHops: 3, Probes: 2})), 60*sim.Second)
	out := l.lines["x"]
	if len(out) < 3 || !strings.HasPrefix(out[1], " 1  r1 (10.0.1.2)  ") || l.codes["x"] != 1 {
		t.Errorf("exit code %d\n%s", l.codes["x"], strings.Join(out, "\n"))
	}
	l.finish(l.client.start(traceInput(&labv1.Traceroute{Id: "y", From: "client", To: "192.168.9.9", Probes: 1})), 90*sim.Second)
	l.wantLines("y", 1, "traceroute to 192.168.9.9...", " 1  r1 (10.0.1.2)  2.000 ms !N")
	l.finish(l.client.start(traceInput(&labv1.Traceroute{Id: "z", From: "client", To: "nowhere"})), 90*sim.Second)
	l.wantLines("z", 2, "traceroute: nowhere: name or address not known")
}
