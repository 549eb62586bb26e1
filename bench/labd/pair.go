// Package labd runs the benchmark's workloads over two of our own stacks.
package labd

import (
	"fmt"
	"net/netip"
	"time"

	"labd.dev/sim"
	"labd.dev/tcpstack"
	"labd.dev/tcpstack/wire"

	"labd.dev/bench/measure"
)

const port = 5001

var (
	clientPrefix = netip.MustParsePrefix("10.0.0.1/24")
	serverPrefix = netip.MustParsePrefix("10.0.0.2/24")
)

// pair is two stacks in one loop, driven by the wall clock as the peer's are. A frame that one sends is handed to the
// other as it is, in the order of sending; no link lies between.
type pair struct {
	loop           *sim.Loop
	client, server *end
	start          time.Time
}

type end struct {
	stack *tcpstack.Stack
	ifc   *tcpstack.Interface
	in    []*sim.Frame // [first:] were sent to this end and not yet received
	first int
	count uint64 // frames received
}

// memory is room for what a thousand connections may have under way: a full buffer at each end of each.
const memory = 2 * 1000 * measure.Buffer

func newPair() (*pair, error) {
	p := &pair{loop: sim.NewLoop(sim.LoopConfig{Name: "bench", Budget: sim.Budget{Memory: memory}}), start: time.Now()}
	var err error
	if p.client, err = p.newEnd(1, clientPrefix, func(f *sim.Frame) { p.server.send(f) }); err != nil {
		return nil, err
	}
	if p.server, err = p.newEnd(2, serverPrefix, func(f *sim.Frame) { p.client.send(f) }); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *pair) newEnd(id uint32, prefix netip.Prefix, tx func(*sim.Frame)) (*end, error) {
	name := fmt.Sprintf("end%d", id)
	identity := &sim.Identity{Name: name, Src: sim.Source{ID: sim.Origin(id)}, Boots: 1}
	timeWait := sim.Time(measure.TimeWait)
	s, err := tcpstack.New(p.loop, identity, tcpstack.Config{
		Name: name, Seed: 1, Checksums: tcpstack.ChecksumsAlways,
		TCP: tcpstack.TCPConfig{SendBuffer: measure.Buffer, RecvBuffer: measure.Buffer, TimeWait: &timeWait},
	})
	if err != nil {
		return nil, err
	}
	ifc := s.AddInterface(tcpstack.InterfaceConfig{
		Name: "eth0", MAC: wire.MAC{2, 0, 0, 0, 0, byte(id)}, Prefix: prefix, MTU: measure.MTU,
	}, tx)
	s.SetRoutes([]tcpstack.Route{{Dst: prefix.Masked(), Ifc: ifc}})
	return &end{stack: s, ifc: ifc}, nil
}

// clockEvery is how many exchanges of frames pass between two looks at the clock, while frames are under way.
const clockEvery = 8

// run exchanges frames and lets timers fire until the wall time comes or, if it is given, done says so.
func (p *pair) run(until time.Time, done func() bool) error {
	for {
		for range clockEvery {
			toServer, toClient := p.server.receive(), p.client.receive()
			if !toServer && !toClient {
				break
			}
		}
		now := time.Now()
		if err := p.loop.RunBefore(sim.Time(now.Sub(p.start))); err != nil {
			return err
		}
		if now.After(until) || done != nil && done() {
			return nil
		}
	}
}

// pollBudget is how many frames an end takes before the other one has its turn, as many as Linux lets a device hand over
// in one poll (NAPI_POLL_WEIGHT).
const pollBudget = 64

// receive takes what was sent to this end before, up to the budget.
func (e *end) receive() bool {
	n := 0
	for ; n < pollBudget && e.first < len(e.in); n++ {
		f := e.in[e.first]
		e.in[e.first] = nil
		e.first++
		e.stack.Receive(e.ifc, f)
	}
	if e.first == len(e.in) {
		e.in, e.first = e.in[:0], 0
	}
	e.count += uint64(n)
	return n > 0
}

// send puts a frame into the end's queue. The room of those taken is used again before the queue grows.
func (e *end) send(f *sim.Frame) {
	if len(e.in) == cap(e.in) && e.first > len(e.in)/2 {
		n := copy(e.in, e.in[e.first:])
		clear(e.in[n:])
		e.in, e.first = e.in[:n], 0
	}
	e.in = append(e.in, f)
}

func (p *pair) packets() uint64 { return p.client.count + p.server.count }
