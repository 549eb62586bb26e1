package tcpstack

import (
	"encoding/binary"
	"net/netip"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// tcpState is the stack's TCP part: who is connected, who listens, and what connections share.
type tcpState struct {
	conns       demux[*Conn]
	recent      *Conn // of conns, that a segment was last for: mostly the next one is, too (4.3BSD's tcp_last_inpcb)
	requests    demux[*request]
	timeWaits   demux[*timeWait]
	listeners   map[uint16][]*Listener // by port
	first, last *Conn                  // in order of creation
	firstTW     *timeWait
	lastTW      *timeWait

	defaults *settings
	hashKey  uint64
	isnHash  tupleHash
	tsHash   tupleHash
	cause    uint32 // ESeq of the event being worked on; 0: none
	count    tcpCounts

	changes uint32 // of defaults

	mem      memory
	paths    pathMTUs // over IPv4
	freeSnd  *sendBuffer
	freeFlow *recvFlow
	freeRcv  *recvBuffer
	freeRtx  *txQueue
	freeReq  *request
	freeRec  *recovery
	freeTW   *timeWait

	freeControl *control
	freeConn    *Conn
	freeConns   int // in that list
	freeClocks  []*limitClock

	orphans    orphans
	fastOpen   fastOpenState
	metrics    metricsTable
	challenges challengeLimit
	ports      portOffsets
	cookieKey  [2][2]uint64
	signs      bool   // some connection or listener has had a key for signatures
	reuseKey   uint64 // draws among listeners that share a port
}

// tcpInit prepares the TCP part of a new stack: it checks s.cfg.TCP.
func (s *Stack) tcpInit() error {
	set, err := s.cfg.TCP.resolve()
	if err != nil {
		return err
	}
	s.tcp.defaults = set
	s.tcp.mem.limit = uint64(set.memoryLimit)
	s.tcp.orphans.limit = maxOrphans
	s.tcp.listeners = make(map[uint16][]*Listener)
	secret := s.stream("tcp secret")
	s.tcp.hashKey = secret.Uint64(0)
	s.tcp.isnHash.key = [2]uint64{secret.Uint64(1), secret.Uint64(2)}
	s.tcp.reuseKey = secret.Uint64(13)
	s.tcp.tsHash.key = [2]uint64{secret.Uint64(3), secret.Uint64(4)}
	s.tcp.cookieKey = [2][2]uint64{{secret.Uint64(9), secret.Uint64(10)}, {secret.Uint64(11), secret.Uint64(12)}}
	s.tcp.ports.hash.key, s.tcp.ports.dice = [2]uint64{secret.Uint64(7), secret.Uint64(8)}, s.stream("tcp ports")
	s.tcp.challenges.dice = s.stream("challenge acks")
	s.tcp.fastOpen.ownKey[0] = fastOpenKey{secret.Uint64(5), secret.Uint64(6)}
	return nil
}

// Conns lists the connections in the order in which they were made. Those in TIME-WAIT are not among them.
func (s *Stack) Conns() []*Conn {
	var list []*Conn
	for c := s.tcp.first; c != nil; c = c.next {
		list = append(list, c)
	}
	return list
}

// Dial opens a connection. local's address may be zero or unspecified (the outgoing interface's) and its port 0 (an
// ephemeral one). It does not wait: h.Established or h.Closed tell how it went.
func (s *Stack) Dial(local, remote netip.AddrPort, cfg TCPConfig, h ConnHandler) (*Conn, error) {
	set, err := s.dialSettings(&cfg)
	if err != nil {
		return nil, err
	}
	c, err := s.dial(local, remote, set, cfg.Tag, h)
	if err != nil {
		return nil, err
	}
	c.open()
	c.sendSYN(SendSYN)
	return c, nil
}

// dialSettings are those of a connection that this end opens.
func (s *Stack) dialSettings(cfg *TCPConfig) (*settings, error) {
	if cfg.absent() {
		return s.tcp.defaults, nil
	}
	return cfg.Merge(s.cfg.TCP).resolve()
}

// dial makes a connection that this end is to open, with its addresses and route.
func (s *Stack) dial(local, remote netip.AddrPort, set *settings, tag uint32, h ConnHandler) (*Conn, error) {
	if s.stopped {
		return nil, ErrStopped
	}
	src := local.Addr()
	if src.IsValid() && src.IsUnspecified() {
		src = netip.Addr{}
	}
	if remote.Port() == 0 {
		return nil, ErrBadAddress
	}
	rt, err := s.routeAsked(src, remote.Addr(), 0, set)
	if err != nil {
		return nil, err
	}
	var t tuple
	t.local, t.remote = rt.source(), ipAddrOf(remote.Addr())
	t.localPort, t.remotePort = local.Port(), remote.Port()
	if err := s.pickPort(&t, set); err != nil {
		return nil, err
	}
	if f := s.flowHash(&t); f != 0 && (s.router != nil || rt.six != nil) {
		if rt, err = s.routeAsked(rt.source().netip(), remote.Addr(), f, set); err != nil {
			return nil, err
		}
	}
	c := s.newConn(&t, rt, set, h)
	c.tag, c.id = tag, s.id.NextConn()
	return c, nil
}

// absent says that nothing is configured but what names the connection.
func (c *TCPConfig) absent() bool {
	tag := c.Tag
	c.Tag = 0
	none := *c == emptyConfig
	c.Tag = tag
	return none
}

var emptyConfig TCPConfig // compared with without making one

// pickPort checks the local port that was asked for, or finds an ephemeral one.
func (s *Stack) pickPort(t *tuple, set *settings) error {
	if t.localPort != 0 {
		if !s.tupleFree(t, set) {
			return ErrAddrInUse
		}
		return nil
	}
	ok := s.tcp.ports.choose(t, set.portRandomization, func(port uint16) bool {
		return len(s.tcp.listeners[port]) == 0 && s.tupleFree(t, set)
	})
	if !ok {
		return ErrNoPorts
	}
	return nil
}

func (s *Stack) tupleFree(t *tuple, set *settings) bool {
	h := t.hash(s.tcp.hashKey)
	if s.tcp.conns.find(t, h) != nil || s.tcp.requests.find(t, h) != nil {
		return false
	}
	w := s.tcp.timeWaits.find(t, h)
	return w == nil || w.reusable(set)
}

// connBytes is what an idle connection takes with its congestion state and its place in the tables, counted in its
// loop's memory. What it holds in its buffers are chunks, which count by themselves.
const connBytes = 1024

// newConn makes a connection and enters it; its state is CLOSED.
func (s *Stack) newConn(t *tuple, rt *route, set *settings, h ConnHandler) *Conn {
	c := s.blankConn()
	c.stack, c.set, c.h, c.rt, c.tuple = s, set, h, rt, *t
	c.timerAt, c.delackAt = sim.Never, sim.Never
	c.timer.H = c
	s.tcp.signs = s.tcp.signs || set.md5Key != ""
	if c.sndBuf = set.sndBuf; c.sndBuf == 0 {
		c.sndBuf = min(set.startSendBuffer, set.maxSendBuffer)
	}
	c.hashed = c.hash(s.tcp.hashKey)
	s.tcp.conns.insert(c, c.hashed)
	if c.prev = s.tcp.last; c.prev != nil {
		c.prev.next = c
	} else {
		s.tcp.first = c
	}
	s.tcp.last = c
	s.loop.Charge(connBytes)
	s.loop.CountConn(1)
	return c
}

// forgetName takes the connection out of the demultiplexer.
func (s *Stack) forgetName(c *Conn) {
	s.tcp.conns.remove(c, c.hashed)
	if s.tcp.recent == c {
		s.tcp.recent = nil
	}
}

// unlist takes the connection off the list; the demultiplexer has forgotten it before.
func (s *Stack) unlist(c *Conn) {
	s.loop.Charge(-connBytes)
	s.loop.CountConn(-1)
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.tcp.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		s.tcp.last = c.prev
	}
	c.next, c.prev = nil, nil
}

func (c *Conn) name() *tuple { return &c.tuple }

// segment is a received segment, parsed. RFC 9293 3.3.1's current segment variables.
type segment struct {
	seq, ack seqNum
	flags    wire.TCPFlags
	wnd      uint16 // as on the wire
	length   uint32 // of the data
	plain    bool   // plainInput has read it
	opt      wire.TCPOptions
	f        *sim.Frame

	badOptions bool // one of the options, at least, is malformed
}

func (g *segment) has(f wire.TCPFlags) bool { return g.flags&f != 0 }

// segLen is SEG.LEN: RFC 9293 3.4: "the number of octets occupied by the data in the segment (counting SYN and FIN)".
func (g *segment) segLen() uint32 {
	n := g.length
	if g.has(wire.FlagSYN) {
		n++
	}
	if g.has(wire.FlagFIN) {
		n++
	}
	return n
}

// end is the sequence number after the segment's last.
func (g *segment) end() seqNum { return g.seq + seqNum(g.segLen()) }

// tcpInput takes a segment for an address of this stack and owns f: f.Header() is the IPv4 header and the whole TCP
// header, f.Payload just the segment's data. The checksum has not been verified: checksumOK does. The addresses are
// unicast.
func (s *Stack) tcpInput(f *sim.Frame) {
	s.tcp.count.inSegs++
	var g segment
	var t tuple
	switch {
	case !g.parse(f, &t):
		s.tcp.count.inErrs++
		s.dropSegment(&g, DropMalformed)
	case !s.checksumOK(f):
		s.tcp.count.inErrs++
		s.tcp.count.inCsumErrors++
		s.dropSegment(&g, DropChecksum)
	case (g.opt.HasMD5 || s.tcp.signs) && !s.mayPass(&g, &t):
		s.dropSegment(&g, DropMD5)
	case g.badOptions:
		s.tcp.count.malformedOptions++ // the rest of them counts
		s.dispatch(&g, &t)
	default:
		s.dispatch(&g, &t)
	}
	f.Release()
	s.tcp.cause = 0
}

// paddedTimestamps is how a timestamps option begins when two NOPs align it.
const paddedTimestamps = wire.TCPOptNOP<<24 | wire.TCPOptNOP<<16 | wire.TCPOptTimestamps<<8 | 10

// parse reads a frame's addresses and TCP header into g and the tuple that it names.
func (g *segment) parse(f *sim.Frame, t *tuple) bool {
	g.f = f
	h := f.Header()
	if h[0]>>4 == 6 {
		t.remote, t.local = ipAddr6(h[wire.IPv6OffSrc:]), ipAddr6(h[wire.IPv6OffDst:])
		h = h[wire.IPv6Len:]
	} else {
		t.remote = ipAddr4(binary.BigEndian.Uint32(h[wire.IPv4OffSrc:]))
		t.local = ipAddr4(binary.BigEndian.Uint32(h[wire.IPv4OffDst:]))
		h = h[int(h[0]&15)*4:]
	}
	if len(h) < wire.TCPMinLen {
		return false
	}
	g.length = uint32(len(f.Payload))
	t.remotePort = binary.BigEndian.Uint16(h[wire.TCPOffSrcPort:])
	t.localPort = binary.BigEndian.Uint16(h[wire.TCPOffDstPort:])
	g.seq = seqNum(binary.BigEndian.Uint32(h[wire.TCPOffSeq:]))
	g.ack = seqNum(binary.BigEndian.Uint32(h[wire.TCPOffAck:]))
	g.flags = wire.TCPFlags(h[wire.TCPOffFlags])
	g.wnd = binary.BigEndian.Uint16(h[wire.TCPOffWindow:])
	n := int(h[wire.TCPOffDataOffset]>>4) * 4
	switch {
	case n == wire.TCPMinLen:
		return true
	case n < wire.TCPMinLen || n > len(h):
		return false
	case n == wire.TCPMinLen+timestampsLen && binary.BigEndian.Uint32(h[wire.TCPMinLen:]) == paddedTimestamps:
		// What nearly every segment carries (RFC 7323 appendix A).
		g.opt.HasTimestamps = true
		g.opt.TSVal = binary.BigEndian.Uint32(h[wire.TCPMinLen+4:])
		g.opt.TSEcr = binary.BigEndian.Uint32(h[wire.TCPMinLen+8:])
		return true
	}
	g.badOptions = wire.ParseTCPOptions(h[wire.TCPMinLen:n], &g.opt) != nil
	return true
}

// dispatch hands a segment to its connection, TIME-WAIT block or listener.
func (s *Stack) dispatch(g *segment, t *tuple) {
	if c := s.tcp.recent; c != nil && c.is(t) {
		c.arrives(g)
		return
	}
	hash := t.hash(s.tcp.hashKey)
	if c := s.tcp.conns.find(t, hash); c != nil {
		s.tcp.recent = c
		c.arrives(g)
		return
	}
	if r := s.tcp.requests.find(t, hash); r != nil {
		r.arrives(g, t)
		return
	}
	w := s.tcp.timeWaits.find(t, hash)
	if w != nil && !w.arrives(g) {
		return
	}
	if l := s.findListener(t); l != nil {
		l.arrives(g, t, w)
		return
	}
	s.refuse(g, t)
}

// refuse answers a segment that belongs to nothing. RFC 9293 3.10.7.1: "all data in the incoming segment is discarded. An
// incoming segment containing a RST is discarded. An incoming segment not containing a RST causes a RST to be sent in
// response."
func (s *Stack) refuse(g *segment, t *tuple) {
	s.dropSegment(g, DropNoSocket)
	if !g.has(wire.FlagRST) {
		s.replyRST(g, t)
	}
}

// replyRST sends the reset that a segment asks for, without a connection.
func (s *Stack) replyRST(g *segment, t *tuple) {
	rt, err := s.routeBack(g, t)
	if err != nil {
		return
	}
	h := wire.TCP{SrcPort: t.localPort, DstPort: t.remotePort, HeaderLen: wire.TCPMinLen, Flags: wire.FlagRST}
	if g.has(wire.FlagACK) {
		// RFC 9293 3.10.7.1: "If the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>"
		h.Seq = uint32(g.ack)
	} else {
		// "If the ACK bit is off, sequence number zero is used, <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>"
		h.Ack, h.Flags = uint32(g.end()), wire.FlagRST|wire.FlagACK
	}
	var set *settings
	if s.tcp.signs {
		set = s.settingsFor(t)
	}
	s.sendBare(rt, set, &h, &wire.TCPOptions{}, g.f.Conn, g.f.Tag, SendRST, StateClosed, 0)
}

// sendBare sends a segment without data on behalf of no connection; the record tells the state it is sent in and the scale
// of its window. What set has a key for is signed; nil has none.
func (s *Stack) sendBare(rt *route, set *settings, h *wire.TCP, opt *wire.TCPOptions, id sim.ConnID, tag uint32, why SendReason,
	in State, wscale uint8) {
	f := s.bareFrame(rt, h, opt, id, tag)
	s.recordBare(f, h, opt, why, in, wscale)
	set.sign(f)
	_ = s.output(f, rt) // a reply that finds no way back is lost, as any packet may be
}

// bareFrame makes such a segment, and counts it.
func (s *Stack) bareFrame(rt *route, h *wire.TCP, opt *wire.TCPOptions, id sim.ConnID, tag uint32) *sim.Frame {
	f := s.loop.NewFrame()
	s.putIP(f, rt, wire.ProtoTCP)
	if rt.six == nil {
		setDF(f.Header()) // Linux, tcp_sk_init: "Please enforce IP_DF", and ip_build_and_send_pkt of small SYN,ACKs
	}
	h.HeaderLen = wire.TCPMinLen + opt.Len()
	b := f.Append(h.HeaderLen)
	h.Put(b)
	opt.Put(b[wire.TCPMinLen:])
	f.Conn, f.Tag, f.Pkt = id, tag, s.id.NextPacket()
	s.tcp.count.outSegs++
	if h.Flags&wire.FlagRST != 0 {
		s.tcp.count.outRsts++
	}
	return f
}

// tcpShutdown ends all connections without a packet or a callback.
func (s *Stack) tcpShutdown() {
	for c := s.tcp.first; c != nil; c = s.tcp.first {
		c.h = nil
		c.end |= endTold
		c.free()
		s.forgetName(c)
		s.unlist(c)
	}
	for w := s.tcp.firstTW; w != nil; w = s.tcp.firstTW {
		s.dropTimeWait(w)
	}
	for _, l := range s.Listeners() {
		for l.firstReq != nil {
			l.firstReq.leave()
		}
	}
	clear(s.tcp.listeners)
}
