package exchange

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Hello is what a shard says first on a connection: which lab it belongs to, in which life of it, and who it is.
type Hello struct {
	Lab    string
	Epoch  uint64
	From   int
	To     int
	Shards int
	Sum    [32]byte // of what the shards must agree on: the specification and the split
}

const (
	protocolVersion = 2
	helloFixed      = 1 + 8 + 3*4 + 32
	maxHello        = helloFixed + 255 // a lab's id is at most 128 bytes
	// greetTimeout is what a greeting may take: a peer that connects and says nothing holds a connection no longer.
	greetTimeout = 10 * time.Second
)

// RefusedError is what the other end answered to a greeting.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return e.Reason }

// Greet says hello on a new connection and waits for the answer.
func Greet(c net.Conn, h Hello) error {
	b := []byte{protocolVersion}
	b = binary.LittleEndian.AppendUint64(b, h.Epoch)
	for _, v := range []int{h.From, h.To, h.Shards} {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	b = append(append(b, h.Sum[:]...), h.Lab...)
	if err := writeShort(c, b); err != nil {
		return err
	}
	answer, err := readShort(c, maxText)
	if err != nil {
		return err
	}
	if len(answer) > 0 {
		return &RefusedError{string(answer)}
	}
	return nil
}

// ReadHello reads the first thing that is said on a connection, within a bounded time.
func ReadHello(c net.Conn) (h Hello, err error) {
	if err := c.SetDeadline(time.Now().Add(greetTimeout)); err != nil {
		return h, err
	}
	b, err := readShort(c, maxHello)
	if err != nil {
		return h, err
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return h, err
	}
	return parseHello(b)
}

func parseHello(b []byte) (h Hello, err error) {
	if len(b) < 1 || b[0] != protocolVersion {
		return h, errors.New("the peer speaks another version of labd-frames")
	}
	if len(b) <= helloFixed {
		return h, errGarbage
	}
	le := binary.LittleEndian
	h.Epoch = le.Uint64(b[1:])
	h.From, h.To, h.Shards = int(le.Uint32(b[9:])), int(le.Uint32(b[13:])), int(le.Uint32(b[17:]))
	copy(h.Sum[:], b[21:])
	h.Lab = string(b[helloFixed:])
	return h, nil
}

// Answer accepts a greeting, or refuses it with a reason.
func Answer(c net.Conn, refusal string) error {
	return writeShort(c, []byte(refusal[:min(len(refusal), maxText)]))
}

// writeShort writes a short text with its length.
func writeShort(c net.Conn, b []byte) error {
	_, err := c.Write(append(binary.LittleEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

func readShort(c net.Conn, most int) ([]byte, error) {
	var n [2]byte
	if _, err := io.ReadFull(c, n[:]); err != nil {
		return nil, err
	}
	size := int(binary.LittleEndian.Uint16(n[:]))
	if size > most {
		return nil, fmt.Errorf("%w: a greeting of %d bytes", errGarbage, size)
	}
	b := make([]byte, size)
	_, err := io.ReadFull(c, b)
	return b, err
}
