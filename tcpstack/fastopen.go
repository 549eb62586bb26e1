package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/congestion"
	"labd.dev/tcpstack/wire"
)

// fastOpen is what a connection keeps that asked for Fast Open, or was opened by it (RFC 7413); others have none.
type fastOpen struct {
	// The client's.
	option   wire.FastOpen    // of the SYN that is sent next; absent again afterwards (RFC 7413 4.2.1: retransmissions go without)
	asked    bool             // a SYN with the option was sent (Linux: syn_fastopen)
	exp      bool             // by the experimental option
	deferred bool             // the SYN waits for the first write (TCP_FASTOPEN_CONNECT)
	dataSYN  bool             // the SYN was sent as one with data, if only with none of it
	synData  int              // bytes that went with the SYN
	synAt    sim.Time         // when the SYN, or the SYN,ACK of a connection made by one, was first sent
	stamp    congestion.Stamp // of its data
	fail     fastOpenFail
	dataSent bool // they have gone: a SYN carries them once
	resent   bool // the data that had gone with it was sent again
	recheck  bool // the first after a pause: its success ends the pauses
	judged   bool // whether the path has swallowed data has been looked at

	// The server's, of a connection made by the SYN.
	lsn      *Listener // whose Fast Open queue it counts in until the handshake is complete; nil: it does not
	timeouts uint8     // of the SYN,ACK
	retrans  uint8     // of it
	answered answered  // of invalid segments

	repeatedAt sim.Time // when its timer first sent it again
	completing bool     // the ACK that completes the handshake is being worked on

	told bool // the application was told Established

	acked bool // the SYN's data was taken (TCPI_OPT_SYN_DATA)
}

// fastOpenFail is why data did not go with a SYN, or was not taken (tcpi_fastopen_client_fail).
type fastOpenFail uint8

const (
	fastOpenUnspecified       fastOpenFail = iota // TFO_STATUS_UNSPEC
	fastOpenCookieUnavailable                     // TFO_COOKIE_UNAVAILABLE
	fastOpenDataNotAcked                          // TFO_DATA_NOT_ACKED
	fastOpenSYNRetransmitted                      // TFO_SYN_RETRANSMITTED
)

// fastOpenState is what a stack's connections share for Fast Open; cookies are kept with the metrics of paths.
type fastOpenState struct {
	ownKey [1]fastOpenKey // where none is configured

	// What blackHole found: when, and how often in a row.
	disabledAt sim.Time
	disabled   int
}

// halfAccepted says whether the connection was made by a SYN with data and waits for the end of its handshake: it may
// already send, and its timer is the SYN,ACK's.
func (c *Conn) halfAccepted() bool { return c.fo != nil && c.fo.lsn != nil }

// fastOpenInfo fills in what tcp_info tells of Fast Open.
func (c *Conn) fastOpenInfo(i *Info) {
	if c.fo != nil {
		i.SYNData, i.FastOpenClientFail = c.fo.acked, uint32(c.fo.fail)
	}
}
