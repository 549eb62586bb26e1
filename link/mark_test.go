package link

import (
	"testing"

	header "labd.dev/tcpstack/wire"
)

// offer sends a packet of 1000 bytes with an ECN codepoint.
func (w *wire) offer(six bool, codepoint uint8) {
	f := w.loop.NewFrame()
	f.Pkt = w.id.NextPacket()
	b := f.Append(EthernetHeader + header.IPv6Len)
	clear(b)
	p := b[EthernetHeader:]
	if six {
		b[12], b[13] = 0x86, 0xdd
		p[0], p[1] = 0x60, codepoint<<4
	} else {
		b[12], b[13] = 0x08, 0x00
		p[0], p[header.IPv4OffTOS] = 0x45, 0xb8|codepoint
		header.SetIPv4Checksum(p[:header.IPv4MinLen])
	}
	c := w.loop.NewChunk(1000 - len(b))
	f.SetPayload(c, 0, 1000-len(b))
	c.Release()
	w.dir.Send(f)
}

// codepoints are the ECN fields of what arrived.
func (w *wire) codepoints() (got []uint8) {
	w.t.Helper()
	for _, f := range w.frames {
		tc, ok := trafficClass(f)
		if !ok {
			w.t.Fatal("no packet")
		}
		p := f.Header()[EthernetHeader:]
		if p[0]>>4 == 4 && header.Fold(header.HeaderSum(p[:header.IPv4MinLen])) != 0xffff {
			w.t.Error("an IPv4 header's checksum does not hold")
		}
		got = append(got, tc&ecnMask)
		f.Release()
	}
	w.frames = nil
	return got
}

// RFC 3168 5: "The CE codepoint ... is set by a router to indicate congestion to the end nodes", on packets that are
// ECN-capable. A frame takes 1 ms on the wire: the third waits 2 ms.
func TestMarkBySojourn(t *testing.T) {
	for _, six := range []bool{false, true} {
		for _, cut := range []bool{false, true} {
			w := newWire(t, Config{Rate: 8_000_000, Delay: ms, Queue: Queue{Mark: Mark{Sojourn: 1500 * us}}})
			if w.keep = true; cut {
				w.cut()
			}
			for _, cp := range []uint8{2, 2, 2, 1, 0, 3, 2} {
				w.offer(six, cp)
			}
			w.run(100 * ms)
			want := []uint8{2, 2, 3, 3, 0, 3, 3}
			if cut { // the copies belong to the other loop
				w.far, w.loop = w.loop, w.far
			}
			for i, got := range w.codepoints() {
				if got != want[i] {
					t.Errorf("IPv6 %v: packet %d arrived with %d, want %d", six, i+1, got, want[i])
				}
			}
			if cut {
				w.far, w.loop = w.loop, w.far
			}
			if n := w.dir.Stats().Marked; n != 3 {
				t.Errorf("%d marked", n)
			}
			marked := 0
			for _, h := range w.hops() {
				for _, e := range h.Events(nil) {
					if e.Name == Marked {
						marked++
					}
				}
			}
			if marked != 3 {
				t.Errorf("%d events", marked)
			}
		}
	}
}

// What still waits when the settings change is decided anew: without the limit nothing is marked.
func TestMarkIsDecidedAnew(t *testing.T) {
	w := newWire(t, Config{Rate: 8_000_000, Queue: Queue{Mark: Mark{Sojourn: 1500 * us}}})
	w.keep = true
	for range 5 {
		w.offer(false, 2)
	}
	w.run(2*ms + 1)
	w.dir.Set(Config{Rate: 8_000_000})
	w.run(100 * ms)
	marked := 0
	for _, cp := range w.codepoints() {
		if cp == ecnCE {
			marked++
		}
	}
	if n := w.dir.Stats().Marked; marked != 1 || n != 1 {
		t.Errorf("%d packets are marked, %d counted", marked, n)
	}
}
