package worker

import (
	"errors"
	"os"
	"sync/atomic"

	"labd.dev/node"
	"labd.dev/sim"
	"labd.dev/trace"
)

// taps watch all interfaces of a lab: they remember headers, and capture where that was asked for. Each interface's
// part is used in its node's loop only.
type taps struct {
	names *trace.Names
	ports [][]portTap // by node, then interface
	conns []connStates
	plan  *node.Plan
	err   atomic.Pointer[error] // the first of any capture
}

type portTap struct {
	ring    hopRing
	capture *trace.CaptureWriter
	file    *os.File
	comment []byte
}

func newTaps(plan *node.Plan, names *trace.Names) *taps {
	t := &taps{names: names, plan: plan, conns: make([]connStates, len(plan.Nodes))}
	for i := range plan.Nodes {
		t.ports = append(t.ports, make([]portTap, len(plan.Nodes[i].Interfaces)))
		for j := range t.ports[i] {
			t.ports[i][j].ring = newHopRing(len(plan.Directions))
		}
	}
	return t
}

// capture opens a capture file for every interface.
func (t *taps) capture(dir *trace.Dir) error {
	var hosts []trace.HostName
	t.each(func(n *node.NodePlan, i *node.InterfacePlan, _ *portTap) error {
		hosts = append(hosts, trace.HostName{Addr: i.Prefix.Addr(), Name: n.Name})
		return nil
	})
	if len(hosts) > maxCaptureNames {
		hosts = nil
	}
	return t.each(func(n *node.NodePlan, i *node.InterfacePlan, p *portTap) (err error) {
		if p.file, err = dir.File(trace.CaptureName(n.Name, i.Name)); err != nil {
			return err
		}
		p.capture, err = trace.NewCaptureWriter(p.file, trace.CaptureInterface{
			Node: n.Name, Name: i.Name, MAC: i.MAC, Prefix: i.Prefix, Hosts: hosts,
		})
		return err
	})
}

// maxCaptureNames bounds the table of names in each of a lab's captures: in a larger lab the tables would outweigh the
// packets.
const maxCaptureNames = 1000

func (t *taps) each(visit func(*node.NodePlan, *node.InterfacePlan, *portTap) error) error {
	for i := range t.ports {
		n := &t.plan.Nodes[i]
		for j := range t.ports[i] {
			if err := visit(n, &n.Interfaces[j], &t.ports[i][j]); err != nil {
				return err
			}
		}
	}
	return nil
}

// Frame implements node.Tap.
func (t *taps) Frame(p *node.Port, now sim.Time, out bool, f *sim.Frame) {
	n := p.Node.Index()
	state := t.conns[n].state(p.Node.Stack(), f.Conn)
	pt := &t.ports[n][p.Index]
	pt.ring.add(now, out, f, state)
	if pt.capture != nil {
		pt.comment = trace.AppendComment(pt.comment[:0], t.names, f.Pkt, f.Conn, state)
		if err := pt.capture.Packet(now, f.Pkt, out, pt.comment, f.Header(), f.Payload); err != nil {
			t.err.CompareAndSwap(nil, &err)
		}
	}
}

// failed is the first error of any capture.
func (t *taps) failed() error {
	if err := t.err.Load(); err != nil {
		return *err
	}
	return nil
}

// flush writes out what the captures hold; the first error of any of them.
func (t *taps) flush() error {
	return t.each(func(_ *node.NodePlan, _ *node.InterfacePlan, p *portTap) error {
		if p.capture == nil {
			return nil
		}
		return p.capture.Flush()
	})
}

func (t *taps) close() error {
	err := t.flush()
	return errors.Join(err, t.each(func(_ *node.NodePlan, _ *node.InterfacePlan, p *portTap) error {
		if p.file == nil {
			return nil
		}
		f := p.file
		p.file, p.capture = nil, nil
		return f.Close()
	}))
}
