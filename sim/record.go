package sim

import "fmt"

// PacketID names a frame from the stack that made it through every queue: its node's id in the high 24 bits, that
// node's packet counter in the low 40. Printed "client:1042". Zero is no packet.
type PacketID uint64

// ConnID names a connection: its initiator node's id in the high 24 bits, that node's connection counter (which
// survives reboots) in the low 40. Printed "client/3". Zero is no connection.
type ConnID uint64

const idCounterBits = 40

// MakePacketID packs a node id and its packet counter.
func MakePacketID(node uint32, n uint64) PacketID {
	return PacketID(uint64(node)<<idCounterBits | n&(1<<idCounterBits-1))
}

// MakeConnID packs an initiator node id and its connection counter.
func MakeConnID(node uint32, n uint64) ConnID {
	return ConnID(uint64(node)<<idCounterBits | n&(1<<idCounterBits-1))
}

// Node is the id of the node that made the packet.
func (p PacketID) Node() uint32 { return uint32(p >> idCounterBits) }

// Counter is the packet's number at that node, from 1.
func (p PacketID) Counter() uint64 { return uint64(p) & (1<<idCounterBits - 1) }

// Node is the id of the node that opened the connection.
func (c ConnID) Node() uint32 { return uint32(c >> idCounterBits) }

// Counter is the connection's number at that node, from 1.
func (c ConnID) Counter() uint64 { return uint64(c) & (1<<idCounterBits - 1) }

func (p PacketID) String() string { return fmt.Sprintf("%d:%d", p.Node(), p.Counter()) }
func (c ConnID) String() string   { return fmt.Sprintf("%d/%d", c.Node(), c.Counter()) }

// Kind tells what a Record says. Each package that records owns a range, so that a number alone names the layout.
type Kind uint8

const (
	KindNone Kind = 0
	// KindMore continues the record before it: 11 further words, in Cause, Conn, Pkt and W.
	KindMore Kind = 1
	// KindTCP to KindLink-1: tcpstack (tcp:* and ip:* events).
	KindTCP Kind = 16
	// KindLink to KindApp-1: link.
	KindLink Kind = 96
	// KindApp to KindLab-1: node/app.
	KindApp Kind = 128
	// KindLab and above: node and node/worker (inputs, faults, boots).
	KindLab Kind = 160
)

// Record is one fixed-size binary trace record, 64 bytes. What Reason, Flags, Aux and W hold depends on Kind; the
// package that owns the Kind documents it. The order of a lab's records is (T, Node, ESeq).
type Record struct {
	T      Time     // lab time, ns
	Conn   ConnID   // 0: none
	Pkt    PacketID // 0: none
	Node   uint32   // node that recorded it
	ESeq   uint32   // that node's event counter (its low 32 bits)
	Cause  uint32   // ESeq of the event at the same node that led to this one; 0: none
	Kind   Kind
	Reason uint8
	Flags  uint8
	Aux    uint8
	W      [6]uint32
}

// Recorder collects records in a loop's ring and hands them on in blocks. A nil Recorder records nothing, so a hot path
// asks `if r != nil`. When the block is full Flush is called, and the loop waits for it: records are never dropped.
type Recorder struct {
	buf   []Record
	n     int
	flush func([]Record)
}

// NewRecorder makes a recorder of blocks of size records; flush may keep nothing of the slice it is given.
func NewRecorder(size int, flush func([]Record)) *Recorder {
	return &Recorder{buf: make([]Record, size), flush: flush}
}

// Next returns the next slot, zeroed, to be filled in place before the next call.
func (r *Recorder) Next() *Record {
	p := r.Slot()
	*p = Record{}
	return p
}

// Slot returns the next slot, with whatever an older record has left in it: the caller writes every word. It is small enough
// to be inlined.
func (r *Recorder) Slot() *Record {
	if r.n == len(r.buf) {
		r.full()
	}
	r.n++
	return &r.buf[r.n-1]
}

//go:noinline
func (r *Recorder) full() { r.Flush() }

// Flush hands on what has been collected.
func (r *Recorder) Flush() {
	if r.n > 0 {
		r.flush(r.buf[:r.n])
		r.n = 0
	}
}
