package labd

import (
	"fmt"
	"io"
	"net/netip"
	"time"

	"labd.dev/tcpstack"

	"labd.dev/bench/measure"
)

// patience is how long a phase that must come to its end by itself may take, in wall time.
const patience = 30 * time.Second

// Side is our side of the comparison. Each measurement runs over a pair of stacks of its own.
type Side struct{}

var _ measure.Side = Side{}

// Name is the side's name in the output.
func (Side) Name() string { return "labd" }

func (p *pair) listen(port uint16, accept func(*tcpstack.Conn) tcpstack.ConnHandler) error {
	_, err := p.server.stack.Listen(netip.AddrPortFrom(serverPrefix.Addr(), port), tcpstack.TCPConfig{}, accept)
	return err
}

func (p *pair) dial(port uint16, h tcpstack.ConnHandler) (*tcpstack.Conn, error) {
	return p.client.stack.Dial(netip.AddrPort{}, netip.AddrPortFrom(serverPrefix.Addr(), port), tcpstack.TCPConfig{}, h)
}

// sender writes block after block, as long as its connection takes them.
type sender struct {
	Quiet
	block []byte
}

func (s *sender) Established(c *tcpstack.Conn) { s.Writable(c) }

func (s *sender) Writable(c *tcpstack.Conn) {
	for {
		if _, err := c.Write(s.block); err != nil {
			return
		}
	}
}

// Goodput has conns senders write as fast as they can for dur, after a warm-up, and counts what the readers read.
func (Side) Goodput(conns int, dur time.Duration) (measure.Flow, error) {
	p, err := newPair()
	if err != nil {
		return measure.Flow{}, err
	}
	var read uint64
	in := make([]byte, measure.Block)
	if err := p.listen(port, func(*tcpstack.Conn) tcpstack.ConnHandler { return &Reader{Block: in, Read: &read} }); err != nil {
		return measure.Flow{}, err
	}
	out := make([]byte, measure.Block)
	for range conns {
		if _, err := p.dial(port, &sender{block: out}); err != nil {
			return measure.Flow{}, err
		}
	}
	if err := p.run(time.Now().Add(measure.WarmUp(dur)), nil); err != nil {
		return measure.Flow{}, err
	}
	if err := p.run(time.Now().Add(patience), func() bool { return read >= uint64(conns)*measure.WarmBytes }); err != nil {
		return measure.Flow{}, err
	}
	start, bytes, packets := measure.Start(), read, p.packets()
	if err := p.run(time.Now().Add(dur), nil); err != nil {
		return measure.Flow{}, err
	}
	return measure.Flow{Bytes: read - bytes, Packets: p.packets() - packets, Elapsed: start.Elapsed()}, nil
}

// client opens a connection, closes it in order, waits until the server has closed it too, and opens the next one.
type client struct {
	Quiet
	pair *pair
	made *uint64
	err  *error
}

func (k *client) open() {
	if _, err := k.pair.dial(port, k); err != nil {
		*k.err = err
	}
}

func (k *client) Established(c *tcpstack.Conn) { c.CloseWrite() }

func (k *client) Readable(c *tcpstack.Conn) {
	var b [1]byte
	if _, err := c.Read(b[:]); err == io.EOF {
		c.Close()
	}
}

func (k *client) Closed(c *tcpstack.Conn, err error) {
	c.Release()
	if err != nil {
		*k.err = err
		return
	}
	*k.made++
	k.open()
}

// closer closes when its peer has closed.
type closer struct{ Quiet }

func (closer) Readable(c *tcpstack.Conn) {
	var b [1]byte
	if _, err := c.Read(b[:]); err == io.EOF {
		c.Close()
	}
}

func (closer) Closed(c *tcpstack.Conn, _ error) { c.Release() }

// Connections has parallel clients open and close connections, over and over.
func (Side) Connections(parallel int, dur time.Duration) (measure.Flow, error) {
	p, err := newPair()
	if err != nil {
		return measure.Flow{}, err
	}
	if err := p.listen(port, func(*tcpstack.Conn) tcpstack.ConnHandler { return closer{} }); err != nil {
		return measure.Flow{}, err
	}
	var made uint64
	var failed error
	for range parallel {
		(&client{pair: p, made: &made, err: &failed}).open()
	}
	if err := p.run(time.Now().Add(measure.WarmUp(dur)), nil); err != nil {
		return measure.Flow{}, err
	}
	start, conns, packets := measure.Start(), made, p.packets()
	if err := p.run(time.Now().Add(dur), nil); err != nil {
		return measure.Flow{}, err
	}
	f := measure.Flow{Conns: made - conns, Packets: p.packets() - packets, Elapsed: start.Elapsed()}
	return f, failed
}

// IdlePairs opens n connections, lets them rest and tells how much heap a pair of ends takes.
func (Side) IdlePairs(n int) (float64, error) {
	p, err := newPair()
	if err != nil {
		return 0, err
	}
	accepted := 0
	for i := 0; i < n; i += measure.PerPort {
		accept := func(*tcpstack.Conn) tcpstack.ConnHandler { accepted++; return Quiet{} }
		if err := p.listen(port+uint16(i/measure.PerPort), accept); err != nil {
			return 0, err
		}
	}
	before := measure.Heap()
	for i := range n {
		if _, err := p.dial(port+uint16(i/measure.PerPort), Quiet{}); err != nil {
			return 0, err
		}
		if err := p.run(time.Now().Add(patience), func() bool { return accepted == i+1 }); err != nil {
			return 0, err
		}
	}
	if accepted != n {
		return 0, fmt.Errorf("%d of %d connections are open", accepted, n)
	}
	if err := p.run(time.Now().Add(settle), nil); err != nil { // what a delayed ACK or a timer still holds goes
		return 0, err
	}
	each := float64(int64(measure.Heap())-int64(before)) / float64(n)
	if len(p.client.stack.Conns()) != n {
		return 0, fmt.Errorf("%d of %d connections are still open", len(p.client.stack.Conns()), n)
	}
	return each, nil
}

// settle is longer than every timer that a connection at rest may still have running.
const settle = 500 * time.Millisecond
