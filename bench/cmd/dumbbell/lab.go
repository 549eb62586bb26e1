package main

import (
	"fmt"
	"net/netip"
	"runtime"
	"time"

	labv1 "labd.dev/proto/lab/v1"

	"labd.dev/node"
	"labd.dev/sim"
	"labd.dev/tcpstack"

	"labd.dev/bench/labd"
	"labd.dev/bench/measure"
)

const (
	port       = 9       // of the sinks
	hostBuffer = 1 << 20 // bytes; more than the bandwidth-delay product with the queue, so that one flow fills the pipe
)

// spec is the lab: s1..sN and d1..dN at routers r1 and r2.
func spec(flows int, rate uint64, record labv1.Record) *labv1.LabSpec {
	s := &labv1.LabSpec{Name: "dumbbell", Seed: 1, Record: record, Clock: labv1.Clock_CLOCK_VIRTUAL}
	buffer := uint64(hostBuffer)
	host := func(name, router string, n int) {
		s.Nodes = append(s.Nodes, &labv1.NodeSpec{
			Name: name, Kind: labv1.NodeKind_NODE_KIND_HOST,
			Tcp: &labv1.TcpSettings{SendBufferBytes: &buffer, RecvBufferBytes: &buffer},
		})
		s.Links = append(s.Links, link(name, "eth0", router, fmt.Sprintf("eth%d", n), rate*accessFactor, accessDelay))
	}
	for _, r := range []string{"r1", "r2"} {
		s.Nodes = append(s.Nodes, &labv1.NodeSpec{Name: r, Kind: labv1.NodeKind_NODE_KIND_ROUTER})
	}
	s.Links = append(s.Links, link("r1", "eth0", "r2", "eth0", rate, bottleneckDelay))
	for i := 1; i <= flows; i++ {
		host(fmt.Sprintf("s%d", i), "r1", i)
		host(fmt.Sprintf("d%d", i), "r2", i)
	}
	return s
}

func link(a, aIf, b, bIf string, rate uint64, delay time.Duration) *labv1.LinkSpec {
	return &labv1.LinkSpec{
		A: &labv1.Endpoint{Node: a, Interface: aIf}, B: &labv1.Endpoint{Node: b, Interface: bIf},
		Forward: &labv1.DirectionSpec{RateBps: rate, DelayNs: int64(delay)},
		Reverse: &labv1.DirectionSpec{RateBps: rate, DelayNs: int64(delay)},
	}
}

// recorderBlock is how many records a loop collects before it hands them on, as in a worker.
const recorderBlock = 4096

// run simulates dur of the dumbbell with every flow sending all the time, and measures that: handshakes, address
// resolution and the search for routes included, building the lab not. What record says is
// recorded, as far as the loop does that: the blocks are counted, not written.
func run(flows int, rate uint64, dur time.Duration, record labv1.Record) (result, error) {
	s := spec(flows, rate, record)
	plan, err := node.Assign(s, nil)
	if err != nil {
		return result{}, err
	}
	loop := sim.NewLoop(sim.LoopConfig{Name: "dumbbell"})
	net, err := node.NewNetwork(node.Config{Spec: s, Plan: plan, Loops: []*sim.Loop{loop}, Report: silent{}})
	if err != nil {
		return result{}, err
	}
	defer net.Close()
	var read uint64
	for _, n := range net.Nodes() {
		switch n.Name()[0] {
		case 'd':
			err = sink(n.Stack(), &read)
		case 's':
			to, _ := net.Resolve("d"+n.Name()[1:], labv1.Family_FAMILY_UNSPECIFIED)
			err = bulk(loop, n.Stack(), netip.AddrPortFrom(to, port))
		}
		if err != nil {
			return result{}, err
		}
	}
	records := uint64(0)
	if record != labv1.Record_RECORD_NONE {
		loop.Rec = sim.NewRecorder(recorderBlock, func(b []sim.Record) { records += uint64(len(b)) })
	}
	runtime.GC() // what building the lab has left is not the run's to collect
	start := measure.Start()
	if err := loop.RunBefore(sim.Time(dur)); err != nil {
		return result{}, err
	}
	cpu := start.Elapsed().Seconds()
	r := result{Flows: flows, SimulatedS: dur.Seconds(), CPUS: cpu, Events: loop.Events(), Records: records}
	for _, n := range net.Nodes() {
		for _, i := range n.Status().GetInterfaces() {
			r.PacketHops += i.GetRxPackets()
		}
	}
	r.PacketHopsPerS = float64(r.PacketHops) / cpu
	r.GoodputBps = 8 * float64(read) / dur.Seconds()
	return r, nil
}

// silent reports nothing.
type silent struct{}

func (silent) Transfer(string, func(*labv1.TransferStatus)) {}
func (silent) ExecLine(string, string)                      {}
func (silent) ExecDone(string, int)                         {}

// sender hands over the same immutable chunk again and again.
type sender struct {
	labd.Quiet
	chunk *sim.Chunk
}

const block = 64 << 10 // bytes that the applications write and read at a time

func bulk(loop *sim.Loop, s *tcpstack.Stack, to netip.AddrPort) error {
	_, err := s.Dial(netip.AddrPort{}, to, tcpstack.TCPConfig{}, &sender{chunk: loop.NewStaticChunk(make([]byte, block))})
	return err
}

func (s *sender) Established(c *tcpstack.Conn) { s.Writable(c) }

func (s *sender) Writable(c *tcpstack.Conn) {
	for {
		if _, err := c.WriteChunk(s.chunk, 0, block); err != nil {
			return
		}
	}
}

func sink(s *tcpstack.Stack, read *uint64) error {
	in := make([]byte, block)
	_, err := s.Listen(netip.AddrPortFrom(netip.IPv4Unspecified(), port), tcpstack.TCPConfig{}, func(*tcpstack.Conn) tcpstack.ConnHandler {
		return &labd.Reader{Block: in, Read: read}
	})
	return err
}
