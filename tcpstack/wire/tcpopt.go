package wire

import (
	"encoding/binary"
	"errors"
)

// Kinds of TCP options.
const (
	TCPOptEOL           = 0
	TCPOptNOP           = 1
	TCPOptMSS           = 2
	TCPOptWindowScale   = 3
	TCPOptSACKPermitted = 4
	TCPOptSACK          = 5
	TCPOptTimestamps    = 8
	TCPOptMD5           = 19 // RFC 2385
	TCPOptUserTimeout   = 28
	TCPOptFastOpen      = 34
	TCPOptExperimental  = 254 // RFC 6994: what it is, a magic number says
)

// FastOpenMagic tells the experimental Fast Open option (RFC 7413 9, RFC 6994: the experimental option with magic
// number 0xF989).
const FastOpenMagic = 0xf989

// TCPOptMD5Len is the length of a signature's option.
const TCPOptMD5Len = 18

// Lengths of the options, kind and length bytes included.
const (
	tcpOptMSSLen           = 4
	tcpOptWindowScaleLen   = 3
	tcpOptSACKPermittedLen = 2
	tcpOptTimestampsLen    = 10
	tcpOptUserTimeoutLen   = 4
	tcpOptSACKBlockLen     = 8
	tcpOptFastOpenLen      = 2 // without the cookie
	tcpOptFastOpenExpLen   = 4
)

// Lengths of a Fast Open cookie (RFC 7413 4.1.1: "0, or 4 to 16 bytes").
const (
	MinFastOpenCookie = 4
	MaxFastOpenCookie = 16
)

// FastOpen is the Fast Open option. The zero FastOpen is an absent one; one with a cookie of no bytes asks for a cookie.
type FastOpen struct {
	Present bool
	Exp     bool // the experimental option
	Len     uint8
	Cookie  [MaxFastOpenCookie]byte
}

// SetCookie puts a cookie into the option, which is cut to what fits.
func (o *FastOpen) SetCookie(b []byte) {
	o.Present, o.Cookie = true, [MaxFastOpenCookie]byte{}
	o.Len = uint8(copy(o.Cookie[:], b))
}

// Bytes is the cookie.
func (o *FastOpen) Bytes() []byte { return o.Cookie[:o.Len] }

// parse reads a cookie of the option. RFC 7413 4.1.1, of the length: "The number MUST be even.": an option that breaks
// the rules is none.
func (o *FastOpen) parse(cookie []byte, exp bool) {
	n := len(cookie)
	if n%2 != 0 {
		return
	}
	*o = FastOpen{}
	if n == 0 || n >= MinFastOpenCookie && n <= MaxFastOpenCookie {
		o.SetCookie(cookie)
		o.Exp = exp
	}
}

// head is the length of kind, length and magic number.
func (o *FastOpen) head() int {
	if o.Exp {
		return tcpOptFastOpenExpLen
	}
	return tcpOptFastOpenLen
}

// size is the option's length, padded to a multiple of 4.
func (o *FastOpen) size() int { return (o.head() + int(o.Len) + 3) &^ 3 }

// put writes the option with the NOPs that pad it behind it, as Linux does.
func (o *FastOpen) put(b []byte) int {
	h := o.head()
	n := h + int(o.Len)
	b[0], b[1] = TCPOptFastOpen, uint8(n)
	if o.Exp {
		b[0] = TCPOptExperimental
		binary.BigEndian.PutUint16(b[2:], FastOpenMagic)
	}
	copy(b[h:], o.Bytes())
	for ; n < o.size(); n++ {
		b[n] = TCPOptNOP
	}
	return n
}

// MaxSACKBlocks is how many blocks fit in one header. RFC 2018 section 3: "a SACK option that specifies n blocks will
// have a length of 8*n+2 bytes, so the 40 bytes available for TCP options can specify a maximum of 4 blocks".
const MaxSACKBlocks = 4

// ErrTCPOption says that an option's length is illegal.
var ErrTCPOption = errors.New("wire: illegal TCP option length")

// SACKBlock is a block of received data: sequence numbers [Left, Right).
type SACKBlock struct{ Left, Right uint32 }

// TCPOptions are the options of a segment that the stack understands. An option that is absent is its zero value;
// window scale and timestamps, whose zero means something, have a flag beside them.
type TCPOptions struct {
	MSS            uint16 // 0: absent
	WindowScale    uint8  // shift count, valid if HasWindowScale; as on the wire, also above 14
	HasWindowScale bool
	SACKPermitted  bool
	HasTimestamps  bool
	NSACK          uint8 // blocks in SACK
	HasMD5         bool  // a signature; FindMD5 has it. Put writes none
	HasUserTimeout bool
	UserTimeout    uint16 // RFC 5482: 15 bits of seconds, or of minutes if the first bit is set
	TSVal, TSEcr   uint32
	SACK           [MaxSACKBlocks]SACKBlock
	FastOpen       FastOpen
	ScaleFirst     bool // Put writes them in FreeBSD's order; Parse leaves it false
}

// nopNopTimestamps begins the 12 bytes of options of nearly every segment (RFC 7323 appendix A).
const nopNopTimestamps = TCPOptNOP<<24 | TCPOptNOP<<16 | TCPOptTimestamps<<8 | tcpOptTimestampsLen

// ParseTCPOptions reads the options b of a header. Unknown options are skipped; of an option that comes twice the last
// one counts. The error is ErrTCPOption where one is malformed: it counts as absent, and where its length leaves open what
// follows, so does all of that (Linux: tcp_parse_options).
//
// RFC 9293 3.1: "TCP implementations MUST be prepared to handle an illegal option length (e.g., zero)".
func ParseTCPOptions(b []byte, o *TCPOptions) (err error) {
	*o = TCPOptions{}
	if len(b) == 12 && binary.BigEndian.Uint32(b) == nopNopTimestamps {
		o.HasTimestamps = true
		o.TSVal, o.TSEcr = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		return nil
	}
	for len(b) > 0 {
		switch b[0] {
		case TCPOptEOL:
			return err
		case TCPOptNOP:
			b = b[1:]
			continue
		}
		if len(b) < 2 {
			return ErrTCPOption
		}
		n := int(b[1])
		if n < 2 || n > len(b) {
			return ErrTCPOption
		}
		if bad := o.parseOne(b[:n]); bad != nil {
			err = bad
		}
		b = b[n:]
	}
	return err
}

// parseOne reads one option with kind and length.
func (o *TCPOptions) parseOne(b []byte) error {
	n := len(b)
	switch b[0] {
	case TCPOptMSS:
		if n != tcpOptMSSLen {
			return ErrTCPOption
		}
		o.MSS = binary.BigEndian.Uint16(b[2:])
	case TCPOptWindowScale:
		if n != tcpOptWindowScaleLen {
			return ErrTCPOption
		}
		o.WindowScale, o.HasWindowScale = b[2], true
	case TCPOptSACKPermitted:
		if n != tcpOptSACKPermittedLen {
			return ErrTCPOption
		}
		o.SACKPermitted = true
	case TCPOptTimestamps:
		if n != tcpOptTimestampsLen {
			return ErrTCPOption
		}
		o.HasTimestamps = true
		o.TSVal, o.TSEcr = binary.BigEndian.Uint32(b[2:]), binary.BigEndian.Uint32(b[6:])
	case TCPOptMD5:
		o.HasMD5 = n == TCPOptMD5Len
	case TCPOptUserTimeout:
		if n == tcpOptUserTimeoutLen {
			o.UserTimeout, o.HasUserTimeout = binary.BigEndian.Uint16(b[2:]), true
		}
	case TCPOptFastOpen:
		o.FastOpen.parse(b[tcpOptFastOpenLen:], false)
	case TCPOptExperimental:
		if n >= tcpOptFastOpenExpLen && binary.BigEndian.Uint16(b[2:]) == FastOpenMagic {
			o.FastOpen.parse(b[tcpOptFastOpenExpLen:], true)
		}
	case TCPOptSACK:
		blocks := (n - 2) / tcpOptSACKBlockLen
		if (n-2)%tcpOptSACKBlockLen != 0 || blocks == 0 || blocks > MaxSACKBlocks {
			return ErrTCPOption
		}
		for i := range blocks {
			p := b[2+i*tcpOptSACKBlockLen:]
			o.SACK[i] = SACKBlock{binary.BigEndian.Uint32(p), binary.BigEndian.Uint32(p[4:])}
		}
		o.NSACK = uint8(blocks)
	}
	return nil
}

// FindMD5 is the digest of the signature among the options b of a header, or nil.
func FindMD5(b []byte) []byte {
	for len(b) > 0 && b[0] != TCPOptEOL {
		if b[0] == TCPOptNOP {
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return nil
		}
		if b[0] == TCPOptMD5 && b[1] == TCPOptMD5Len {
			return b[2:TCPOptMD5Len]
		}
		b = b[b[1]:]
	}
	return nil
}

// Len is how many bytes Put writes, a multiple of 4.
func (o *TCPOptions) Len() int {
	n := 0
	if o.MSS != 0 {
		n += tcpOptMSSLen
	}
	if o.HasTimestamps {
		n += 12
	} else if o.SACKPermitted {
		n += 4
	}
	if o.HasWindowScale {
		n += 4
	}
	if o.NSACK > 0 {
		n += 4 + int(o.NSACK)*tcpOptSACKBlockLen
	}
	if o.HasUserTimeout {
		n += tcpOptUserTimeoutLen
	}
	if o.FastOpen.Present {
		n += o.FastOpen.size()
	}
	return n
}

// Put writes the options, each group aligned to 4 bytes with NOPs before it, in the order in which Linux writes them,
// and returns their length. They must fit: TCPMaxOptionsLen at most.
func (o *TCPOptions) Put(b []byte) int {
	if o.ScaleFirst {
		return o.putScaleFirst(b)
	}
	n := 0
	if o.MSS != 0 {
		b[0], b[1] = TCPOptMSS, tcpOptMSSLen
		binary.BigEndian.PutUint16(b[2:], o.MSS)
		n = 4
	}
	switch {
	case o.HasTimestamps:
		b[n], b[n+1] = TCPOptNOP, TCPOptNOP
		if o.SACKPermitted { // its two bytes take the NOPs' place
			b[n], b[n+1] = TCPOptSACKPermitted, tcpOptSACKPermittedLen
		}
		b[n+2], b[n+3] = TCPOptTimestamps, tcpOptTimestampsLen
		binary.BigEndian.PutUint32(b[n+4:], o.TSVal)
		binary.BigEndian.PutUint32(b[n+8:], o.TSEcr)
		n += 12
	case o.SACKPermitted:
		b[n], b[n+1], b[n+2], b[n+3] = TCPOptNOP, TCPOptNOP, TCPOptSACKPermitted, tcpOptSACKPermittedLen
		n += 4
	}
	if o.HasWindowScale {
		b[n], b[n+1], b[n+2], b[n+3] = TCPOptNOP, TCPOptWindowScale, tcpOptWindowScaleLen, o.WindowScale
		n += 4
	}
	if o.NSACK > 0 {
		b[n], b[n+1], b[n+2], b[n+3] = TCPOptNOP, TCPOptNOP, TCPOptSACK, 2+o.NSACK*tcpOptSACKBlockLen
		n += 4
		for _, s := range o.SACK[:o.NSACK] {
			binary.BigEndian.PutUint32(b[n:], s.Left)
			binary.BigEndian.PutUint32(b[n+4:], s.Right)
			n += tcpOptSACKBlockLen
		}
	}
	if o.HasUserTimeout {
		b[n], b[n+1] = TCPOptUserTimeout, tcpOptUserTimeoutLen
		binary.BigEndian.PutUint16(b[n+2:], o.UserTimeout)
		n += tcpOptUserTimeoutLen
	}
	if o.FastOpen.Present {
		n += o.FastOpen.put(b[n:])
	}
	return n
}
