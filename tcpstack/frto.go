package tcpstack

// F-RTO: RFC 5682. After a timeout the ACKs of what was sent before it, or of new data sent instead of more
// retransmissions, tell whether anything was lost at all.

// armFRTO: RFC 5682 2.1 (1) and 3.1 (1): "When the retransmission timer expires, retransmit the first unacknowledged
// segment", and look on, unless a recovery is under way already. fresh: none was.
func (c *Conn) armFRTO(fresh bool) {
	c.rec.frto = c.set.frto && (fresh || c.retransmits > 0) && (c.mtup() == nil || c.mtup().size == 0)
}

// processLoss is what an ACK means after a timeout (Linux: tcp_process_loss).
func (c *Conn) processLoss(r *ackResult) {
	rec := c.rec
	recovered := rec.highSeq.lessEq(c.sndUna)
	if (r.flags&ackAdvanced != 0 || c.fo != nil && c.fo.completing) && c.tryUndoLoss(false) {
		return
	}
	if rec.frto {
		// RFC 5682 3.1 (3.b): an acknowledgment of data that was not retransmitted after the timeout declares it
		// spurious: with SACK the SACK of such data says the same.
		if r.flags&ackOriginal != 0 && c.tryUndoLoss(true) {
			return
		}
		if rec.highSeq.less(c.sndNxt) {
			if r.flags&ackSacked != 0 || r.dup {
				rec.frto = false // 3.1 (3.a): the loss was real
			}
		} else if r.flags&ackAdvanced != 0 && !recovered {
			rec.highSeq = c.sndNxt
			// 2.1 (2.b): "transmit up to two new (previously unsent) segments and enter step 3 ...; if the TCP sender does not have
			// enough new data to send, ... the TCP sender ... returns to the conventional RTO recovery."
			if c.canSendNew() {
				r.resend = resendNew
				return
			}
			rec.frto = false
		}
	}
	if recovered {
		c.tryUndoRecovery()
		return
	}
	if !c.sackOK {
		// A duplicate ACK is of the new data sent above: it lets more out.
		if rec.highSeq.less(c.sndNxt) && r.dup {
			c.addRenoSack()
		} else if r.flags&ackAdvanced != 0 {
			c.resetRenoSack()
		}
	}
	r.resend = resendLost
}

// canSendNew says whether there is new data that the peer's window would take some of.
func (c *Conn) canSendNew() bool {
	return c.waiting() && c.sndNxt.less(c.sndUna+seqNum(c.sndWnd))
}
