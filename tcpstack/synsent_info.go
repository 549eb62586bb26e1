package tcpstack

import (
	"labd.dev/tcpstack/congestion"
	"labd.dev/tcpstack/wire"
)

// synSentInfo fills in what tcp_info tells before the SYN is answered. In Linux the SYN lies in the retransmission queue
// like any segment, with a Fast Open SYN's data behind it, and its timeout begins a loss recovery; here neither a queue nor
// a recovery is kept for it, as all of it is forgotten with the answer (tcp_init_transfer). So it is worked out when asked.
func (c *Conn) synSentInfo(i *Info) {
	queued := uint32(1) // tcp_connect_queue_skb
	if c.fo != nil && c.fo.dataSYN {
		queued++ // tcp_send_syn_data
	}
	i.Unacked, i.SndMSS, i.RcvMSS, i.Delivered = queued, uint32(c.synSentMSS()), minRcvMSS, 0
	if c.Deferred() {
		i.Unacked = 0
	}
	if c.totalRetrans == 0 {
		return
	}
	// tcp_enter_loss: all of it is lost, and the SYN alone is sent again. A SYN that was too large for the path is the same
	// but for the window (tcp_non_congestion_loss_retransmit).
	i.CAState, i.Lost, i.Retrans = caLoss.String(), queued, 1
	if c.retransmits > 0 {
		w := c.win
		i.SndSSThresh = c.set.cc.New().SSThresh(&congestion.Sender{Window: &w})
		i.SndCwnd = 1
	}
}

// synSentMSS is the data of a segment as far as is known before the SYN is answered (Linux: tcp_connect_init,
// tcp_send_syn_data). The timestamps option is counted.
func (c *Conn) synSentMSS() int {
	mss := int(c.plainMSS())
	if c.fo != nil && c.fo.dataSYN {
		mss = int(c.synMSS())
	}
	mss = max(min(mss, c.pathMTU()-c.rt.ipLen()-wire.TCPMinLen), minMSS)
	if c.set.timestamps {
		mss -= timestampsLen
	}
	return mss
}
