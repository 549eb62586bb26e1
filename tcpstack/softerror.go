package tcpstack

import "errors"

// ErrNoAnswer is trouble, not the end: data was sent again R1 times and nothing has acknowledged it.
var ErrNoAnswer = errors.New("tcp: the peer does not answer")

// SoftErrorHandler is a ConnHandler that wants to hear of trouble that does not end the connection: ErrNoAnswer, or
// ErrUnreachable for an ICMP error, which Conn.LastICMP tells more of.
//
// RFC 9293 3.9.1.8 (MUST-47): "There MUST be a mechanism for reporting soft TCP error conditions to the application"; "an
// application program that does not want to receive such ERROR_REPORT calls SHOULD be able to effectively disable these
// calls (SHLD-20)": its handler does without this method.
type SoftErrorHandler interface {
	ConnHandler
	SoftError(c *Conn, err error)
}

// softError reports trouble to whoever wants to know.
func (c *Conn) softError(err error) {
	if h, ok := c.h.(SoftErrorHandler); ok && !c.gone() && !c.appClosed {
		h.SoftError(c, err)
	}
}

// reportR1 reports that the segment at SND.UNA was sent again R1 times.
//
// RFC 9293 3.8.3: "TCP implementations SHOULD inform the application of the delivery problem (unless such information
// has been disabled by the application; see the 'Asynchronous Reports' section ...), when R1 is reached and before R2
// (SHLD-9)"; "The value of R1 SHOULD correspond to at least 3 retransmissions, at the current RTO (SHLD-10)":
// tcp_retries1.
func (c *Conn) reportR1() {
	if c.retransmits > 0 && c.retransmits == c.set.blackholeRetries {
		c.softError(ErrNoAnswer)
	}
}
