package tcpstack

import (
	"net/netip"
	"testing"

	"labd.dev/sim"
)

// RFC 2385 2.0: both ends sign each segment, over IPv6 as over IPv4, from the SYN to the last ACK; an end with another key, or
// with none, gets no answer at all.
func TestMD5Signatures(t *testing.T) {
	for _, version := range []string{"IPv4", "IPv6"} {
		for _, c := range []struct{ name, client, server, counter string }{
			{"the same key", "secret", "secret", ""},
			{"another key", "secret", "Secret", "tcp.md5_failure"},
			{"no key here", "secret", "", "tcp.md5_unexpected"},
			{"no key there", "", "secret", "tcp.md5_not_found"},
		} {
			t.Run(version+" "+c.name, func(t *testing.T) {
				p := newTCPPair(t, [2]Config{{TCP: TCPConfig{MD5Key: c.client}}, {TCP: TCPConfig{MD5Key: c.server}}}, sim.Millisecond)
				if version == "IPv6" {
					p.useIPv6()
					p.run(5 * sim.Second) // addresses are checked for duplicates first
				}
				heard := map[string]uint64{}
				read := 0
				l, err := p.stack[1].ListenQueue(netip.AddrPortFrom(p.addr[1], 179), TCPConfig{}, 4, nil)
				if err != nil {
					t.Fatal(err)
				}
				client := &peer{t: t}
				conn, err := p.stack[0].Dial(netip.AddrPort{}, netip.AddrPortFrom(p.addr[1], 179), TCPConfig{}, client)
				if err != nil {
					t.Fatal(err)
				}
				p.run(100 * sim.Millisecond)
				if server, ok := l.Accept(); ok {
					conn.Write(make([]byte, 5000))
					p.run(sim.Second)
					n, _ := server.Read(make([]byte, 8000))
					read = n
					server.Close()
					conn.Close()
					p.run(sim.Second)
				}
				for _, n := range p.stack[1].Counters() {
					heard[n.Name] = n.Value
				}
				if (read == 5000) != (c.counter == "") {
					t.Errorf("%d bytes came", read)
				}
				for _, name := range []string{"tcp.md5_failure", "tcp.md5_unexpected", "tcp.md5_not_found"} {
					if (heard[name] > 0) != (name == c.counter) {
						t.Errorf("%s is %d", name, heard[name])
					}
				}
				if c.counter != "" && heard["tcp.out_segs"] != 0 {
					t.Errorf("%d answers", heard["tcp.out_segs"])
				}
			})
		}
	}
}
