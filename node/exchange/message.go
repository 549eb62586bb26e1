// Package exchange is the window protocol between the shards of a lab that is split over workers. Each round every shard
// sends each other one message: how far it is, and the frames that have left it for there. From the same reports all work
// out the same next window, so that a window costs one latency of the network. It runs over connections of its own
// (labd-frames/1), because a gRPC stream costs seven times as much a frame (docs/performance.md).
package exchange

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"labd.dev/sim"
)

// A message, little-endian:
//
//	0  length of all that follows these four bytes
//	4  CRC-32C of all that follows these eight
//	8  kind, flags; 2 bytes of nothing
//	12 frames, 16 inputs: how many
//	20 4 bytes of nothing
//	24 round
//	32 next, departure, arrival, ahead, 64 events, 72 limit, 80 held: 8 bytes each
//	88 the frames, then the inputs
const fixed = 88

const (
	// MaxMessage bounds a message: what 100 Gbit/s bring in 40 ms of lab time. A window that carries more ends the lab.
	MaxMessage = 512 << 20
	// maxText bounds the reason in a farewell.
	maxText = 4096
	// frameFixed is what precedes each frame: direction, whether it was copied, arrival and sequence.
	frameFixed = 24
)

// Kind is what a message is.
type Kind uint8

// The kinds of messages. All but the first are the last of their sender.
const (
	KindWindow Kind = iota + 1 // a round's
	KindFailed                 // the lab has ended in its shard by a fault of the lab's own, which ends it everywhere
	KindBroken                 // the shard cannot go on; the lab is to be rebuilt
)

// What a shard tells of itself, and the head of the lab.
const (
	FlagBusy      = 1 << iota // something that an input started still runs
	FlagConnected             // a connection is neither closed nor in TIME-WAIT
	FlagReplaying             // the head: the lab is being rebuilt
	FlagStop                  // the head: the lab ends here
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Report is what every shard tells every other in a round.
type Report struct {
	sim.Report
	Ahead  sim.Time // the least time a frame takes from this shard to another; sim.Never where none can
	Events uint64   // run so far
	Held   uint64   // bytes that the shard takes
	Flags  uint8
	Limit  sim.Time // the head's: nothing at this time or later happens in this round
}

// Message is a message as it came.
type Message struct {
	From   int
	Kind   Kind
	Round  uint64
	Report Report
	Text   string // of a farewell

	frames, inputs int
	body           []byte // frames and inputs
	buf            []byte
}

// errGarbage is told of a message that no shard sends.
var errGarbage = errors.New("what came is no message of this protocol")

// begin starts a message in b.
func begin(b []byte) []byte { return append(b[:0], make([]byte, fixed)...) }

// appendFrame adds a frame.
func appendFrame(b []byte, direction sim.Origin, at sim.Time, seq uint64, copied bool, f *sim.Frame) []byte {
	var flag uint32
	if copied {
		flag = 1
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(direction))
	b = binary.LittleEndian.AppendUint32(b, flag)
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	b = binary.LittleEndian.AppendUint64(b, seq)
	return f.AppendWire(b)
}

// appendInput adds an encoded journal entry, after all frames.
func appendInput(b, entry []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entry)))
	return append(b, entry...)
}

// finish fills in the head of the message in b.
func finish(b []byte, kind Kind, round uint64, r *Report, frames, inputs int) {
	le := binary.LittleEndian
	b[8], b[9] = byte(kind), r.Flags
	le.PutUint32(b[12:], uint32(frames))
	le.PutUint32(b[16:], uint32(inputs))
	le.PutUint64(b[24:], round)
	for i, v := range [...]uint64{uint64(r.Next), uint64(r.Departure), uint64(r.Arrival), uint64(r.Ahead), r.Events, uint64(r.Limit), r.Held} {
		le.PutUint64(b[32+8*i:], v)
	}
	le.PutUint32(b, uint32(len(b)-4))
	seal(b)
}

// seal makes the check sum of the message in b hold.
func seal(b []byte) { binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli)) }

// farewell is a whole last message.
func farewell(kind Kind, text string) []byte {
	b := begin(nil)
	b = append(b, text[:min(len(text), maxText)]...)
	finish(b, kind, 0, &Report{}, 0, 0)
	return b
}

// parse reads a message without its length. What is in its body is read later, and checked then. buf is the message's from
// then on.
func parse(buf []byte, from int) (*Message, error) {
	le := binary.LittleEndian
	if len(buf) < fixed-4 {
		return nil, errGarbage
	}
	if le.Uint32(buf) != crc32.Checksum(buf[4:], castagnoli) {
		return nil, fmt.Errorf("%w: its check sum is wrong", errGarbage)
	}
	h := buf[4:]
	m := &Message{From: from, Kind: Kind(h[0]), Round: le.Uint64(h[16:]), body: buf[fixed-4:], buf: buf}
	m.frames, m.inputs = int(le.Uint32(h[4:])), int(le.Uint32(h[8:]))
	word := func(i int) uint64 { return le.Uint64(h[24+8*i:]) }
	m.Report = Report{
		Report: sim.Report{Next: sim.Time(word(0)), Departure: sim.Time(word(1)), Arrival: sim.Time(word(2))},
		Ahead:  sim.Time(word(3)), Events: word(4), Flags: h[1], Limit: sim.Time(word(5)), Held: word(6),
	}
	switch m.Kind {
	case KindWindow:
		if r := &m.Report; min(r.Next, r.Departure, r.Arrival, r.Limit) < 0 || r.Ahead < 1 {
			return nil, fmt.Errorf("%w: it has negative times", errGarbage)
		}
	case KindFailed, KindBroken:
		m.Text = string(m.body[:min(len(m.body), maxText)])
	default:
		return nil, fmt.Errorf("%w: kind %d", errGarbage, m.Kind)
	}
	return m, nil
}

// Arrival is how a frame comes in.
type Arrival struct {
	Direction sim.Origin
	At        sim.Time
	Seq       uint64
	Copied    bool
}

// Read hands out the message's frames and then its inputs, in the order in which they were sent. frame reads the frame at
// the front of b and tells its length; an error of either ends it.
func (m *Message) Read(frame func(a Arrival, b []byte) (n int, err error), input func(entry []byte) error) error {
	le, b := binary.LittleEndian, m.body
	for range m.frames {
		if len(b) < frameFixed {
			return fmt.Errorf("%w: a frame is cut off", errGarbage)
		}
		a := Arrival{sim.Origin(le.Uint32(b)), sim.Time(le.Uint64(b[8:])), le.Uint64(b[16:]), le.Uint32(b[4:]) != 0}
		n, err := frame(a, b[frameFixed:])
		if err != nil {
			return err
		}
		b = b[frameFixed+n:]
	}
	for range m.inputs {
		if len(b) < 4 || uint64(len(b)-4) < uint64(le.Uint32(b)) {
			return fmt.Errorf("%w: an input is cut off", errGarbage)
		}
		n := int(le.Uint32(b))
		if err := input(b[4 : 4+n]); err != nil {
			return err
		}
		b = b[4+n:]
	}
	if len(b) > 0 {
		return fmt.Errorf("%w: %d bytes too many", errGarbage, len(b))
	}
	return nil
}
