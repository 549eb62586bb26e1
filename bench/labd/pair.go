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
	in    []*sim.Frame // sent to this end and not yet received
	spare []*sim.Frame
	count uint64 // frames received
}

func newPair() (*pair, error) {
	p := &pair{loop: sim.NewLoop(sim.LoopConfig{Name: "bench"}), start: time.Now()}
	var err error
	if p.client, err = p.newEnd(1, clientPrefix, func(f *sim.Frame) { p.server.in = append(p.server.in, f) }); err != nil {
		return nil, err
	}
	if p.server, err = p.newEnd(2, serverPrefix, func(f *sim.Frame) { p.client.in = append(p.client.in, f) }); err != nil {
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

// receive takes what was sent to this end before.
func (e *end) receive() bool {
	frames := e.in
	e.in, e.spare = e.spare[:0], frames
	for i, f := range frames {
		frames[i] = nil
		e.stack.Receive(e.ifc, f)
	}
	e.count += uint64(len(frames))
	return len(frames) > 0
}

func (p *pair) packets() uint64 { return p.client.count + p.server.count }
