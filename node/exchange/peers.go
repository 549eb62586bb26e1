package exchange

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"labd.dev/sim"
)

const (
	// inHand is how many messages of a peer are held at most. It sends a round's only when it has ours of the round before,
	// so that a third would be against the protocol.
	inHand = 2
	// readBlock is what is read at once, and how far a buffer grows ahead of what has come: a length alone takes no memory.
	readBlock = 1 << 20
	// keptBuffer is what a buffer may hold on to between windows.
	keptBuffer = 8 << 20
	// farewellTimeout is what telling a peer of the end may take.
	farewellTimeout = time.Second
)

// PeerError says that a peer is gone, or has broken the protocol. The lab is not at fault: it is to be rebuilt.
type PeerError struct {
	Peer string
	Err  error
}

func (e *PeerError) Error() string { return fmt.Sprintf("the shard at %s: %v", e.Peer, e.Err) }
func (e *PeerError) Unwrap() error { return e.Err }

// Came is a peer's message, or the end of its connection.
type Came struct {
	From    int
	Message *Message
	Err     error // a *PeerError: nothing more comes from it, and what came before holds
}

// Peers are the other shards of a lab, as one shard sees them. One goroutine owns it; Attach may be called by any.
type Peers struct {
	Came chan Came // at most inHand messages and one error of each peer
	// Ended is called, by any goroutine, when nothing more comes from a peer, which Came then tells. Set before Attach.
	Ended func()

	self int
	list []*peer // by shard; nil: self

	mu       sync.Mutex // guards attached, joined, closed and the readers: connections come from goroutines of their own
	attached int
	joined   chan struct{} // closed when all are there
	closed   bool
	leaving  chan struct{} // closed when nothing that comes is of interest any more
	left     bool          // leaving is closed
	readers  sync.WaitGroup
}

// peer is one other shard.
type peer struct {
	name string
	conn net.Conn    // nil: not there yet
	free chan []byte // buffers to read into

	out    []byte // the message being made
	frames int
}

// NewPeers makes room for the other shards of a lab; names are those of all, for messages.
func NewPeers(self int, names []string) *Peers {
	p := &Peers{self: self, Came: make(chan Came, (inHand+1)*len(names)), joined: make(chan struct{}),
		leaving: make(chan struct{}), Ended: func() {}}
	for i, name := range names {
		if i == self {
			p.list = append(p.list, nil)
			continue
		}
		q := &peer{name: name, free: make(chan []byte, inHand)}
		for range inHand {
			q.free <- nil
		}
		q.out = begin(nil)
		p.list = append(p.list, q)
	}
	return p
}

// Joined is closed when every peer is there.
func (p *Peers) Joined() <-chan struct{} { return p.joined }

// Missing names a peer that is not there yet; empty: none.
func (p *Peers) Missing() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.list {
		if q != nil && q.conn == nil {
			return q.name
		}
	}
	return ""
}

// Attach gives a peer its connection, which has been greeted on, and reads from it from then on. The error says why the
// connection is not wanted; then it is still the caller's.
func (p *Peers) Attach(from int, c net.Conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return errors.New("the lab has ended here")
	case from < 0 || from >= len(p.list) || from == p.self:
		return fmt.Errorf("the lab has no shard %d beside this one", from)
	case p.list[from].conn != nil:
		return fmt.Errorf("shard %d is connected already", from)
	}
	q := p.list[from]
	q.conn = c
	if p.attached++; p.attached == len(p.list)-1 {
		close(p.joined)
	}
	p.readers.Go(func() { p.read(from, q) })
	return nil
}

// read hands on what a peer sends, until its connection ends. Came has room for it: a message holds a buffer until Done.
func (p *Peers) read(from int, q *peer) {
	in := bufio.NewReaderSize(q.conn, 64<<10)
	for {
		var buf []byte
		select {
		case buf = <-q.free:
		case <-p.leaving:
			// A connection that is closed with something unread takes back what was last said on it (RFC 9293 3.10.4, RFC 1122
			// 4.2.2.13): a farewell.
			_, _ = io.Copy(io.Discard, in)
			return
		}
		m, err := readMessage(in, buf, from)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("it has closed the connection")
			}
			p.Came <- Came{From: from, Err: &PeerError{q.name, err}}
			p.Ended()
			return
		}
		p.Came <- Came{From: from, Message: m}
		if m.Kind != KindWindow {
			q.conn.Close()
			p.Ended()
			return
		}
	}
}

// readMessage reads one message into buf.
func readMessage(in *bufio.Reader, buf []byte, from int) (*Message, error) {
	head, err := in.Peek(4)
	if err != nil {
		if len(head) > 0 {
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
	n := int(binary.LittleEndian.Uint32(head))
	if n < fixed-4 || n > MaxMessage {
		return nil, fmt.Errorf("%w: a length of %d bytes", errGarbage, n)
	}
	if _, err := in.Discard(4); err != nil {
		return nil, err
	}
	buf = buf[:0]
	for len(buf) < n {
		step := min(n-len(buf), readBlock)
		if cap(buf)-len(buf) < step {
			buf = append(make([]byte, 0, min(n, max(2*cap(buf), len(buf)+step))), buf...)
			step = min(n-len(buf), max(step, cap(buf)-len(buf)))
		}
		part := buf[len(buf) : len(buf)+step]
		if _, err := io.ReadFull(in, part); err != nil {
			return nil, io.ErrUnexpectedEOF
		}
		buf = buf[:len(buf)+step]
	}
	return parse(buf, from)
}

// Done gives a message's buffer back.
func (p *Peers) Done(m *Message) {
	b := m.buf
	m.buf, m.body = nil, nil
	if cap(b) > keptBuffer {
		b = nil
	}
	select {
	case p.list[m.From].free <- b:
	default: // a farewell's
	}
}

// Carrier takes what leaves on one direction for one shard.
type Carrier struct {
	peer      *peer
	direction sim.Origin
}

// Carrier is what takes a direction's frames to a shard.
func (p *Peers) Carrier(to int, direction sim.Origin) *Carrier {
	return &Carrier{p.list[to], direction}
}

// Carry implements link.Carrier.
func (c *Carrier) Carry(at sim.Time, seq uint64, copied bool, f *sim.Frame) {
	c.peer.out = appendFrame(c.peer.out, c.direction, at, seq, copied, f)
	c.peer.frames++
}

// Send sends every peer this round's message: the report, the frames carried since the last, and inputs. The error is a
// *PeerError, or tells of a message that is too large.
func (p *Peers) Send(round uint64, r *Report, inputs [][]byte) error {
	for _, q := range p.list {
		if q == nil {
			continue
		}
		for _, in := range inputs {
			q.out = appendInput(q.out, in)
		}
		if len(q.out) > MaxMessage {
			return fmt.Errorf("the frames that cross to %s in one window take %d MiB, more than %d", q.name, len(q.out)>>20, MaxMessage>>20)
		}
		finish(q.out, KindWindow, round, r, q.frames, len(inputs))
		if _, err := q.conn.Write(q.out); err != nil {
			return &PeerError{q.name, err}
		}
		if cap(q.out) > keptBuffer {
			q.out = nil
		}
		q.out, q.frames = begin(q.out), 0
	}
	return nil
}

// Name names a shard.
func (p *Peers) Name(shard int) string { return p.list[shard].name }

// Farewell tells every peer that nothing more comes from this shard, and why. It may be called when Send has failed.
func (p *Peers) Farewell(kind Kind, why string) {
	p.mu.Lock()
	if !p.left {
		p.left = true
		close(p.leaving)
	}
	conns := make([]net.Conn, 0, len(p.list))
	for _, q := range p.list {
		if q != nil && q.conn != nil {
			conns = append(conns, q.conn)
		}
	}
	p.mu.Unlock()
	b := farewell(kind, why)
	var all sync.WaitGroup
	for _, c := range conns {
		all.Go(func() {
			// What cannot be told is noticed when the connection closes.
			if c.SetDeadline(time.Now().Add(farewellTimeout)) != nil {
				return
			}
			if _, err := c.Write(b); err == nil {
				if h, ok := c.(interface{ CloseWrite() error }); ok {
					_ = h.CloseWrite()
				}
			}
		})
	}
	all.Wait()
}

// Abort closes the connections, so that who waits for one does so no longer. Any goroutine may call it.
func (p *Peers) Abort() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	if !p.left {
		p.left = true
		close(p.leaving)
	}
	for _, q := range p.list {
		if q != nil && q.conn != nil {
			q.conn.Close()
		}
	}
}

// Close ends the connections and everything that reads from them; after a farewell, once it has been heard.
func (p *Peers) Close() {
	p.mu.Lock()
	left := p.left
	p.mu.Unlock()
	if left {
		p.readers.Wait() // bounded by farewellTimeout
	}
	p.Abort()
	p.readers.Wait()
}
