package wire

import "encoding/binary"

// putScaleFirst writes the options of a SYN in the order in which FreeBSD writes them (tcp_addoptions): MSS, window scale,
// SACK-permitted, timestamps, each aligned for itself; the end of the list pads what is left. It is as long as Len says.
func (o *TCPOptions) putScaleFirst(b []byte) int {
	n := 0
	if o.MSS != 0 {
		b[0], b[1] = TCPOptMSS, tcpOptMSSLen
		binary.BigEndian.PutUint16(b[2:], o.MSS)
		n = 4
	}
	if o.HasWindowScale {
		b[n], b[n+1], b[n+2], b[n+3] = TCPOptNOP, TCPOptWindowScale, tcpOptWindowScaleLen, o.WindowScale
		n += 4
	}
	if o.SACKPermitted {
		b[n], b[n+1] = TCPOptSACKPermitted, tcpOptSACKPermittedLen
		n += 2
	}
	if o.HasTimestamps {
		for n%4 != 2 {
			b[n] = TCPOptNOP
			n++
		}
		b[n], b[n+1] = TCPOptTimestamps, tcpOptTimestampsLen
		binary.BigEndian.PutUint32(b[n+2:], o.TSVal)
		binary.BigEndian.PutUint32(b[n+6:], o.TSEcr)
		n += tcpOptTimestampsLen
	}
	if o.FastOpen.Present {
		for n%4 != 0 {
			b[n] = TCPOptNOP
			n++
		}
		n += o.FastOpen.put(b[n:])
	}
	for n%4 != 0 {
		b[n] = TCPOptEOL
		n++
	}
	return n
}
