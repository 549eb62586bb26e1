package tcpstack

import "labd.dev/tcpstack/wire"

// syncMSS sets the data bytes of a full segment (Linux: tcp_sync_mss).
//
// RFC 9293 3.7.1 (MUST-16): "Eff.snd.MSS = min(SendMSS+20, MMS_S) - TCPhdrsize - IPoptionsize".
func (c *Conn) syncMSS() {
	mss := max(int(min(c.peerMSS, c.advMSS())), minMSS)
	mss = max(min(mss, c.pathMTU()-c.rt.ipLen()-wire.TCPMinLen)-c.rt.optionsLen(), minMSS)
	if c.tsOK {
		mss -= timestampsLen
	}
	if c.set.md5Key != "" {
		mss -= md5OptionLen
	}
	c.sndMSS = uint16(c.halfWindow(mss))
	if c.mtup() != nil {
		c.sndMSS = c.searchedMSS(c.sndMSS)
	}
}

// halfWindow bounds n to half the largest window that the peer has announced: a segment that took all of it would leave
// none for the next (Linux: tcp_bound_to_half_wnd). A window of less than the default MSS may be filled.
//
// RFC 9293 3.8.6.2.1, the sender's silly window avoidance: "at least a fraction Fs of the maximum window can be sent", Fs
// being 1/2.
func (c *Conn) halfWindow(n int) int {
	bound := int(c.maxSndWnd)
	if bound > defaultMSS {
		bound /= 2
	}
	if bound == 0 || n <= bound {
		return n
	}
	least := 68 - wire.TCPMinLen // RFC 791's least datagram, less the TCP header
	if c.tsOK {
		least -= timestampsLen
	}
	return max(bound, least)
}

// initRcvMSS guesses the size of full segments before any has come (Linux: tcp_initialize_rcv_mss).
func (c *Conn) initRcvMSS() {
	c.rcvMSS = max(min(c.advMSS(), c.sndMSS, defaultMSS), minRcvMSS)
}
