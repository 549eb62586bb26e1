package tcpstack

import "labd.dev/sim"

// oddities are what most connections never need, so that none pays for it: it is made on first use.
type oddities struct {
	mtup       *mtuSearch // nil unless the path MTU is probed
	readClosed bool       // CloseRead was called
	keepAt     sim.Time   // when the keep-alive timer expires; Never: it is not set
	closeErr   error      // what ended the connection out of order
	lastICMP   *ICMPError // nil: none since the peer was last heard
	probesAt   sim.Time   // when the window's probing began; 0: it is not probed
	challenged answered   // of unacceptable segments without data
	writeWaits bool       // a write waits for the handshake
	synOut     bool       // closeEarly has sent a FIN behind a SYN that is not acknowledged
	synMTU     uint16     // of the path as it was known when our MSS was announced; 0: the link's
}

// oddities is c.odd, made on first use.
func (c *Conn) oddities() *oddities {
	if c.odd == nil {
		c.odd = &oddities{keepAt: sim.Never}
	}
	return c.odd
}

// closeErr is what ended the connection, or is nil.
func (c *Conn) closeErr() error {
	if c.odd == nil {
		return nil
	}
	return c.odd.closeErr
}

// probesAt is when the window's probing began; 0: it is not probed.
func (c *Conn) probesAt() sim.Time {
	if c.odd == nil {
		return 0
	}
	return c.odd.probesAt
}

// probingEnded: the window is open.
func (c *Conn) probingEnded() {
	if c.odd != nil {
		c.odd.probesAt = 0
	}
}
