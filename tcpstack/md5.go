package tcpstack

import (
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"

	"labd.dev/sim"
	"labd.dev/tcpstack/wire"
)

// TCP MD5 signatures (RFC 2385), which BGP speakers keep forged resets away with: a segment carries a digest of itself and of
// a key that both ends share. Timestamps are not offered beside them, as there is no room (Linux: tcp_syn_options).

const (
	// md5OptionLen is the option with the two NOPs that align it.
	md5OptionLen = 20
	// maxMD5Key bounds a key (Linux: TCP_MD5SIG_MAXKEYLEN).
	maxMD5Key = 80
)

// md5Digest is the digest of a segment: h are its headers from IP's on.
//
// RFC 2385 2.0: the digest is made over "1. the TCP pseudo-header (in the order: source IP address, destination IP
// address, zero-padded protocol number, and segment length) 2. the TCP header, excluding options, and assuming a checksum
// of zero 3. the TCP segment data (if any) 4. an independently-specified key".
func md5Digest(h, data []byte, key string) [md5.Size]byte {
	var pseudo [40]byte
	b := pseudo[:0]
	at := headerLen(h)
	tcp := h[at:]
	n := len(tcp) + len(data)
	if h[0]>>4 == 6 {
		b = append(b, h[wire.IPv6OffSrc:wire.IPv6Len]...)
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		b = append(b, 0, 0, 0, uint8(wire.ProtoTCP))
	} else {
		b = append(b, h[wire.IPv4OffSrc:wire.IPv4MinLen]...)
		b = append(b, 0, uint8(wire.ProtoTCP))
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	header := [wire.TCPMinLen]byte(tcp[:wire.TCPMinLen])
	header[wire.TCPOffChecksum], header[wire.TCPOffChecksum+1] = 0, 0
	d := md5.New()
	d.Write(b)
	d.Write(header[:])
	d.Write(data)
	d.Write([]byte(key))
	var sum [md5.Size]byte
	d.Sum(sum[:0])
	return sum
}

// sign puts a signature before the other options of a segment that is about to leave. No key, no signature.
func (s *settings) sign(f *sim.Frame) {
	if s == nil || s.md5Key == "" {
		return
	}
	f.Append(md5OptionLen)
	h := f.Header()
	at := headerLen(h)
	opts := h[at+wire.TCPMinLen:]
	copy(opts[md5OptionLen:], opts)
	opts[0], opts[1], opts[2], opts[3] = wire.TCPOptNOP, wire.TCPOptNOP, wire.TCPOptMD5, wire.TCPOptMD5Len
	h[at+wire.TCPOffDataOffset] += md5OptionLen / 4 << 4
	sum := md5Digest(h, f.Payload, s.md5Key)
	copy(opts[4:], sum[:])
}

// settingsFor are those of what a segment is for: a connection, one half open, or a listener; nil where there is none, and for
// a connection in TIME-WAIT, whose segments are not looked at (Linux: tcp_v4_rcv).
func (s *Stack) settingsFor(t *tuple) *settings {
	hash := t.hash(s.tcp.hashKey)
	if c := s.tcp.conns.find(t, hash); c != nil {
		return c.set
	}
	if r := s.tcp.requests.find(t, hash); r != nil {
		return r.set
	}
	if s.tcp.timeWaits.find(t, hash) != nil {
		return nil
	}
	if l := s.findListener(t); l != nil {
		l.settings()
		return l.set
	}
	return nil
}

// mayPass checks the signature of a segment (Linux: tcp_inbound_md5_hash).
//
// RFC 2385 2.0: "Upon receiving a signed segment, the receiver must validate it by calculating its own digest from the
// same data (using its own key) and comparing the two digest. A failing comparison must result in the segment being
// dropped and must not produce any response back to the sender."
func (s *Stack) mayPass(g *segment, t *tuple) bool {
	set, n := s.settingsFor(t), &s.tcp.count
	switch {
	case set == nil && s.tcp.timeWaits.find(t, t.hash(s.tcp.hashKey)) != nil:
		return true
	case set == nil || set.md5Key == "":
		if g.opt.HasMD5 {
			n.md5Unexpected++
		}
		return !g.opt.HasMD5
	case !g.opt.HasMD5:
		n.md5NotFound++
		return false
	}
	h := g.f.Header()
	sum := md5Digest(h, g.f.Payload, set.md5Key)
	if subtle.ConstantTimeCompare(sum[:], wire.FindMD5(h[headerLen(h)+wire.TCPMinLen:])) == 0 {
		n.md5Failure++
		return false
	}
	return true
}
