package tcpstack

import (
	"net/netip"
	"runtime"
	"testing"

	"labd.dev/sim"
)

// In steady state a segment, its half ACK included, allocates nothing, recorded or not.
func TestNoAllocationPerSegment(t *testing.T) {
	fixed := Config{Checksums: ChecksumsAlways, TCP: TCPConfig{SendBuffer: 128 << 10, RecvBuffer: 128 << 10}}
	for _, rec := range []*sim.Recorder{nil, sim.NewRecorder(1024, func([]sim.Record) {})} {
		p := newTCPPair(t, [2]Config{fixed, fixed}, sim.Microsecond)
		p.loop.Rec = rec
		src, dst := &source{buf: make([]byte, 64<<10)}, &sinkApp{buf: make([]byte, 64<<10)}
		if _, err := p.stack[1].Listen(netip.AddrPortFrom(netip.Addr{}, 80), TCPConfig{}, func(*Conn) ConnHandler { return dst }); err != nil {
			t.Fatal(err)
		}
		if _, err := p.stack[0].Dial(netip.AddrPort{}, netip.AddrPortFrom(p.addr[1], 80), TCPConfig{}, src); err != nil {
			t.Fatal(err)
		}
		p.run(sim.Millisecond)
		transfer := func() {
			src.left += 1 << 20
			src.push()
			for src.left > 0 {
				p.run(100 * sim.Microsecond)
			}
		}
		transfer()
		transfer()
		if n := testing.AllocsPerRun(10, transfer); n > 0 {
			t.Errorf("%v allocations for a mebibyte (recorded: %v)", n, rec != nil)
		}
		p.teardown()
	}
}

// maxIdlePair is what both ends of an established idle connection may take of the heap, bytes: a quarter of gVisor's.
const maxIdlePair = 2900

// An idle pair holds no buffers, scoreboards or congestion state, also after it has carried data.
func TestIdlePairMemory(t *testing.T) {
	const pairs = 2000
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	p := newTCPPair(t, [2]Config{}, sim.Microsecond)
	dst := &sinkApp{buf: make([]byte, 4096)}
	if _, err := p.stack[1].Listen(netip.AddrPortFrom(netip.Addr{}, 80), TCPConfig{}, func(*Conn) ConnHandler { return dst }); err != nil {
		t.Fatal(err)
	}
	src := &source{buf: make([]byte, 100)}
	dial := func(n int) {
		for range n {
			if _, err := p.stack[0].Dial(netip.AddrPort{}, netip.AddrPortFrom(p.addr[1], 80), TCPConfig{}, src); err != nil {
				t.Fatal(err)
			}
			src.left = 100
			p.run(10 * sim.Microsecond)
		}
		p.run(sim.Second)
	}
	dial(10)
	before := heap()
	dial(pairs)
	each := int(heap()-before) / pairs
	if dst.got != 100*(pairs+10) {
		t.Fatalf("%d bytes arrived", dst.got)
	}
	t.Logf("%d bytes an idle pair", each)
	if each > maxIdlePair {
		t.Errorf("%d bytes an idle pair, at most %d", each, maxIdlePair)
	}
	p.teardown()
}
