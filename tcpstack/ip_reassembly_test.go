package tcpstack

import (
	"bytes"
	"fmt"
	"testing"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// fragmentsOf cuts a UDP datagram of n data bytes, id as given, into pieces of at most step bytes.
func fragmentsOf(id uint16, n, step int) (pieces [][]byte, data []byte) {
	data = make([]byte, n)
	for i := range data {
		data[i] = byte(i*7 + i>>8)
	}
	body := udpBytes("10.0.0.2", "10.0.0.1", 9, 4000, string(data))
	for off := 0; off < len(body); off += step {
		end := min(off+step, len(body))
		pieces = append(pieces, ipv4("10.0.0.2", "10.0.0.1", wire.ProtoUDP, body[off:end], func(h *wire.IPv4) {
			h.ID, h.Offset, h.MF = id, off, end < len(body)
		}))
	}
	return pieces, data
}

// RFC 791 3.2: fragments in any order make the datagram they were cut from.
func TestReassembly(t *testing.T) {
	const seed = 11
	dice := sim.NewStream(seed, "order")
	draw := uint64(0)
	for _, step := range []int{8, 16, 24, 64, 1480} {
		for _, cut := range []int{10, 14 + 20, 42, 100} {
			x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
			x.cut = cut
			var got []byte
			openUDP(t, x.s, "0.0.0.0:4000", func(d Datagram) { got = bytes.Clone(d.Data) })
			pieces, data := fragmentsOf(1, 3000, step)
			for i := range pieces {
				j := i + int(dice.Below(draw, uint64(len(pieces)-i)))
				draw++
				pieces[i], pieces[j] = pieces[j], pieces[i]
				if got != nil {
					t.Fatalf("seed %d: delivered early", seed)
				}
				x.sendIP(0, pieces[i])
				if i < len(pieces)-1 {
					x.sendIP(0, pieces[i]) // a duplicate changes nothing
				}
			}
			if !bytes.Equal(got, data) {
				t.Fatalf("seed %d: step %d, cut %d: got %d bytes, want %d", seed, step, cut, len(got), len(data))
			}
			x.wantCount("ip.reassembled", 1)
			x.wantCount("ip.dropped.fragment_duplicate", uint64(len(pieces)-1))
			if x.s.frags.size != 0 || len(x.s.frags.byKey) != 0 {
				t.Errorf("%d bytes, %d datagrams are still held", x.s.frags.size, len(x.s.frags.byKey))
			}
		}
	}
}

// RFC 5722 section 4, erratum 3089: "the entire datagram (and any constituent fragments) MUST be silently discarded".
func TestReassemblyOverlap(t *testing.T) {
	piece := func(off, n int, more bool) []byte {
		return ipv4("10.0.0.2", "10.0.0.1", wire.ProtoUDP, make([]byte, n), func(h *wire.IPv4) { h.Offset, h.MF = off, more })
	}
	for _, c := range []struct {
		name string
		ips  [][]byte
	}{
		{"begins inside", [][]byte{piece(0, 16, true), piece(8, 16, true)}},
		{"ends inside", [][]byte{piece(8, 16, true), piece(0, 16, true)}},
		{"covers", [][]byte{piece(8, 8, true), piece(0, 32, true)}},
		{"lies within", [][]byte{piece(0, 32, true), piece(8, 8, true)}},
		{"two ends", [][]byte{piece(16, 8, false), piece(32, 8, false)}},
		{"beyond the end", [][]byte{piece(16, 8, false), piece(32, 8, true)}},
		{"an end before what is there", [][]byte{piece(32, 8, true), piece(16, 8, false)}},
		{"the end again, but open", [][]byte{piece(16, 8, false), piece(16, 8, true)}},
	} {
		x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
		for _, ip := range c.ips {
			x.sendIP(0, ip)
		}
		x.wantCount("ip.dropped.fragment_overlap", 2)
		if len(x.s.frags.byKey) != 0 || x.loop.LiveFrames() != 0 {
			t.Errorf("%s: something is still held", c.name)
		}
		x.wantIdle()
	}
}

// RFC 1122 3.3.2: "If this timeout expires, the partially-reassembled datagram MUST be discarded and an ICMP Time
// Exceeded message sent to the source host (if fragment zero has been received)."
func TestReassemblyTimeout(t *testing.T) {
	x := newIPBench(t, Config{ARPTimeout: sim.Second * 60}, 0, "10.0.0.1/24")
	x.know(0, "10.0.0.2")
	with, _ := fragmentsOf(1, 100, 64)
	without, _ := fragmentsOf(2, 100, 64)
	x.sendIP(0, with[0])
	x.sendIP(0, without[1])
	x.advance(30 * sim.Second)
	x.wantIdle()
	x.wantCount("ip.dropped.reassembly_timeout", 0)
	x.advance(1)
	x.want(0, "to 02:00:00:00:00:99: 10.0.0.1 > 10.0.0.2 ttl 64 icmp 11/1 quoting 84")
	x.wantCount("ip.dropped.reassembly_timeout", 2)
	x.sendIP(0, with[1]) // comes too late and begins anew
	x.wantCount("udp.received", 0)
}

// The memory for incomplete datagrams is bounded, whoever sends them; what is complete still gets through afterwards.
func TestReassemblyBound(t *testing.T) {
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
	x.know(0, "10.0.0.2")
	for i := range 20000 {
		pieces, _ := fragmentsOf(uint16(i), 1600, 1480)
		x.sendIP(0, pieces[0])
		if x.s.frags.size > reassemblyBytes {
			t.Fatalf("%d bytes are held", x.s.frags.size)
		}
	}
	x.wantCount("ip.dropped.reassembly_memory", 20000-reassemblyBytes/(1480+fragmentOverhead))
	x.advance(31 * sim.Second)
	x.out, x.from = nil, nil
	n := 0
	openUDP(t, x.s, "0.0.0.0:4000", func(Datagram) { n++ })
	pieces, _ := fragmentsOf(1, 1600, 1480)
	for _, p := range pieces {
		x.sendIP(0, p)
	}
	if n != 1 {
		t.Error("nothing gets through any more")
	}
}

// RFC 791 3.2 and 3.1 (options' copied flag): cutting what was cut before, with options, reassembles to the same bytes.
func TestFragmentAgain(t *testing.T) {
	for _, mtu := range []int{68, 100, 576} {
		x := newRouterBench(t, mtu)
		pieces, _ := fragmentsOf(5, 3000, 1200)
		var again [][]byte
		for _, p := range pieces {
			o := append(bytes.Clone(p[:20]), 0x94, 4, 0, 0, 7, 3, 4, 0) // router alert is copied, record route is not
			o = append(o, p[20:]...)
			o[0], o[15], o[18], o[19] = 0x47, 2, 1, 2
			o[2], o[3] = byte(len(o)>>8), byte(len(o))
			wire.SetIPv4Checksum(o[:28])
			x.sendIP(0, o)
		}
		for i, b := range x.out {
			h, err := wire.ParseIPv4(b[14:])
			if err != nil || len(b)-14 > mtu || wire.Sum(b[14:14+h.HeaderLen]) != 0xffff {
				t.Fatalf("fragment %d: %v, %d bytes", i, err, len(b)-14)
			}
			want := []byte{0x94, 4, 0, 0, 7, 3, 4, 0}
			if h.Offset%1200 != 0 {
				want = []byte{0x94, 4, 0, 0, 1, 1, 1, 0}
			}
			if !bytes.Equal(h.Options, want) {
				t.Errorf("options of the fragment at %d: %x", h.Offset, h.Options)
			}
			again = append(again, b[14:])
		}
		x.out, x.from = nil, nil
		y := newIPBench(t, Config{}, 0, "10.0.1.2/24")
		n := 0
		openUDP(t, y.s, "0.0.0.0:4000", func(d Datagram) { n += len(d.Data) })
		for _, p := range again {
			// the pseudo-header sums 10.0.0.2 > 10.0.0.1 of fragmentsOf: take the checksum out
			if h, _ := wire.ParseIPv4(p); h.Offset == 0 {
				p[h.HeaderLen+6], p[h.HeaderLen+7] = 0, 0
			}
			y.sendIP(0, p)
		}
		if n != 3000 {
			t.Errorf("MTU %d: %d bytes came together, want 3000", mtu, n)
		}
	}
}

// A datagram's own sender cuts it, too: every size around the multiples of the MTU comes through whole.
func TestFragmentOwn(t *testing.T) {
	for _, n := range []int{1472, 1473, 2952, 2953, 30000, MaxUDPPayload} {
		x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
		x.know(0, "10.0.0.2")
		u := openUDP(t, x.s, "0.0.0.0:4000", nil)
		data := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7}, n/7+1)[:n]
		if err := u.SendTo(data, addrPort("10.0.0.2:4000"), SendOptions{}); err != nil {
			t.Fatal(err)
		}
		y := newIPBench(t, Config{}, 0, "10.0.0.2/24")
		var got []byte
		openUDP(t, y.s, "0.0.0.0:4000", func(d Datagram) { got = bytes.Clone(d.Data) })
		if want := (n + 8 + 1479) / 1480; len(x.out) != want {
			t.Errorf("%d bytes went in %d fragments, want %d", n, len(x.out), want)
		}
		for _, b := range x.out {
			y.sendIP(0, b[14:])
		}
		x.out, x.from = nil, nil
		if !bytes.Equal(got, data) {
			t.Errorf("%d bytes sent, %d came", n, len(got))
		}
		if err := u.SendTo(data, addrPort("10.0.0.2:7"), SendOptions{DF: true}); (err == nil) != (n <= 1472) {
			t.Errorf("%d bytes with DF: %v", n, err)
		}
		x.out, x.from = nil, nil
	}
	x := newIPBench(t, Config{}, 0, "10.0.0.1/24")
	u := openUDP(t, x.s, "0.0.0.0:4000", nil)
	if err := u.SendTo(make([]byte, MaxUDPPayload+1), addrPort("10.0.0.2:7"), SendOptions{}); err != ErrMessageTooLong {
		t.Error(fmt.Sprint("65508 bytes: ", err))
	}
}
