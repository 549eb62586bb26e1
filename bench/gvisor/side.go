// Package gvisor runs the benchmark's workloads over two gVisor netstacks joined by a pipe: the peer that our stack is
// measured against.
package gvisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/pipe"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"

	"labd.dev/bench/measure"
)

const (
	nic  = 1
	port = 5001
	poll = time.Millisecond
)

var (
	clientAddr = tcpip.AddrFrom4([4]byte{10, 0, 0, 1})
	serverAddr = tcpip.AddrFrom4([4]byte{10, 0, 0, 2})
)

// Side is gVisor's side of the comparison. Each measurement runs over a pair of stacks of its own.
type Side struct{}

var _ measure.Side = Side{}

// Name is the side's name in the output.
func (Side) Name() string { return "gvisor" }

// pair is two stacks and the pipe between them.
type pair struct{ client, server *stack.Stack }

// newPair joins two stacks by the pipe link that comes with gVisor: a frame goes from one stack straight into the other
// as a packet that shares its bytes. The pipe offers no checksum offload and no segmentation offload, so each segment is
// made, checksummed, parsed and verified on its own.
func newPair() (*pair, error) {
	a, b := pipe.New("\x02\x00\x00\x00\x00\x01", "\x02\x00\x00\x00\x00\x02", measure.MTU)
	client, err := newStack(a, clientAddr)
	if err != nil {
		return nil, err
	}
	server, err := newStack(b, serverAddr)
	if err != nil {
		return nil, err
	}
	return &pair{client: client, server: server}, nil
}

func newStack(link stack.LinkEndpoint, addr tcpip.Address) (*stack.Stack, error) {
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
	})
	if err := s.CreateNIC(nic, link); err != nil {
		return nil, fmt.Errorf("create NIC: %v", err)
	}
	addrWithPrefix := tcpip.ProtocolAddress{
		Protocol:          ipv4.ProtocolNumber,
		AddressWithPrefix: tcpip.AddressWithPrefix{Address: addr, PrefixLen: 24},
	}
	if err := s.AddProtocolAddress(nic, addrWithPrefix, stack.AddressProperties{}); err != nil {
		return nil, fmt.Errorf("add address: %v", err)
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})

	sack := tcpip.TCPSACKEnabled(true)
	moderate := tcpip.TCPModerateReceiveBufferOption(false) // the buffers are as large as they may get from the start
	send := tcpip.TCPSendBufferSizeRangeOption{Min: 4096, Default: measure.Buffer, Max: measure.Buffer}
	receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4096, Default: measure.Buffer, Max: measure.Buffer}
	timeWait := tcpip.TCPTimeWaitTimeoutOption(measure.TimeWait)
	for _, o := range []tcpip.SettableTransportProtocolOption{&sack, &moderate, &send, &receive, &timeWait} {
		if err := s.SetTransportProtocolOption(tcp.ProtocolNumber, o); err != nil {
			return nil, fmt.Errorf("set %T: %v", o, err)
		}
	}
	return s, nil
}

func closed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// packets counts the IP packets both stacks have received.
func (p *pair) packets() uint64 {
	return p.client.Stats().IP.PacketsReceived.Value() + p.server.Stats().IP.PacketsReceived.Value()
}

func (p *pair) close() {
	p.client.Destroy()
	p.server.Destroy()
}

func (p *pair) listen(port uint16) (*gonet.TCPListener, error) {
	return gonet.ListenTCP(p.server, tcpip.FullAddress{NIC: nic, Addr: serverAddr, Port: port}, ipv4.ProtocolNumber)
}

func (p *pair) dial(ctx context.Context, port uint16) (*gonet.TCPConn, error) {
	return gonet.DialContextTCP(ctx, p.client, tcpip.FullAddress{NIC: nic, Addr: serverAddr, Port: port}, ipv4.ProtocolNumber)
}

// serve accepts until the listener closes and runs handle for each connection in a goroutine of its own; the returned
// function closes the listener and waits for them all.
func (p *pair) serve(handle func(net.Conn)) (stop func(), err error) {
	l, err := p.listen(port)
	if err != nil {
		return nil, err
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { handle(c) })
		}
	})
	return func() {
		l.Shutdown()
		all.Wait()
		l.Close()
	}, nil
}

// Goodput has conns senders write as fast as they can for dur, after a warm-up, and counts what the readers read.
func (Side) Goodput(conns int, dur time.Duration) (measure.Flow, error) {
	p, err := newPair()
	if err != nil {
		return measure.Flow{}, err
	}
	defer p.close()
	var read measure.Count
	done := make(chan struct{})
	stop, err := p.serve(func(c net.Conn) {
		defer c.Close() // with bytes unread, this resets the connection: what is still buffered is not waited for
		b := make([]byte, measure.Block)
		for !closed(done) {
			n, err := c.Read(b)
			read.Add(n)
			if err != nil {
				return
			}
		}
	})
	if err != nil {
		return measure.Flow{}, err
	}
	var senders sync.WaitGroup
	var open []*gonet.TCPConn
	for range conns {
		c, err := p.dial(context.Background(), port)
		if err != nil {
			return measure.Flow{}, err
		}
		open = append(open, c)
	}
	for _, c := range open {
		senders.Go(func() {
			defer c.Close()
			b := make([]byte, measure.Block)
			for !closed(done) {
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		})
	}
	time.Sleep(measure.WarmUp(dur))
	for read.Load() < uint64(conns)*measure.WarmBytes {
		time.Sleep(poll)
	}
	start, bytes, packets := measure.Start(), read.Load(), p.packets()
	time.Sleep(dur)
	f := measure.Flow{Bytes: read.Load() - bytes, Packets: p.packets() - packets, Elapsed: start.Elapsed()}
	close(done)
	senders.Wait()
	stop()
	return f, nil
}

// Connections has parallel clients open a connection, close it in order and wait until the server has closed it too, over
// and over.
func (Side) Connections(parallel int, dur time.Duration) (measure.Flow, error) {
	p, err := newPair()
	if err != nil {
		return measure.Flow{}, err
	}
	defer p.close()
	stop, err := p.serve(func(c net.Conn) {
		var b [1]byte
		c.Read(b[:])
		c.Close()
	})
	if err != nil {
		return measure.Flow{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var made measure.Count
	var clients sync.WaitGroup
	failed := make(chan error, parallel)
	for range parallel {
		clients.Go(func() {
			for ctx.Err() == nil {
				if err := p.exchange(ctx); err != nil {
					if ctx.Err() == nil {
						failed <- err
					}
					return
				}
				made.Add(1)
			}
		})
	}
	time.Sleep(measure.WarmUp(dur))
	start, conns, packets := measure.Start(), made.Load(), p.packets()
	time.Sleep(dur)
	f := measure.Flow{Conns: made.Load() - conns, Packets: p.packets() - packets, Elapsed: start.Elapsed()}
	cancel()
	clients.Wait()
	stop()
	select {
	case err := <-failed:
		return f, err
	default:
		return f, nil
	}
}

func (p *pair) exchange(ctx context.Context) error {
	c, err := p.dial(ctx, port)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.CloseWrite(); err != nil {
		return err
	}
	var b [1]byte
	if _, err := c.Read(b[:]); err != io.EOF {
		return fmt.Errorf("read until the peer closes: %w", err)
	}
	return nil
}

// IdlePairs opens n connections, lets them rest and tells how much heap a pair of ends takes.
func (Side) IdlePairs(n int) (float64, error) {
	p, err := newPair()
	if err != nil {
		return 0, err
	}
	defer p.close()
	var listeners []*gonet.TCPListener
	for i := 0; i < n; i += measure.PerPort {
		l, err := p.listen(port + uint16(i/measure.PerPort))
		if err != nil {
			return 0, err
		}
		defer l.Close()
		listeners = append(listeners, l)
	}
	before := measure.Heap()
	ends := make([]net.Conn, 0, 2*n)
	for i := range n {
		c, err := p.dial(context.Background(), port+uint16(i/measure.PerPort))
		if err != nil {
			return 0, err
		}
		s, err := listeners[i/measure.PerPort].Accept()
		if err != nil {
			return 0, err
		}
		ends = append(ends, c, s)
	}
	if len(ends) != 2*n {
		return 0, errors.New("connections are missing")
	}
	each := float64(measure.Heap()-before) / float64(n)
	for _, c := range ends {
		c.Close()
	}
	return each, nil
}
