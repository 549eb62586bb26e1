package tcpstack

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// badPacket lets an IPv4 packet arrive: a SYN of the peer's with 4 bytes of options, all NOP, after mend has had its way with
// it. Its checksums hold before mend, and after it if right.
func (x *tcpTrace) badPacket(right bool, mend func(ip, tcp []byte)) {
	const n = wire.IPv4MinLen + wire.TCPMinLen + 4
	b := make([]byte, wire.EthernetLen+n)
	wire.Ethernet{Dst: wire.MAC{2, 0, 0, 0, 0, 1}, Src: wire.MAC{2, 0, 0, 0, 0, 2}, Type: wire.EtherTypeIPv4}.Put(b)
	ip := b[wire.EthernetLen:]
	wire.IPv4{TotalLen: n, TTL: 64, Protocol: wire.ProtoTCP, Src: x.them.Addr(), Dst: x.us.Addr()}.Put(ip)
	tcp := ip[wire.IPv4MinLen:]
	(&wire.TCP{SrcPort: 9, DstPort: x.us.Port(), Seq: 100, Flags: wire.FlagSYN, Window: 65535, HeaderLen: wire.TCPMinLen + 4}).Put(tcp)
	copy(tcp[wire.TCPMinLen:], []byte{1, 1, 1, 1})
	fill := func() {
		ip[10], ip[11], tcp[16], tcp[17] = 0, 0, 0, 0
		binary.BigEndian.PutUint16(ip[10:], ^wire.Sum(ip[:wire.IPv4MinLen]))
		pseudo := append(append([]byte{}, ip[12:20]...), 0, uint8(wire.ProtoTCP), 0, uint8(len(tcp)))
		binary.BigEndian.PutUint16(tcp[16:], ^wire.AddSums(wire.Sum(pseudo), wire.Sum(tcp)))
	}
	fill()
	mend(ip, tcp)
	if right {
		fill()
	}
	f := x.loop.NewFrame()
	copy(f.Append(len(b)), b)
	x.s.Receive(x.ifc, f)
}

// A malformed option counts as absent, and where it leaves open what follows so does the rest; the segment counts
// (Linux: tcp_parse_options). An MD5 signature that there is no key for does not (RFC 2385).
//
// RFC 9293 MUST-7.
func TestMalformedOptionsAreCounted(t *testing.T) {
	for _, c := range []struct {
		name    string
		bad     bool
		mss     uint32 // 0: the SYN is dropped
		options []byte
	}{
		{"of length 0", true, 536, []byte{2, 0, 2, 4, 5, 0x78, 1, 1}},
		{"of length 1", true, 1400, []byte{2, 4, 5, 0x78, 8, 1, 1, 1}},
		{"beyond the header", true, 536, []byte{2, 5, 5, 0x78}},
		{"without a length", true, 536, []byte{1, 1, 1, 2}},
		{"MSS of another length", true, 1400, []byte{2, 3, 5, 2, 4, 5, 0x78, 1}},
		{"SACK-permitted of another length", true, 1400, []byte{4, 3, 5, 2, 4, 5, 0x78, 1}},
		{"half a signature", false, 1400, []byte{19, 4, 0, 0, 2, 4, 5, 0x78}},
		{"signed", false, 0, []byte{1, 1, 19, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newTCPTrace(t, TCPConfig{})
			x.listen()
			x.tcpOptions = c.options
			x.send("S seq=100")
			x.tcpOptions = nil
			if n := x.counted("tcp.malformed_options"); n != b2u(c.bad) {
				t.Errorf("tcp.malformed_options is %d", n)
			}
			if n := x.counted("tcp.md5_unexpected"); n != b2u(c.mss == 0) {
				t.Errorf("tcp.md5_unexpected is %d", n)
			}
			if c.mss == 0 {
				x.wantIdle()
				return
			}
			x.want("SA seq=1000 ack=101")
			x.send("A seq=101 ack=1001")
			if mss := x.s.Conns()[0].Info().SndMSS; mss != c.mss {
				t.Errorf("MSS %d, want %d", mss, c.mss)
			}
		})
	}
}

func b2u(on bool) uint64 {
	if on {
		return 1
	}
	return 0
}

// counted is a counter's value.
func (x *tcpTrace) counted(name string) uint64 {
	x.t.Helper()
	for _, c := range x.s.Counters() {
		if c.Name == name {
			return c.Value
		}
	}
	x.t.Fatalf("no counter %s", name)
	return 0
}

// Malformed headers and sources that nobody has, RFC 1122 3.2.1 and 4.2.2.5 (MUST-7 of RFC 9293: "TCP implementations
// MUST be prepared to handle an illegal option length"): each is dropped without an answer, under its own name.
func TestMalformedPacketsAreCounted(t *testing.T) {
	source := func(a string) func(ip, tcp []byte) {
		return func(ip, tcp []byte) { copy(ip[12:], netip.MustParseAddr(a).AsSlice()) }
	}
	for _, c := range []struct {
		name    string
		counter string
		right   bool // checksums
		mend    func(ip, tcp []byte)
	}{
		{"land: its own source", "ip.dropped.source", true, source("10.0.0.1")},
		{"land: its own port too", "ip.dropped.source", true, func(ip, tcp []byte) { copy(ip[12:], ip[16:20]); copy(tcp, tcp[2:4]) }},
		{"source: the network's broadcast address", "ip.dropped.source", true, source("10.0.0.255")},
		{"source: all stations", "ip.dropped.source", true, source("255.255.255.255")},
		{"source: a group", "ip.dropped.source", true, source("224.0.0.1")},
		{"source: loopback", "ip.dropped.source", true, source("127.0.0.1")},
		{"source: none", "ip.dropped.source", true, source("0.0.0.0")},
		{"to the network's broadcast address", "ip.dropped.destination", true, func(ip, tcp []byte) { ip[19] = 255 }},
		{"IP version", "ip.dropped.version", true, func(ip, tcp []byte) { ip[0] = 0x55 }},
		{"IP header too short", "ip.dropped.header_length", true, func(ip, tcp []byte) { ip[0] = 0x44 }},
		{"IP longer than it is", "ip.dropped.total_length", true, func(ip, tcp []byte) { ip[3]++ }},
		{"IP shorter than its header", "ip.dropped.total_length", true, func(ip, tcp []byte) { ip[3] = 19 }},
		{"IP checksum", "ip.dropped.checksum", false, func(ip, tcp []byte) { ip[10]++ }},
		{"TCP header too short", "ip.dropped.transport_header", true, func(ip, tcp []byte) { tcp[12] = 4 << 4 }},
		{"TCP header longer than the segment", "ip.dropped.transport_header", true, func(ip, tcp []byte) { tcp[12] = 15 << 4 }},
		{"TCP checksum", "tcp.in_csum_errors", false, func(ip, tcp []byte) { tcp[16]++ }},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newTCPTrace(t, TCPConfig{})
			x.listen()
			const flood = 100
			for range flood {
				x.badPacket(c.right, c.mend)
			}
			x.advance(sim.Second)
			x.wantIdle()
			if n := x.counted(c.counter); n != flood {
				t.Errorf("%s is %d after %d", c.counter, n, flood)
			}
		})
	}
	x := newTCPTrace(t, TCPConfig{}) // what the others are variants of is well-formed
	x.listen()
	x.badPacket(true, func(ip, tcp []byte) {})
	if len(x.out) != 1 || x.out[0].Flags != wire.FlagSYN|wire.FlagACK {
		t.Errorf("a good SYN got %v", x.out)
	}
	x.out = nil
}

// What no honest peer of an established connection sends: each is counted under its own name, answered at most once
// (RFC 5961 7: the answers are throttled), delivers nothing, and the connection goes on.
func TestBadSegmentsAreCounted(t *testing.T) {
	for _, c := range []struct {
		name, counter, send string
		counts              uint64 // of one that is sent three times
		answers             int
	}{
		{"ACK of data never sent", "tcp.ack_of_unsent_data", "A seq=101 ack=9001", 3, 1},
		{"ACK far older than the window", "tcp.too_old_acks", "A seq=101 ack=3000001001", 3, 1},
		{"data beyond the window", "tcp.beyond_window", "PA seq=900101 ack=1101 len=10", 3, 3},
		{"no data beyond the window", "tcp.ack_skipped_seq", "A seq=900101 ack=1101", 2, 1},
		{"SYN within the window", "tcp.syn_challenges", "S seq=200", 3, 1},
		{"RST within the window", "tcp.challenge_acks", "R seq=200", 1, 1},
		{"timestamp of long ago", "tcp.paws_drops", "PA seq=101 ack=1101 len=10 ts=1,1", 3, 3},
		{"SACK block that ends before it begins", "tcp.sack_invalid", "A seq=101 ack=1101 sack=1301-1201", 3, 0},
		{"SACK block of data never sent", "tcp.sack_invalid", "A seq=101 ack=1101 sack=1201-9001", 3, 0},
		{"SACK block half way round", "tcp.sack_invalid", "A seq=101 ack=1101 sack=1201-3000001001", 3, 0},
		{"neither ACK nor SYN nor RST", "tcp.no_ack_bit", "P seq=101 len=10", 3, 0},
		{"window that shrinks", "tcp.window_shrunk", "A seq=101 ack=1201 win=100", 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			on := c.counter == "tcp.paws_drops"
			x := newTCPTrace(t, TCPConfig{Timestamps: &on})
			ts := ""
			if on {
				ts = " ts=1000,0"
			}
			x.accept("mss=100 sackok" + ts)
			x.write(500)
			for range 5 {
				x.out = x.out[1:]
			}
			x.send("A seq=101 ack=1101" + ts)
			x.out = nil
			for range 3 {
				x.send(c.send)
			}
			if n := x.counted(c.counter); n != c.counts {
				t.Errorf("%s is %d, want %d", c.counter, n, c.counts)
			}
			answers := 0
			for _, g := range x.out {
				if g.len == 0 && g.Flags == wire.FlagACK {
					answers++
				}
			}
			if answers != c.answers {
				t.Errorf("%d answers, want %d: %v", answers, c.answers, x.out)
			}
			if x.wantState(StateEstablished); x.app.in.Len() != 0 {
				t.Errorf("%d bytes were delivered", x.app.in.Len())
			}
			x.c.Abort()
			x.out = nil
		})
	}
}

// SACK blocks that overlap are no more than their union: no byte counts twice (RFC 6675's pipe would else be too small).
func TestOverlappingSACKBlocks(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=100 sackok")
	x.write(1000)
	x.out = nil
	x.send("A seq=101 ack=1001 sack=1201-1501,1301-1601,1101-1401")
	if n := x.c.Info().Sacked; n != 5 {
		t.Errorf("%d segments are sacked, want 5", n)
	}
	x.c.Abort()
	x.out = nil
}

// A storm of ACKs that are not acceptable gets an answer each tcp_invalid_ratelimit, not an answer each.
func TestACKStormIsBounded(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.accept("mss=1460")
	for range 10_000 {
		x.send("A seq=101 ack=9001")
	}
	if len(x.out) != 1 || x.counted("tcp.ack_skipped_challenge") != 9999 {
		t.Errorf("%d answers, %d skipped", len(x.out), x.counted("tcp.ack_skipped_challenge"))
	}
	x.out = nil
}

// A peer that never reads: its window stays closed. The sender holds no more than its buffer, probes ever more rarely
// (RFC 9293 3.8.6.1), and goes on as long as it is answered (MUST-37).
func TestPeerThatNeverReads(t *testing.T) {
	off := false
	x := newTCPTrace(t, TCPConfig{SendAutotuning: &off})
	x.accept("mss=1460")
	x.send("A seq=101 ack=1001 win=0")
	for {
		if n, err := x.c.Write(make([]byte, 1<<20)); err != nil || n == 0 {
			break
		}
	}
	if n := x.c.Unacked(); n > int(x.c.sndBuf) || n == 0 {
		t.Errorf("%d bytes are held, the buffer has %d", n, x.c.sndBuf)
	}
	for range 100 {
		x.advance(130 * sim.Second)
		if len(x.out) > 0 {
			x.out = nil
			x.send("A seq=101 ack=1001 win=0")
		}
	}
	n := x.counted("tcp.win_probes")
	if x.wantState(StateEstablished); n < 50 || n > 120 {
		t.Errorf("%d probes in %v", n, x.loop.Now())
	}
	x.c.Abort()
	x.out = nil
}

// A fragment bomb: pieces of datagrams that never become whole. Beyond reassemblyBytes they are dropped, and after the
// timeout nothing of them is left (RFC 791 3.2, ipfrag_high_thresh).
func TestFragmentBomb(t *testing.T) {
	x := newTCPTrace(t, TCPConfig{})
	x.listen()
	const pieces = 20_000
	for i := range pieces {
		x.badPacket(true, func(ip, tcp []byte) {
			binary.BigEndian.PutUint16(ip[4:], uint16(i))
			binary.BigEndian.PutUint16(ip[6:], wire.IPv4MF|1) // the first piece never comes: there is nothing to tell its sender
		})
	}
	held := uint64(pieces) - x.counted("ip.dropped.reassembly_memory")
	if most := uint64(reassemblyBytes/fragmentOverhead + 1); held > most || held == pieces {
		t.Errorf("%d fragments are held, at most %d fit", held, most)
	}
	x.advance(60 * sim.Second)
	if x.s.frags.size != 0 {
		t.Errorf("%d bytes are held after the timeout", x.s.frags.size)
	}
	x.wantIdle()
}

// The same over IPv6 (ip6frag_high_thresh): the two versions share one bound.
func TestFragmentBombIPv6(t *testing.T) {
	x := newIPBench(t, Config{}, 0, us6+"/64")
	x.know(0, them6)
	const pieces = 20_000
	for i := range pieces {
		h := make([]byte, wire.FragmentHeaderLen)
		wire.IPv6Fragment{Next: wire.ProtoUDP, Offset: 8, More: true, ID: uint32(i)}.Put(h)
		x.sendIP6(0, ipv6(them6, us6, wire.ProtoFragment, append(h, make([]byte, 16)...)))
	}
	held := uint64(pieces) - x.counted("ip.dropped.reassembly_memory")
	if most := uint64(reassemblyBytes/fragmentOverhead + 1); held > most || held == pieces {
		t.Errorf("%d fragments are held, at most %d fit", held, most)
	}
	x.advance(60 * sim.Second)
	if x.s.frags.size != 0 || x.counted("ip.dropped.reassembly_timeout") != held {
		t.Errorf("%d bytes are held after the timeout, %d fragments were dropped by it", x.s.frags.size, x.counted("ip.dropped.reassembly_timeout"))
	}
	x.wantIdle()
}
