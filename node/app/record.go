package app

import (
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// The app:* trace records. In all of them Conn is the connection, W[0], W[1] the bytes (high word first), W[2], W[3] for
// how many microseconds the application had been waiting before the call could be made. W[4] of a write is what the
// application still holds after it.
const (
	// KindWrite: the application handed bytes to its connection.
	KindWrite = sim.KindApp + iota
	// KindRead: the application took bytes from its connection.
	KindRead
	// KindShutdown: the application said that it will write no more; bytes is what it has written in all.
	KindShutdown
	// KindClose: the application closed (Flags 0) or aborted (Flags 1) its connection.
	KindClose
	// KindFileRead: the application read a block of the file that it sends, or made one.
	KindFileRead
)

const closeAborts = 1

// Event is what a record of this package says.
type Event struct {
	Name      string // "app:write"
	Bytes     uint64
	BlockedUs uint64
	Buffered  uint64 // of a write: bytes that the application holds and could not write yet
	Abort     bool   // a close that reset the connection
}

// DecodeRecord reads a record of one of the kinds above; ok is false for others.
func DecodeRecord(r *sim.Record) (e Event, ok bool) {
	switch r.Kind {
	case KindWrite:
		e.Name = "app:write"
	case KindRead:
		e.Name = "app:read"
	case KindShutdown:
		e.Name = "app:shutdown"
	case KindClose:
		e.Name = "app:close"
	case KindFileRead:
		e.Name = "app:file_read"
	default:
		return e, false
	}
	e.Bytes = uint64(r.W[0])<<32 | uint64(r.W[1])
	e.BlockedUs = uint64(r.W[2])<<32 | uint64(r.W[3])
	e.Buffered = uint64(r.W[4])
	e.Abort = r.Kind == KindClose && r.Flags&closeAborts != 0
	return e, true
}

// record notes a call of the application on a connection.
func (e *Env) record(kind sim.Kind, c *tcpstack.Conn, bytes uint64, blocked sim.Time, flags uint8) {
	e.note(kind, c, bytes, blocked, flags)
}

// recordWrite notes that the connection takes n of the bytes that the application holds.
func (e *Env) recordWrite(c *tcpstack.Conn, n, held int, blocked sim.Time) {
	if r := e.note(KindWrite, c, uint64(n), blocked, 0); r != nil {
		r.W[4] = uint32(held - n)
	}
}

func (e *Env) note(kind sim.Kind, c *tcpstack.Conn, bytes uint64, blocked sim.Time, flags uint8) *sim.Record {
	r := e.ID.Record(e.Loop.Rec, e.Loop.Now(), kind)
	if r == nil {
		return nil
	}
	us := uint64(blocked / sim.Microsecond)
	r.Conn, r.Flags = c.ID(), flags
	r.W[0], r.W[1], r.W[2], r.W[3] = uint32(bytes>>32), uint32(bytes), uint32(us>>32), uint32(us)
	return r
}

// closeConn closes a connection for good, in the trace's words.
func (e *Env) closeConn(c *tcpstack.Conn) {
	e.record(KindClose, c, 0, 0, 0)
	c.Close()
}

// abortConn resets a connection.
func (e *Env) abortConn(c *tcpstack.Conn) {
	e.record(KindClose, c, 0, 0, closeAborts)
	c.Abort()
}
