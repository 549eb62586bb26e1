package tcpstack

import "labd.dev/sim"

// Undoing a reduction that proves needless: because the original had arrived after all (Eifel detection, RFC 3522, by
// timestamps), or because DSACKs report that each retransmission was a duplicate. The response is RFC 4015's, as Linux
// has it.

// undoState is what the current recovery could be undone by.
type undoState struct {
	on        bool     // a recovery began that may be undone
	marker    seqNum   // SND.UNA as it began (undo_marker)
	retrans   int      // retransmissions that no DSACK has reported; -1: nothing was sent again (undo_retrans)
	retransAt sim.Time // when it first sent something again; Never: it has not (retrans_stamp)
}

// initUndo begins to keep account (Linux: tcp_init_undo).
func (c *Conn) initUndo() {
	u, t := &c.rec.undo, &c.rec.tlp
	u.on, u.marker = true, c.sndUna
	u.retrans = c.rtx.retransOut // what is still out may be reported later
	if t.out && t.retrans {
		u.retrans++
	}
	if u.retrans == 0 {
		u.retrans = -1
	}
}

// echoesBefore says whether the ACK being worked on was made by what was sent before t.
//
// RFC 3522 3.2 (4): "If the value of the Timestamp Echo Reply field of the acceptable ACK's Timestamps option is smaller
// than the value of RetransmitTS": the timeout or retransmit was spurious.
func (c *Conn) echoesBefore(t sim.Time) bool {
	return c.set.eifel && c.rec.sawTS && int32(c.rec.tsEcr-timestampAt(t, c.tsOffset)) < 0
}

// originalArrived says whether what the ACK covers was the original and not the retransmission (Linux: tcp_packet_delayed).
func (c *Conn) originalArrived() bool {
	u := &c.rec.undo
	if u.retransAt != sim.Never {
		return c.echoesBefore(u.retransAt)
	}
	// Nothing was sent again: what was taken for lost was late. Without SACK the stamp is cleared at highSeq as well.
	return c.set.eifel && (c.sackOK || c.sndUna.less(c.rec.highSeq))
}

// mayUndo says by what the recovery may be undone now (Linux: tcp_may_undo).
func (c *Conn) mayUndo() (UndoReason, bool) {
	u := &c.rec.undo
	switch {
	case !u.on:
		return 0, false
	case u.retrans == 0 && c.set.dsackUndo:
		return UndoDSACK, true
	case c.originalArrived():
		return UndoEifel, true
	}
	return 0, false
}

// undoReduction restores the window (Linux: tcp_undo_cwnd_reduction). unmark: nothing is lost after all.
//
// RFC 4015 3.2 (9): "cwnd <- FlightSize + min (bytes_acked, IW); ssthresh <- pipe_prev": Linux goes back to the window
// from before.
func (c *Conn) undoReduction(unmark bool, why UndoReason) {
	rec, q, before := c.rec, c.rtx, c.win.Cwnd
	if unmark && q != nil {
		for i := range q.n {
			q.at(i).flags &^= txLost
		}
		q.lostOut, q.rtxHint = 0, 0
	}
	if rec.prr.priorSSThresh != 0 {
		c.win.Cwnd = c.caUndoCwnd()
		if rec.prr.priorSSThresh > c.win.SSThresh {
			c.win.SSThresh = rec.prr.priorSSThresh
			c.withdrawCWR()
		}
	}
	c.cc.use.stamp = c.stack.loop.Now()
	rec.undo.on = false
	rec.rack.advanced = true // what is lost all the same is found anew
	c.recordUndone(why, before)
	rec.spurious = true
}

// tryUndoRecovery is called once all is acknowledged that was out when the recovery began. It reports that the state stays.
func (c *Conn) tryUndoRecovery() bool {
	rec := c.rec
	if why, ok := c.mayUndo(); ok {
		if c.caState == caLoss {
			c.stack.tcp.count.lossUndos++
		} else {
			c.stack.tcp.count.fullUndos++
		}
		c.undoReduction(false, why)
	} else if rec.rack.reoPersist > 0 {
		rec.rack.reoPersist--
	}
	if c.preventsReopen() {
		return true
	}
	c.leaveRecovery()
	rec.reneged = false
	return false
}

// tryUndoDSACK undoes a recovery all of whose retransmissions were reported as duplicates (Linux: tcp_try_undo_dsack).
func (c *Conn) tryUndoDSACK() bool {
	rec := c.rec
	if !c.set.dsackUndo || !rec.undo.on || rec.undo.retrans != 0 {
		return false
	}
	rec.rack.reoPersist = min(rackRecoveries, rec.rack.reoPersist+1)
	c.stack.tcp.count.dsackUndos++
	c.undoReduction(false, UndoDSACK)
	return true
}

// tryUndoLoss undoes a timeout (Linux: tcp_try_undo_loss). frto: F-RTO has found it spurious.
func (c *Conn) tryUndoLoss(frto bool) bool {
	why, ok := c.mayUndo()
	if frto {
		why = UndoFRTO
		c.stack.tcp.count.spuriousRTOs++
	} else if !ok {
		return false
	}
	c.stack.tcp.count.lossUndos++
	c.undoReduction(true, why)
	c.retransmits = 0
	if c.preventsReopen() {
		return true
	}
	if frto || c.sackOK {
		c.leaveRecovery()
		c.rec.reneged = false
	}
	return true
}

// tryUndoPartial: a partial ACK that the original has made (Linux: tcp_try_undo_partial). It reports that nothing more is
// to be taken for lost.
func (c *Conn) tryUndoPartial(r *ackResult) bool {
	u := &c.rec.undo
	if !u.on || !c.originalArrived() {
		return false
	}
	c.checkReordering(r.priorUna)
	if c.rtx.retransOut > 0 {
		return true // the retransmissions that are out are waited for
	}
	c.cleanRetransStamp()
	c.stack.tcp.count.partialUndos++
	c.undoReduction(true, UndoEifel)
	c.tryKeepOpen()
	return false
}

// anyRetransmitted says whether what is in flight has been sent again (Linux: tcp_any_retrans_done).
func (c *Conn) anyRetransmitted() bool {
	q := c.rtx
	return q != nil && (q.retransOut > 0 || q.n > 0 && q.at(0).flags&txRexmit != 0)
}

// cleanRetransStamp forgets when the first retransmission was, once none is left in flight.
func (c *Conn) cleanRetransStamp() {
	if !c.anyRetransmitted() {
		c.rec.undo.retransAt = sim.Never
	}
}
