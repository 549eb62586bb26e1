package packetdrill

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"labd.dev/sim"
)

// connState is how far the runner has seen a socket come. It decides which
// packets of the script belong to it and when initial sequence numbers are
// learnt; it is not the stack's state.
type connState uint8

const (
	connNew         connState = iota // socket()
	connListening                    // listen()
	connReceived                     // the script sent it its first packet
	connSynAckSent                   // it answered with a SYN and ACK
	connSynAcked                     // which the script acknowledged
	connConnecting                   // connect()
	connSynSent                      // the script expects its SYN
	connEstablished                  // the script answered its SYN
)

// side holds a connection's numbers, as the script has them or as they are live.
type side struct {
	local, remote       netip.AddrPort
	localISN, remoteISN uint32
}

// conn is the socket that packets of the script are mapped to.
//
// Sequence numbers of the script are tcpdump's: in packets with SYN they are
// absolute, elsewhere relative to the first SYN. The stack chooses its own ISN
// and its own timestamps, so that both are mapped; the peer's are the script's.
type conn struct {
	state        connState
	proto        Proto
	script, live side

	tsLive     map[uint32]uint32 // the script's outbound TS val to the live one
	hasTS      bool
	scriptTS   uint32 // the first outbound TS val, the base of all others
	liveTS     uint32
	flowScript uint32 // flow labels are compared for sameness only
	flowLive   uint32
}

// remoteOffset is what to add to the script's numbers of the peer to get live ones.
func (c *conn) remoteOffset(syn bool) uint32 {
	if syn {
		return 0
	}
	return c.live.remoteISN
}

// localOffset is what to add to the script's numbers of the stack to get live ones.
func (c *conn) localOffset(syn bool) uint32 {
	if syn {
		return c.live.localISN - c.script.localISN
	}
	return c.live.localISN
}

// toLive maps an inbound packet's header to what the stack must see.
func (c *conn) toLive(p *Packet, ecrScaled bool) (TCP, error) {
	t := p.TCP
	syn := t.Flags&SYN != 0
	t.Seq += c.remoteOffset(syn)
	off := c.localOffset(syn)
	if t.Flags&ACK != 0 {
		t.Ack += off
	}
	t.Options = slices.Clone(t.Options)
	for i, o := range t.Options {
		switch o.Kind {
		case OptSACK:
			t.Options[i].Data = shiftSACK(o.Data, off)
		case OptTimestamp:
			if t.Flags&ACK == 0 {
				continue
			}
			data, err := c.liveEcr(o.Data, ecrScaled)
			if err != nil {
				return t, err
			}
			t.Options[i].Data = data
		}
	}
	return t, nil
}

// liveEcr maps the timestamp that an inbound packet echoes: it must be one that
// the script saw leave, unless the script has --tcp_ts_ecr_scaled.
func (c *conn) liveEcr(data []byte, scaled bool) ([]byte, error) {
	ecr := binary.BigEndian.Uint32(data[4:])
	live, ok := c.tsLive[ecr]
	if !ok {
		if !scaled || !c.hasTS {
			return nil, failf("no live timestamp is known for TS ecr %d: no outbound packet of the script had it as TS val", ecr)
		}
		live = ecr - c.scriptTS + c.liveTS
	}
	return binary.BigEndian.AppendUint32(slices.Clone(data[:4]), live), nil
}

// shiftSACK adds off to the edges of SACK blocks.
func shiftSACK(data []byte, off uint32) []byte {
	out := slices.Clone(data)
	for i := 0; i+4 <= len(out); i += 4 {
		binary.BigEndian.PutUint32(out[i:], binary.BigEndian.Uint32(out[i:])+off)
	}
	return out
}

// toScript maps what the stack sent to the script's numbers. Its timestamp is
// mapped by learnTimestamp.
func (c *conn) toScript(p *Packet) {
	t := &p.TCP
	syn := t.Flags&SYN != 0
	t.Seq -= c.localOffset(syn)
	off := c.remoteOffset(syn)
	if t.Flags&ACK != 0 {
		t.Ack -= off
	}
	for i, o := range t.Options {
		if o.Kind == OptSACK {
			t.Options[i].Data = shiftSACK(o.Data, -off)
		}
	}
}

// learnTimestamp remembers which live timestamp the script's stands for, and maps
// the live one to the script's numbers.
func (c *conn) learnTimestamp(script, live *Packet) {
	s, l := script.TCP.timestamp(), live.TCP.timestamp()
	if s == nil || l == nil {
		return
	}
	sv, lv := binary.BigEndian.Uint32(s.Data), binary.BigEndian.Uint32(l.Data)
	if c.tsLive == nil {
		c.tsLive = make(map[uint32]uint32)
	}
	c.tsLive[sv] = lv
	if !c.hasTS {
		c.hasTS, c.scriptTS, c.liveTS = true, sv, lv
	}
	l.Data = slices.Clone(l.Data)
	binary.BigEndian.PutUint32(l.Data, lv-c.liveTS+c.scriptTS)
}

// timestamp is the header's timestamp option, the last if there are several.
func (t *TCP) timestamp() *TCPOption {
	for i := len(t.Options) - 1; i >= 0; i-- {
		if o := &t.Options[i]; o.Kind == OptTimestamp && len(o.Data) == 8 {
			return o
		}
	}
	return nil
}

// takes says whether a packet that the stack sent is this socket's, and learns
// from a first packet where it comes from.
func (c *conn) takes(l *livePacket) bool {
	if l.src == c.live.local && l.dst == c.live.remote {
		return true
	}
	if l.dst != c.live.remote || l.Proto != c.proto {
		return false
	}
	switch {
	case l.Proto == ProtoUDP && c.state == connConnecting:
	case l.Proto == ProtoTCP && c.state == connSynSent && l.TCP.Flags&(SYN|ACK) == SYN:
		c.live.localISN = l.TCP.Seq
	default:
		return false
	}
	c.live.local = l.src
	return true
}

// livePacket is a packet as the stack sent it: its fields in live numbers, and
// what of it the script's notation has no words for.
type livePacket struct {
	Packet
	at       sim.Time
	src, dst netip.AddrPort
	payload  []byte
	size     int64  // bytes of the IP datagram
	reserved uint8  // the three reserved bits of the TCP header
	problem  string // a checksum that does not hold, an option cut short
}
