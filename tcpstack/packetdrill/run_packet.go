package packetdrill

import (
	"fmt"
	"net/netip"

	"labd.dev/sim"
)

const (
	// firstPeerPort is the port of the first peer that a script makes connect, of
	// which the original takes a free one.
	firstPeerPort = 40001
	// latePacket is how long after its time the script still waits for a packet,
	// only to say in the failure when it came.
	latePacket = 10 * sim.Second
	// anyTime is how long it waits for a packet that may come at any time (*):
	// longer than the longest timer of TCP, keepalive's two hours.
	anyTime = 3 * 3600 * sim.Second
)

// sniff takes what the stack sent.
func (r *runner) sniff(frame []byte) {
	if l := decode(frame, r.now()); l != nil {
		r.host.left(l)
		r.sent = append(r.sent, l)
		r.wake()
	}
}

// under hears what the script does with sockets: the last one that it opened,
// made listen or connected is the one that packets are mapped to.
func (r *runner) under(e socketEvent) {
	switch e.kind {
	case socketOpened:
		r.conn = &conn{proto: e.proto}
	case socketListening:
		if r.conn == nil || r.conn.state != connNew {
			r.conn = &conn{proto: e.proto}
		}
		r.conn.state = connListening
	case socketConnecting:
		if r.conn == nil || r.conn.state != connNew && r.conn.state != connConnecting {
			r.conn = &conn{proto: e.proto}
		}
		r.conn.state = connConnecting
		r.conn.live.remote = e.remote
	}
	if e.local.IsValid() {
		r.conn.live.local = e.local
	}
}

// find finds the socket that a packet of the script belongs to, or makes the one
// that a listening socket would make of it.
func (r *runner) find(p *Packet) (*conn, error) {
	c := r.conn
	if p.Proto == ProtoTCP {
		if !p.Outbound && (c == nil || c.state == connListening) {
			r.conn = r.child(p)
			return r.conn, nil
		}
		if p.Outbound && p.TCP.Flags&(SYN|ACK) == SYN && c != nil && c.state == connConnecting {
			c.state = connSynSent
			c.script.localISN = p.TCP.Seq
			return c, nil
		}
	}
	if c == nil || c.proto != p.Proto && p.Proto != ProtoICMP && p.SrcPort == 0 && p.DstPort == 0 {
		return nil, failf("no matching socket for the script's packet")
	}
	return c, nil
}

// child is the connection that a packet from a new peer begins.
func (r *runner) child(p *Packet) *conn {
	port := p.SrcPort
	if port == 0 {
		port = r.ports
		r.ports++
	}
	local := r.host.bind
	if r.conn != nil && r.conn.live.local.Port() != 0 {
		local = netip.AddrPortFrom(local.Addr(), r.conn.live.local.Port())
	}
	c := &conn{state: connReceived, proto: ProtoTCP}
	c.live = side{local: local, remote: netip.AddrPortFrom(r.g.remote, port), remoteISN: p.TCP.Seq}
	c.script.remoteISN = p.TCP.Seq
	return c
}

// inbound lets a packet of the script arrive.
func (r *runner) inbound(p *Packet) error {
	c, err := r.find(p)
	if err != nil {
		return err
	}
	if p.Proto == ProtoTCP {
		switch f := p.TCP.Flags; {
		case c.state == connSynAckSent && f&ACK != 0:
			c.state = connSynAcked
		case c.state == connSynSent && f&SYN != 0 && f&ACK != 0:
			c.state = connEstablished
			c.script.remoteISN, c.live.remoteISN = p.TCP.Seq, p.TCP.Seq
		}
	}
	if !c.live.remote.IsValid() {
		c.live.remote = r.host.dial
	}
	if !c.live.local.IsValid() || c.live.local.Addr().IsUnspecified() {
		port := c.live.local.Port()
		if port == 0 {
			port = r.host.bind.Port()
		}
		c.live.local = netip.AddrPortFrom(r.host.bind.Addr(), port)
	}
	b, err := r.encode(p, c)
	if err == nil {
		r.host.inject(b)
	}
	return err
}

// encode makes the datagram of an inbound packet.
func (r *runner) encode(p *Packet, c *conn) ([]byte, error) {
	src, dst := c.live.remote, c.live.local
	if p.SrcPort != 0 {
		src = netip.AddrPortFrom(src.Addr(), p.SrcPort)
	}
	if p.DstPort != 0 {
		dst = netip.AddrPortFrom(dst.Addr(), p.DstPort)
	}
	switch p.Proto {
	case ProtoUDP:
		return encodeUDP(p.IP, src, dst, p.Length), nil
	case ProtoICMP:
		return encodeICMP(p, c)
	}
	t, err := c.toLive(p, r.g.ecrScaled)
	if err != nil {
		return nil, err
	}
	return encodeTCP(p.IP, src, dst, t, p.Length, r.host.md5Key), nil
}

// outbound waits for the packet that the script expects, and compares it. It does
// not wait for the packet's time first: one that comes early is to be seen.
func (r *runner) outbound(e *Event) (bool, error) {
	p := e.Packet
	c, err := r.find(p)
	if err != nil {
		return false, err
	}
	syn := c.state == connReceived && p.Proto == ProtoTCP && p.TCP.Flags&(SYN|ACK) == SYN|ACK
	if syn {
		c.script.localISN = p.TCP.Seq
	}
	got := 0
	for _, l := range r.parts {
		got += l.Length
	}
	for len(r.parts) == 0 || got < p.Length && !r.g.strictSegments {
		l := r.take(c)
		if l == nil {
			return false, r.await(e)
		}
		if syn && len(r.parts) == 0 && l.Proto == ProtoTCP {
			c.state = connSynAckSent
			c.live.localISN = l.TCP.Seq
		}
		if l.Proto == ProtoTCP {
			c.toScript(&l.Packet)
		}
		if n := len(r.parts); n > 0 {
			if err := follows(r.parts[n-1], l, got, p.Length); err != nil {
				return r.mismatch(e, l, err)
			}
		}
		r.parts = append(r.parts, l)
		if got += l.Length; l.Length == 0 {
			break // nothing that could be continued
		}
	}
	live := join(r.parts)
	r.parts = nil
	c.learnTimestamp(p, &live.Packet)
	err = r.cmp.packet(c, p, live)
	if err == nil {
		err = r.g.check(r.t, live.at, "outbound packet")
	}
	if err != nil {
		return r.mismatch(e, live, err)
	}
	return true, nil
}

// take is the next packet that the stack sent from the socket, or that it sent to
// the peer and cannot be read. What it sent from others goes unseen, as with the
// original.
func (r *runner) take(c *conn) *livePacket {
	for len(r.sent) > 0 {
		l := r.sent[0]
		r.sent = r.sent[1:]
		broken := l.problem != "" && (!l.dst.IsValid() || l.dst.Addr() == c.live.remote.Addr())
		if broken || c.takes(l) {
			return l
		}
	}
	return nil
}

// await waits for a packet, or gives up.
func (r *runner) await(e *Event) error {
	limit := r.t.until + sim.Time(r.g.tolerance) + latePacket
	if r.t.kind == TimeAny {
		limit = r.t.at + anyTime
	}
	if r.now() < limit {
		r.sleep(limit)
		return nil
	}
	if len(r.parts) > 0 {
		live := join(r.parts)
		_, err := r.mismatch(e, live, failf("payload length: expected %d, live %d, and no more came", e.Packet.Length, live.Length))
		return err
	}
	return failf("no packet came\n  script: %s %s", r.t.notation(), e.Packet.notation(e.Packet))
}

// mismatch shows the expected packet and the live one, both as a script writes
// them. With --non_fatal=packet the script goes on.
func (r *runner) mismatch(e *Event, live *livePacket, err error) (bool, error) {
	r.parts = nil
	if r.g.nonFatalPackets {
		return true, nil
	}
	what := live.notation(e.Packet)
	if live.problem != "" {
		what = live.problem
	}
	return false, failf("%v\n  script: %s %s\n  live:   %s %s", err, r.t.notation(), e.Packet.notation(e.Packet), secs(live.at), what)
}

// notation is when an event is due, in absolute times of the script.
func (t timing) notation() string {
	switch {
	case t.kind == TimeAny:
		return "*"
	case t.until != t.at:
		return fmt.Sprintf("%s~%s", secs(t.at), secs(t.until))
	}
	return secs(t.at)
}
