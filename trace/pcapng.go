package trace

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"

	"labd.dev/sim"
)

// pcapng (draft-ietf-opsawg-pcapng) is written by our own encoder: captures are part of a run's bytes, so nothing of
// the host may get into them, and a packet's headers and payload are written from where they lie.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockNames     = 4
	blockPacket    = 6

	byteOrderMagic  = 0x1a2b3c4d
	linkTypeEther   = 1
	timestampNanos  = 9 // if_tsresol: 10^-9 s
	directionIn     = 1 // epb_flags bits 0-1
	directionOut    = 2
	nameRecordIPv4  = 1
	nameRecordIPv6  = 2
	maxBlockComment = 4096 // no state line is near this long; it bounds what a caller can do

	optEnd            = 0
	optComment        = 1
	optSectionHW      = 2
	optSectionOS      = 3
	optSectionApp     = 4
	optInterfaceName  = 2
	optInterfaceDesc  = 3
	optInterfaceIPv4  = 4
	optInterfaceIPv6  = 5
	optInterfaceMAC   = 6
	optInterfaceTSRes = 9
	optPacketFlags    = 2
	optPacketID       = 5
)

// LabEpoch is the wall time that captures and HTTP dates give lab time 0: 2000-01-01T00:00:00Z, in Unix nanoseconds.
const LabEpoch = 946_684_800 * 1_000_000_000

// CaptureInterface describes the one vantage point of a capture file.
type CaptureInterface struct {
	Node    string
	Name    string // eth0
	MAC     [6]byte
	Prefix  netip.Prefix
	Prefix6 netip.Prefix
	// SnapLen is how many bytes of a packet are written at most; 0: all.
	SnapLen uint32
	Hosts   []HostName // what a reader of the capture may print instead of addresses
}

// HostName names an address.
type HostName struct {
	Addr netip.Addr
	Name string
}

// CaptureWriter writes the packets of one interface.
type CaptureWriter struct {
	w    *bufio.Writer
	snap int // bytes of a packet that are written at most; 0: all
	buf  []byte
	err  error
}

// maxSnapLen is more than any packet has: what is asked beyond it is all of the packet.
const maxSnapLen = 1 << 20

// captureBuffer is small because a lab may capture thousands of interfaces at once.
const captureBuffer = 16 << 10

// NewCaptureWriter begins a capture: section header, interface, names.
func NewCaptureWriter(w io.Writer, ifc CaptureInterface) (*CaptureWriter, error) {
	c := &CaptureWriter{w: bufio.NewWriterSize(w, captureBuffer), snap: int(min(ifc.SnapLen, maxSnapLen))}
	c.section()
	c.iface(&ifc)
	c.names(ifc.Hosts)
	return c, c.err
}

func (c *CaptureWriter) section() {
	c.begin(blockSection)
	c.u32(byteOrderMagic)
	c.u16(1) // major version
	c.u16(0)
	c.u64(1<<64 - 1) // section length: not given
	c.tlv(optSectionHW, "emulated")
	c.tlv(optSectionOS, "labd")
	c.tlv(optSectionApp, "labd")
	c.end()
}

func (c *CaptureWriter) iface(ifc *CaptureInterface) {
	c.begin(blockInterface)
	c.u16(linkTypeEther)
	c.u16(0)
	c.u32(min(ifc.SnapLen, maxSnapLen)) // 0: no limit
	c.tlv(optInterfaceName, ifc.Name)
	c.tlv(optInterfaceDesc, ifc.Node+" "+ifc.Name)
	if ifc.Prefix.Addr().Is4() {
		a := ifc.Prefix.Addr().As4()
		mask := ^uint32(0) << (32 - ifc.Prefix.Bits())
		c.tlv(optInterfaceIPv4, string(binary.BigEndian.AppendUint32(a[:], mask)))
	}
	if p := ifc.Prefix6; p.IsValid() {
		c.tlv(optInterfaceIPv6, string(append(p.Addr().AsSlice(), byte(p.Bits()))))
	}
	c.tlv(optInterfaceMAC, string(ifc.MAC[:]))
	c.tlv(optInterfaceTSRes, string([]byte{timestampNanos}))
	c.end()
}

func (c *CaptureWriter) names(hosts []HostName) {
	if len(hosts) == 0 {
		return
	}
	c.begin(blockNames)
	for _, h := range hosts {
		typ := uint16(nameRecordIPv4)
		if h.Addr.Is6() {
			typ = nameRecordIPv6
		}
		c.tlv(typ, string(h.Addr.AsSlice())+h.Name+"\x00")
	}
	c.u32(0) // nrb_record_end
	c.end()
}

// Packet writes a packet that the node sent (out) or received at t, its bytes in parts (headers, payload). comment
// tells what the wire does not: see AppendComment.
func (c *CaptureWriter) Packet(t sim.Time, pkt sim.PacketID, out bool, comment []byte, parts ...[]byte) error {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	ts := uint64(LabEpoch + int64(t))
	c.begin(blockPacket)
	c.u32(0) // the section's only interface
	c.u32(uint32(ts >> 32))
	c.u32(uint32(ts))
	kept := n
	if c.snap > 0 {
		kept = min(n, c.snap)
	}
	c.u32(uint32(kept))
	c.u32(uint32(n))
	start := len(c.buf)
	for _, p := range parts {
		c.buf = append(c.buf, p...)
	}
	c.buf = c.buf[:start+kept]
	c.pad()
	if len(comment) > 0 {
		c.tlv(optComment, string(comment[:min(len(comment), maxBlockComment)]))
	}
	dir := uint32(directionIn)
	if out {
		dir = directionOut
	}
	c.u16(optPacketFlags)
	c.u16(4)
	c.u32(dir)
	if pkt != 0 {
		c.u16(optPacketID)
		c.u16(8)
		c.u64(uint64(pkt))
	}
	c.end()
	return c.err
}

// AppendComment appends what a capture says of a packet besides its bytes: its id, its connection, and the state of the
// end that sends or receives it ("ESTABLISHED cwnd=10"), as far as there is one.
func AppendComment(b []byte, names *Names, pkt sim.PacketID, conn sim.ConnID, state string) []byte {
	b = append(b, names.Packet(pkt)...)
	for _, s := range []string{names.Conn(conn), state} {
		if s != "" {
			b = append(b, ' ')
			b = append(b, s...)
		}
	}
	return b
}

// Flush hands what is buffered to the file.
func (c *CaptureWriter) Flush() error {
	if c.err == nil {
		c.err = c.w.Flush()
	}
	return c.err
}

// begin starts a block; its length is filled in by end.
func (c *CaptureWriter) begin(typ uint32) {
	c.buf = binary.LittleEndian.AppendUint32(c.buf[:0], typ)
	c.u32(0)
}

func (c *CaptureWriter) end() {
	if binary.LittleEndian.Uint32(c.buf) != blockNames {
		c.u32(optEnd) // opt_endofopt: code 0, length 0
	}
	n := uint32(len(c.buf) + 4)
	c.u32(n)
	binary.LittleEndian.PutUint32(c.buf[4:], n)
	if c.err == nil {
		if _, err := c.w.Write(c.buf); err != nil {
			c.err = fmt.Errorf("capture: %w", err)
		}
	}
}

func (c *CaptureWriter) u16(v uint16) { c.buf = binary.LittleEndian.AppendUint16(c.buf, v) }
func (c *CaptureWriter) u32(v uint32) { c.buf = binary.LittleEndian.AppendUint32(c.buf, v) }
func (c *CaptureWriter) u64(v uint64) { c.buf = binary.LittleEndian.AppendUint64(c.buf, v) }

// pad fills up to a multiple of 4; every block begins at one.
func (c *CaptureWriter) pad() {
	for len(c.buf)%4 != 0 {
		c.buf = append(c.buf, 0)
	}
}

func (c *CaptureWriter) tlv(code uint16, value string) {
	c.u16(code)
	c.u16(uint16(len(value)))
	c.buf = append(c.buf, value...)
	c.pad()
}
