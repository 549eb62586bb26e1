package worker

import (
	"errors"
	"net/netip"
	"os"
	"sync/atomic"

	"labd.dev/node"
	"labd.dev/sim"
	"labd.dev/tcpstack"
	"labd.dev/trace"
)

// taps watch all interfaces of a lab: they remember headers, and capture where that was asked for. Each interface's
// part is used in its node's loop only; the lists change only while all loops are at rest.
type taps struct {
	names *trace.Names
	// remember: headers are kept of every frame, so that a packet can be shown. A run whose frames nobody captures does
	// without: it ends by itself, and nothing of what it remembered would be left.
	remember bool
	ports    []*portTap          // by node.Port.Number
	byName   map[string]*portTap // "r1:eth0", of all that there ever were: one that comes back goes on
	nodes    map[string]*connStates
	dir      *trace.Dir            // where captures go; nil: nowhere
	err      atomic.Pointer[error] // the first of any capture
}

type portTap struct {
	node, ifc string
	ring      hopRing
	conns     *connStates
	capture   *trace.CaptureWriter
	file      *os.File
	comment   []byte
	live      []*liveCapture
}

func newTaps(plan *node.Plan, here []bool, names *trace.Names, remember bool) *taps {
	t := &taps{names: names, remember: remember, byName: map[string]*portTap{}, nodes: map[string]*connStates{}}
	for i := range plan.Nodes {
		if here != nil && !here[i] {
			continue
		}
		for j := range plan.Nodes[i].Interfaces {
			t.ports = append(t.ports, t.port(plan, &plan.Nodes[i], &plan.Nodes[i].Interfaces[j]))
		}
	}
	return t
}

// port is the part of an interface.
func (t *taps) port(plan *node.Plan, n *node.NodePlan, i *node.InterfacePlan) *portTap {
	name := n.Name + ":" + i.Name
	p := t.byName[name]
	if p == nil {
		if t.nodes[n.Name] == nil {
			t.nodes[n.Name] = &connStates{}
		}
		p = &portTap{node: n.Name, ifc: i.Name, ring: newHopRing(len(plan.Directions)), conns: t.nodes[n.Name]}
		t.byName[name] = p
	}
	return p
}

// follow takes in the interfaces that a change of the lab has added.
func (t *taps) follow(plan *node.Plan, nodes []*node.Node, names *trace.Names) error {
	t.names = names
	hosts := captureHosts(plan)
	for _, n := range nodes {
		for _, port := range n.Ports() {
			for len(t.ports) <= port.Number {
				t.ports = append(t.ports, nil)
			}
			np := &plan.Nodes[n.Index()]
			p := t.port(plan, np, port.Plan)
			t.ports[port.Number] = p
			if t.dir != nil && p.capture == nil {
				if err := p.open(t.dir, np, port.Plan, hosts); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// capture opens a capture file for every interface, and for each that comes later.
func (t *taps) capture(dir *trace.Dir, plan *node.Plan) error {
	t.dir = dir
	hosts := captureHosts(plan)
	for i := range plan.Nodes {
		n := &plan.Nodes[i]
		for j := range n.Interfaces {
			p := t.byName[n.Name+":"+n.Interfaces[j].Name]
			if p == nil { // in another shard
				continue
			}
			if err := p.open(dir, n, &n.Interfaces[j], hosts); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *portTap) open(dir *trace.Dir, n *node.NodePlan, i *node.InterfacePlan, hosts []trace.HostName) (err error) {
	if p.file, err = dir.File(trace.CaptureName(n.Name, i.Name)); err != nil {
		return err
	}
	p.capture, err = trace.NewCaptureWriter(p.file, trace.CaptureInterface{
		Node: n.Name, Name: i.Name, MAC: i.MAC, Prefix: i.Prefix, Prefix6: i.Prefix6, Hosts: hosts,
	})
	return err
}

// captureHosts is the table of names in each capture; none in a lab that is too large for it.
func captureHosts(plan *node.Plan) []trace.HostName {
	var hosts []trace.HostName
	for i := range plan.Nodes {
		for j := range plan.Nodes[i].Interfaces {
			ifc := &plan.Nodes[i].Interfaces[j]
			for _, p := range []netip.Prefix{ifc.Prefix, ifc.Prefix6} {
				if p.IsValid() {
					hosts = append(hosts, trace.HostName{Addr: p.Addr(), Name: plan.Nodes[i].Name})
				}
			}
		}
	}
	if len(hosts) > maxCaptureNames {
		return nil
	}
	return hosts
}

// maxCaptureNames bounds the table of names in each of a lab's captures: in a larger lab the tables would outweigh the
// packets.
const maxCaptureNames = 1000

// each visits all interfaces, those that are gone included, in an order of no meaning.
func (t *taps) each(visit func(*portTap) error) error {
	for _, p := range t.byName {
		if err := visit(p); err != nil {
			return err
		}
	}
	return nil
}

// Frame implements node.Tap.
func (t *taps) Frame(p *node.Port, now sim.Time, out bool, f *sim.Frame) {
	pt := t.ports[p.Number]
	captured := pt.capture != nil || len(pt.live) > 0
	if !captured && !t.remember {
		return
	}
	if captured {
		tcpstack.FillChecksums(f) // what somebody sees has true checksums
	}
	state := pt.conns.state(p.Node.Stack(), f.Conn)
	if t.remember {
		pt.ring.add(now, out, f, state)
	}
	if pt.capture != nil {
		pt.comment = trace.AppendComment(pt.comment[:0], t.names, f.Pkt, f.Conn, state)
		if err := pt.capture.Packet(now, f.Pkt, out, pt.comment, f.Header(), f.Payload); err != nil {
			t.err.CompareAndSwap(nil, &err)
		}
	}
	for _, c := range pt.live {
		c.frame(t.names, now, out, f, state)
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
	return t.each(func(p *portTap) error {
		if p.capture == nil {
			return nil
		}
		return p.capture.Flush()
	})
}

func (t *taps) close() error {
	err := t.flush()
	return errors.Join(err, t.each(func(p *portTap) error {
		if p.file == nil {
			return nil
		}
		f := p.file
		p.file, p.capture = nil, nil
		return f.Close()
	}))
}
