package trace

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"labd.dev/sim"
)

// ErrNotCapture says that a file is not a capture that labd wrote.
var ErrNotCapture = errors.New("not a labd capture")

// maxBlock bounds a block that is read: the largest IP packet, its options, room to spare.
const maxBlock = 256 << 10

// CapturedPacket is a packet of a capture.
type CapturedPacket struct {
	T       sim.Time
	Pkt     sim.PacketID
	Out     bool // sent by the node; else received
	Comment string
	Data    []byte // from the Ethernet header on; valid until the next call of Next
	Length  int    // whole length on the wire
}

// State is what the comment says after the packet and its connection.
func (p *CapturedPacket) State() string {
	_, rest, _ := strings.Cut(p.Comment, " ")
	conn, state, _ := strings.Cut(rest, " ")
	if !strings.Contains(conn, "/") {
		return rest
	}
	return state
}

// CaptureReader reads the captures that CaptureWriter writes; other pcapng files only as far as they are alike
// (little-endian, nanoseconds, one interface).
type CaptureReader struct {
	r   *bufio.Reader
	buf []byte
}

// NewCaptureReader checks that r begins a capture.
func NewCaptureReader(r io.Reader) (*CaptureReader, error) {
	c := &CaptureReader{r: bufio.NewReader(r)}
	typ, body, err := c.block()
	switch {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: it is empty", ErrNotCapture)
	case err != nil:
		return nil, err
	case typ != blockSection || len(body) < 16 || binary.LittleEndian.Uint32(body) != byteOrderMagic:
		return nil, fmt.Errorf("%w: no little-endian pcapng section header", ErrNotCapture)
	}
	return c, nil
}

// Next returns the next packet, io.EOF after the last.
func (c *CaptureReader) Next() (p CapturedPacket, err error) {
	for {
		typ, body, err := c.block()
		if err != nil {
			return p, err
		}
		if typ == blockPacket {
			return parsePacket(body)
		}
	}
}

// block reads one block; body is valid until the next call.
func (c *CaptureReader) block() (typ uint32, body []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		if err == io.ErrUnexpectedEOF {
			err = fmt.Errorf("%w: it ends in the middle of a block", ErrNotCapture)
		}
		return 0, nil, err
	}
	typ = binary.LittleEndian.Uint32(head[:])
	n := binary.LittleEndian.Uint32(head[4:])
	if n < 12 || n%4 != 0 || n > maxBlock {
		return 0, nil, fmt.Errorf("%w: a block of %d bytes", ErrNotCapture, n)
	}
	if int(n) > cap(c.buf) {
		c.buf = make([]byte, n)
	}
	b := c.buf[:n-8]
	if _, err := io.ReadFull(c.r, b); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = fmt.Errorf("%w: it ends in the middle of a block", ErrNotCapture)
		}
		return 0, nil, err
	}
	body, tail := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if tail != n {
		return 0, nil, fmt.Errorf("%w: a block's two lengths differ (%d, %d)", ErrNotCapture, n, tail)
	}
	return typ, body, nil
}

func parsePacket(b []byte) (p CapturedPacket, err error) {
	if len(b) < 20 {
		return p, fmt.Errorf("%w: a packet block of %d bytes", ErrNotCapture, len(b))
	}
	ts := uint64(binary.LittleEndian.Uint32(b[4:]))<<32 | uint64(binary.LittleEndian.Uint32(b[8:]))
	p.T = sim.Time(int64(ts) - LabEpoch)
	n := binary.LittleEndian.Uint32(b[12:])
	p.Length = int(binary.LittleEndian.Uint32(b[16:]))
	b = b[20:]
	padded := (uint64(n) + 3) &^ 3
	if padded > uint64(len(b)) {
		return p, fmt.Errorf("%w: a packet of %d bytes in a block of %d", ErrNotCapture, n, len(b))
	}
	p.Data, b = b[:n], b[padded:]
	for len(b) >= 4 {
		code, l := binary.LittleEndian.Uint16(b), int(binary.LittleEndian.Uint16(b[2:]))
		b = b[4:]
		if code == optEnd {
			break
		}
		if (l+3)&^3 > len(b) {
			return p, fmt.Errorf("%w: an option of %d bytes", ErrNotCapture, l)
		}
		v := b[:l]
		switch {
		case code == optComment:
			p.Comment = string(v)
		case code == optPacketFlags && l == 4:
			p.Out = v[0]&3 == directionOut
		case code == optPacketID && l == 8:
			p.Pkt = sim.PacketID(binary.LittleEndian.Uint64(v))
		}
		b = b[(l+3)&^3:]
	}
	return p, nil
}
