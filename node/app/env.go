// Package app holds the applications that run on a lab's nodes: transfers, an HTTP file server and its client, echo, UDP
// blast and sink, ping, traceroute and the sender of raw packets. They are callbacks over a node's stack: nothing here starts a goroutine, reads a
// wall clock or touches the host. What a student or a file asks of a node comes in as a journaled input; what becomes of
// it goes out to a Reporter, which only watches.
package app

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// Epoch is the calendar time of lab time 0: HTTP dates and the times of captures are this plus lab time, so that a replay
// shows the same dates.
var Epoch = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)

// Default ports.
const (
	EchoPort     = 7    // RFC 862
	DiscardPort  = 9    // RFC 863: the sinks
	HTTPPort     = 80   // RFC 9110 4.2.1
	TransferPort = 5001 // the transfer server's
)

// Env is what an application may use of the node it runs on and of the lab. Stack, Loop, ID and Report must be set.
type Env struct {
	Stack *tcpstack.Stack
	Loop  *sim.Loop
	ID    *sim.Identity
	Seed  uint64 // the lab's

	// Resolve finds the address of a node's name or of a literal address, of a version of IP if one is asked for.
	Resolve func(name string, family labv1.Family) (netip.Addr, bool)
	// NameOf names the node that has an address, for traceroute; nil: addresses only.
	NameOf func(addr netip.Addr) (string, bool)
	// TransferPort is the port of a node's transfer server; nil: TransferPort everywhere.
	TransferPort func(node string) uint16
	// Blob returns content given to the lab beforehand, by its SHA-256 in hex. It is immutable.
	Blob func(sha256 string) ([]byte, error)
	// Sink tells where the bytes of a transfer with `save` go, in order; nil (the func or its result): nowhere. It must
	// not keep the slice.
	Sink func(id string) func([]byte)
	// Input is the journal's input of that index, the same in all loops; nil if there is none.
	Input  func(index uint32) *labv1.Input
	Report Reporter
}

// Reporter is told how things go. It observes only: nothing an application does depends on it. The two ends of a transfer
// may live in different loops and report concurrently; each end changes only the fields that are its own, or changes
// shared ones in a way whose order does not matter.
type Reporter interface {
	// Transfer has update applied to the status of the transfer, download or blast of that id.
	Transfer(id string, update func(*labv1.TransferStatus))
	// ExecLine appends a line of output of a ping, a traceroute or a send.
	ExecLine(id, line string)
	// ExecDone says that it has ended.
	ExecDone(id string, code int)
}

// App is an application that runs on a node.
type App interface {
	// Name is what describe prints: "http :80".
	Name() string
	// Done says that the application has nothing left to do. A service is done when nothing it knows of is under way.
	Done() bool
	// Stop ends it at once, as its node crashes: its timers are stopped, its chunks released, nothing is sent or reported.
	Stop()
}

// Receiver is a service that is told when its node crashes, before Stop, so that it can report what it was receiving.
type Receiver interface {
	App
	Crashed(node string)
}

// Start runs what an input asks for on the node it starts from; index is the input's in the journal, and what the
// application sends carries it. It returns nil for inputs that are not an application's. What cannot start reports that
// and is done.
func Start(env Env, index uint32, in *labv1.Input) App {
	switch k := in.GetKind().(type) {
	case *labv1.Input_Transfer:
		return StartTransfer(env, index, k.Transfer)
	case *labv1.Input_HttpGet:
		return StartHTTPGet(env, index, k.HttpGet)
	case *labv1.Input_Udp:
		return StartUDPBlast(env, index, k.Udp)
	case *labv1.Input_Ping:
		return StartPing(env, index, k.Ping)
	case *labv1.Input_Traceroute:
		return StartTraceroute(env, index, k.Traceroute)
	case *labv1.Input_Send:
		return StartSend(env, index, k.Send)
	}
	return nil
}

// StartServices starts what a node's file says runs on it. A host whose list names no transfer server gets one of its own.
func StartServices(env Env, specs []*labv1.AppSpec, host bool) ([]App, error) {
	var apps []App
	fail := func(err error) ([]App, error) {
		for _, a := range apps {
			a.Stop()
		}
		return nil, err
	}
	transfer := false
	for _, spec := range specs {
		a, err := startService(env, spec)
		if err != nil {
			return fail(err)
		}
		_, is := spec.GetApp().(*labv1.AppSpec_Transfer)
		transfer = transfer || is
		apps = append(apps, a)
	}
	if host && !transfer {
		a, err := startTransferServer(env, &labv1.TransferServerApp{})
		if err != nil {
			return fail(err)
		}
		apps = append(apps, a)
	}
	return apps, nil
}

func startService(env Env, spec *labv1.AppSpec) (App, error) {
	switch k := spec.GetApp().(type) {
	case *labv1.AppSpec_Http:
		return startHTTPServer(env, k.Http)
	case *labv1.AppSpec_Echo:
		return startEcho(env, k.Echo)
	case *labv1.AppSpec_Sink:
		return startSink(env, k.Sink)
	case *labv1.AppSpec_UdpSink:
		return startUDPSink(env, k.UdpSink)
	case *labv1.AppSpec_Transfer:
		return startTransferServer(env, k.Transfer)
	}
	return nil, errors.New("app: an application of no known kind")
}

// port is a port of a file, or the default where the file names none.
func portOr(port uint32, otherwise uint16) uint16 {
	if port == 0 {
		return otherwise
	}
	return uint16(port)
}

// resolve finds a node's address, as an error that people read.
func (e *Env) resolve(name string, family labv1.Family) (netip.Addr, error) {
	if a, ok := e.Resolve(name, family); ok {
		return a, nil
	}
	return netip.Addr{}, fmt.Errorf("%s: name or address not known", name)
}

// arm sets a timer of the node.
func (e *Env) arm(t *sim.Timer, at sim.Time) { e.Loop.Arm(t, &e.ID.Src, max(at, e.Loop.Now())) }

// sink is where the bytes of a transfer go that is to be saved; nil: nowhere.
func (e *Env) sink(id string, save bool) func([]byte) {
	if !save || e.Sink == nil {
		return nil
	}
	return e.Sink(id)
}

// input is the journal's input of an index.
func (e *Env) input(index uint32) *labv1.Input {
	if index == 0 || e.Input == nil {
		return nil
	}
	return e.Input(index)
}

// any4 is the port on every address of the node.
func any4(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.IPv4Unspecified(), port) }
