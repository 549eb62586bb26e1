package node

import (
	"fmt"
	"net/netip"

	"labd.dev/link"
	"labd.dev/node/app"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// Node is a host, a router or a switch: an identity that lasts, and a stack with applications, or a table of what was
// learned, that last from boot to crash.
type Node struct {
	net   *Network
	plan  *NodePlan
	index int
	loop  *sim.Loop
	id    *sim.Identity
	ports []*Port
	ecmp  sim.Stream
	hops  []hop // room for Lookup

	stack    *tcpstack.Stack // nil while the node is down
	learner  *learner        // a switch's, nil while it is down
	services []app.App
	serving  []*labv1.AppSpec // what each of them is
	work     []task
	crashes  []*crash // in force
}

// Port is a node's interface to a link.
type Port struct {
	// What each frame needs lies in the first cache line; the size is two of them.

	link               *link.Direction     // out's
	ifc                *tcpstack.Interface // nil while the node is down, and of a switch
	Node               *Node
	tapped             bool // the network has a Tap
	rxPackets, rxBytes uint64
	txPackets, txBytes uint64

	out    *direction // away from here
	Number int        // among all that the lab ever had
	Index  int        // among the node's interfaces
	Plan   *InterfacePlan
	name   string // of the interface

	_ [16]byte
}

// task is an application that an input has started.
type task struct {
	in  *labv1.Input
	app app.App
}

// Name is the node's name.
func (n *Node) Name() string { return n.plan.Name }

// Index is the node's place in the plan.
func (n *Node) Index() int { return n.index }

// ID is the node's origin.
func (n *Node) ID() sim.Origin { return n.plan.ID }

// Up reports whether the node runs.
func (n *Node) Up() bool { return n.stack != nil || n.learner != nil }

// Stack is the node's stack; nil while it is down, and of a switch.
func (n *Node) Stack() *tcpstack.Stack { return n.stack }

// boot brings the node up with empty tables, under the next boot count.
func (n *Node) boot() error {
	n.id.Boots++
	if n.plan.switches() {
		n.learner = newLearner(n)
		n.record(KindBooted)
		return nil
	}
	stack, err := tcpstack.New(n.loop, n.id, n.stackConfig())
	if err != nil {
		return FieldErrors{{fmt.Sprintf("nodes[%d]", n.plan.index), err.Error()}}
	}
	n.stack = stack
	for _, p := range n.ports {
		p.ifc = stack.Attach(p.config(), p)
	}
	static, err := n.staticRoutes()
	if err != nil {
		return err
	}
	stack.SetRoutes(static)
	stack.SetRouter(n)
	n.record(KindBooted)
	if err := n.startServices(); err != nil {
		return FieldErrors{{fmt.Sprintf("nodes[%d].apps", n.plan.index), err.Error()}}
	}
	return nil
}

func (n *Node) forwards() bool { return n.plan.kind() == labv1.NodeKind_NODE_KIND_ROUTER }

func (n *Node) stackConfig() tcpstack.Config {
	ip := n.plan.Spec.GetIp()
	c := tcpstack.Config{
		Name: n.plan.Name, Forwarding: n.forwards(), TTL: uint8(ip.GetTtl()), Seed: n.net.cfg.Spec.GetSeed(),
		ARPTimeout: sim.Time(ip.GetArpTimeoutNs()), ARPRetry: sim.Time(ip.GetArpRetryNs()),
		ReassemblyTimeout: sim.Time(ip.GetReassemblyTimeoutNs()), TCP: app.TCPConfig(n.plan.Spec.GetTcp()),
		DisableIPv6: !n.plan.speaks(labv1.Family_FAMILY_IPV6), SLAAC: n.plan.slaac(),
		RouterAdvertisements: n.forwards() && ip.GetRouterAdvertisements(), RAInterval: sim.Time(ip.GetRaIntervalNs()),
		DADTransmits: uint8(ip.GetDadTransmits()), AcceptSourceRoute: ip.GetAcceptSourceRoute(),
		IgnoreRedirects: ip != nil && ip.AcceptRedirects != nil && !ip.GetAcceptRedirects(),
		MLD:             ip == nil || ip.Mld == nil || ip.GetMld(),
		NoRedirects:     ip != nil && ip.SendRedirects != nil && !ip.GetSendRedirects(),
	}
	if n.net.cfg.Spec.GetChecksums() == labv1.Checksums_CHECKSUMS_ALWAYS {
		c.Checksums = tcpstack.ChecksumsAlways
	}
	return c
}

// staticRoutes are the spec's; a route's interface is the one whose network its next hop is in.
func (n *Node) staticRoutes() ([]tcpstack.Route, error) {
	var out []tcpstack.Route
	var errs FieldErrors
	for i, r := range n.plan.Spec.GetRoutes() {
		field := fmt.Sprintf("nodes[%d].routes[%d].", n.plan.index, i)
		dst, err := netip.ParsePrefix(r.GetDestination())
		if err != nil {
			errs.add(field+"destination", "%q is not a network like 10.0.0.0/8 or fd00:9::/48", r.GetDestination())
			continue
		}
		via, err := netip.ParseAddr(r.GetVia())
		p := n.portTo(via)
		if err != nil || p == nil || via.Is4() != dst.Addr().Is4() {
			errs.add(field+"via", "%q is not an address on a link of %s", r.GetVia(), n.plan.Name)
			continue
		}
		out = append(out, tcpstack.Route{Dst: dst.Masked(), Via: via, Ifc: p.ifc, Origin: tcpstack.RouteStatic})
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return out, nil
}

// portTo is the port whose link's network an address is in, other than the port's own.
func (n *Node) portTo(a netip.Addr) *Port {
	for _, p := range n.ports {
		for _, own := range []netip.Prefix{p.Plan.Prefix, p.Plan.Prefix6} {
			if a.IsValid() && own.IsValid() && own.Contains(a) && own.Addr() != a {
				return p
			}
		}
	}
	return nil
}

// Lookup is the stack's way into the lab's graph: the next hop on a shortest path, one of several by the flow.
func (n *Node) Lookup(dst netip.Addr, flow uint32) (netip.Addr, *tcpstack.Interface, bool) {
	ways := n.net.routes[n.net.loopOf(n.index)]
	if dst.Is6() {
		ways = n.net.routes6[n.net.loopOf(n.index)]
	}
	segment, ok := ways.g.segment(dst)
	if !ok {
		return netip.Addr{}, nil, false
	}
	n.hops = ways.hops(n.hops[:0], n.index, segment)
	if len(n.hops) == 0 {
		return netip.Addr{}, nil, false
	}
	h := n.hops[choose(n.ecmp, flow, len(n.hops))]
	via := n.net.cfg.Plan.station(h.via)
	if dst.Is6() {
		return tcpstack.LinkLocal(via.MAC), n.ports[h.ifc].ifc, true // RFC 4861 8: routers know each other by these
	}
	return via.Prefix.Addr(), n.ports[h.ifc].ifc, true
}

// crashNow loses the node's state at once. Nothing is sent: the peers find out as TCP does.
func (n *Node) crashNow() {
	if !n.Up() {
		return
	}
	n.record(KindCrashed)
	if n.learner != nil {
		n.learner = nil
		return
	}
	n.stack.Shutdown() // before its services let go of their connections: those are not to be reset
	for _, a := range n.services {
		if r, ok := a.(app.Receiver); ok {
			r.Crashed(n.plan.Name)
		}
		a.Stop()
	}
	for _, t := range n.work {
		if !t.app.Done() {
			t.app.Stop()
			n.net.failTask(t.in, n.plan.Name+" crashed")
		}
	}
	n.stack, n.services, n.serving, n.work = nil, nil, nil, nil
	for _, p := range n.ports {
		p.ifc = nil
	}
}

// bootAgain is boot for a node whose settings have been accepted before.
func (n *Node) bootAgain() {
	if err := n.boot(); err != nil {
		panic("node: " + n.plan.Name + " does not boot again: " + err.Error())
	}
}

// start runs what an input asks of the node.
func (n *Node) start(index uint32, in *labv1.Input) {
	if n.stack == nil {
		n.net.failTask(in, n.plan.Name+" is down")
		return
	}
	if a := app.Start(n.env(), index, in); a != nil {
		n.work = append(n.work, task{in, a})
	}
}

// busy reports whether something that an input started still runs here. What has ended is forgotten.
func (n *Node) busy() bool {
	keep := n.work[:0]
	for _, t := range n.work {
		if !t.app.Done() {
			keep = append(keep, t)
		}
	}
	clear(n.work[len(keep):])
	n.work = keep
	if len(keep) > 0 {
		return true
	}
	for _, a := range n.services {
		if !a.Done() {
			return true
		}
	}
	return false
}

// connected reports whether a connection is neither closed nor in TIME-WAIT.
func (n *Node) connected() bool { return n.connection(func(*tcpstack.Conn) bool { return true }) }

// connection reports whether one of some connections is neither closed nor in TIME-WAIT.
func (n *Node) connection(of func(*tcpstack.Conn) bool) bool {
	if n.stack == nil {
		return false
	}
	for _, c := range n.stack.Conns() {
		if s := c.State(); s != tcpstack.StateClosed && s != tcpstack.StateTimeWait && s != tcpstack.StateListen && of(c) {
			return true
		}
	}
	return false
}

// Transmit passes a frame of the stack to the port's link.
func (p *Port) Transmit(f *sim.Frame) {
	p.txPackets++
	p.txBytes += uint64(f.Len())
	if p.tapped {
		p.Node.net.cfg.Tap.Frame(p, p.Node.loop.Now(), true, f)
	}
	p.link.Send(f)
}

// Receive takes a frame from the port's link.
func (p *Port) Receive(f *sim.Frame) {
	n := p.Node
	if p.ifc == nil && n.learner == nil { // it is down
		f.Release()
		return
	}
	p.rxPackets++
	p.rxBytes += uint64(f.Len())
	if p.tapped {
		n.net.cfg.Tap.Frame(p, n.loop.Now(), false, f)
	}
	if p.ifc != nil {
		p.ifc.Receive(f)
		return
	}
	n.learner.receive(p, f)
}
