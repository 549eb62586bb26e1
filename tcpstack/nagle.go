package tcpstack

// nagle is how small segments are held back: Linux's tcp_sock.nonagle.
type nagleMode uint8

const (
	nagleOff  nagleMode = 1 << iota // TCP_NODELAY
	nagleCork                       // TCP_CORK, or MSG_MORE
	naglePush                       // sends what is queued, whatever the other two say
)

// nagleMode is what holds for the connection.
func (c *Conn) nagleMode() nagleMode {
	var m nagleMode
	if !c.set.nagle {
		m = nagleOff
	}
	if c.set.cork {
		m |= nagleCork
	}
	if c.naglePush {
		m |= naglePush
	}
	return m
}

// holds says whether a small segment waits (Linux: tcp_nagle_check). A corked one always does; else:
//
// RFC 9293 3.7.4: "If there is unacknowledged data (i.e., SND.NXT > SND.UNA), then the sending TCP endpoint buffers all
// user data (regardless of the PSH bit) until the outstanding data has been acknowledged or until the TCP endpoint can
// send a full-sized segment". With Minshall's change only unacknowledged data of a small segment counts.
func (c *Conn) holds(m nagleMode) bool {
	switch {
	case c.urgentMode(): // Linux (tcp_nagle_test): urgent data does not wait
		return false
	case m&nagleCork != 0:
		return true
	case m&nagleOff != 0 || c.sndUna == c.sndNxt:
		return false
	}
	return !c.set.minshall || c.smallInFlight()
}

// smallInFlight says whether a segment of less than the MSS is unacknowledged (Linux: tcp_minshall_check).
//
// draft-minshall-nagle: "If a TCP has less than a full-sized packet to transmit, and if any previously transmitted less
// than full-sized packet has not yet been acknowledged, do not transmit the packet."
func (c *Conn) smallInFlight() bool {
	return c.sndUna.less(c.sndSml) && c.sndSml.lessEq(c.sndNxt)
}

// uncork lets go of what TCP_CORK or Nagle held back, as the options are switched (Linux: __tcp_sock_set_cork,
// __tcp_sock_set_nodelay).
func (c *Conn) uncork(was *settings) {
	if was.nagle && !c.set.nagle || was.cork && !c.set.cork && !c.set.nagle {
		c.naglePush = c.snd != nil && c.snd.queue.len() > 0
	}
}
