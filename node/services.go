package node

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"labd.dev/node/app"
	labv1 "labd.dev/proto/lab/v1"
)

// wantedServices is what runs on the node from its boot on: what its file says, and on a host a transfer server.
func (n *Node) wantedServices() []*labv1.AppSpec {
	specs := slices.Clone(n.plan.Spec.GetApps())
	if !n.forwards() && !slices.ContainsFunc(specs, func(s *labv1.AppSpec) bool { return s.GetTransfer() != nil }) {
		specs = append(specs, &labv1.AppSpec{App: &labv1.AppSpec_Transfer{Transfer: &labv1.TransferServerApp{}}})
	}
	return specs
}

// startServices starts all of them.
func (n *Node) startServices() (err error) {
	n.serving = n.wantedServices()
	n.services, err = app.StartServices(n.env(), n.serving, false)
	return err
}

// changeServices stops and starts what differs from what runs. One whose settings have changed is another: it is
// stopped, its connections are reset, and it is started anew.
func (n *Node) changeServices() {
	wanted := n.wantedServices()
	services := make([]app.App, len(wanted))
	for i, spec := range n.serving {
		k := slices.IndexFunc(wanted, func(w *labv1.AppSpec) bool { return proto.Equal(w, spec) })
		if k >= 0 && services[k] == nil {
			services[k] = n.services[i]
			continue
		}
		n.resetConns(servicePort(spec))
		n.services[i].Stop()
	}
	n.serving, n.services = nil, nil
	for k, spec := range wanted {
		if services[k] == nil {
			// The port may be taken by what an input has started; then the service is left out, as status shows.
			started, err := app.StartServices(n.env(), wanted[k:k+1], false)
			if err != nil {
				continue
			}
			services[k] = started[0]
		}
		n.serving, n.services = append(n.serving, spec), append(n.services, services[k])
	}
}

// resetConns resets the connections that others have opened to a port.
func (n *Node) resetConns(port uint16) {
	for _, c := range n.stack.Conns() {
		if !c.Initiator() && c.LocalAddr().Port() == port {
			c.Abort()
		}
	}
}

// servicePort is the port that a service listens on.
func servicePort(s *labv1.AppSpec) uint16 {
	port, otherwise := uint32(0), uint16(app.DiscardPort)
	switch k := s.GetApp().(type) {
	case *labv1.AppSpec_Http:
		port, otherwise = k.Http.GetPort(), app.HTTPPort
	case *labv1.AppSpec_Echo:
		port, otherwise = k.Echo.GetPort(), app.EchoPort
	case *labv1.AppSpec_Sink:
		port = k.Sink.GetPort()
	case *labv1.AppSpec_UdpSink:
		port = k.UdpSink.GetPort()
	case *labv1.AppSpec_Transfer:
		port, otherwise = k.Transfer.GetPort(), app.TransferPort
	}
	if port == 0 {
		return otherwise
	}
	return uint16(port)
}
