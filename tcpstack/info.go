package tcpstack

import (
	"labd.dev/sim"
	"labd.dev/tcpstack/congestion"
)

// Info is what Linux's struct tcp_info tells of a connection, with its names and units, as far as the stack keeps it.
type Info struct {
	CAName, CAState          string
	Retransmits, Backoff     uint32
	TSOK, SackOK, WscaleOK   bool
	SndWscale, RcvWscale     uint32
	RTOUs, ATOUs             uint64
	SndMSS, RcvMSS, AdvMSS   uint32
	PMTU                     uint32
	Unacked, Sacked          uint32 // segments
	Lost, Retrans            uint32 // segments
	RTTUs, RTTVarUs          uint64
	MinRTTUs                 uint64
	SndCwnd, SndSSThresh     uint32 // segments; 0x7fffffff: not set
	SndWnd, RcvWnd, RcvSpace uint64 // bytes
	TotalRetrans             uint32 // segments
	BytesSent                uint64
	BytesAcked               uint64 // with the SYN of an active open and the FIN
	BytesReceived            uint64 // with the FIN
	BytesRetrans             uint64
	SegsOut, SegsIn          uint32
	DataSegsOut, DataSegsIn  uint32
	DeliveryRate, PacingRate uint64 // bytes a second
	NotsentBytes             uint64
	LastDataSentMs           uint64
	LastDataRecvMs           uint64
	LastAckRecvMs            uint64
	Probes                   uint32 // zero-window probes without an answer
	RcvSSThresh              uint64 // bytes: how far the window announced may grow
	RcvRTTUs                 uint64
	Reordering               uint32 // segments
	MaxPacingRate            uint64 // bytes a second; all ones: none
	DeliveryRateAppLimited   bool
	BusyTimeUs               uint64 // with data in flight or unsent
	RwndLimitedUs            uint64 // of that, held back by the peer's window
	SndbufLimitedUs          uint64 // of that, held back by the send buffer
	Delivered, DeliveredCE   uint32 // segments
	DSACKDups, ReordSeen     uint32
	RcvOOOPack               uint32 // segments that came out of order
	TotalRTO                 uint32 // timeouts
	TotalRTORecoveries       uint32
	TotalRTOTimeMs           uint64
	ECN, ECNSeen             bool
	CCVariable               string // the congestion control's own figure (tcp_cc_info's chief one); empty: none
	CCValue                  float64
	SYNData                  bool   // the SYN's data was acknowledged (TCPI_OPT_SYN_DATA)
	FastOpenClientFail       uint32 // TFO_STATUS_UNSPEC, TFO_COOKIE_UNAVAILABLE, ...
}

// Info tells how the connection stands.
func (c *Conn) Info() Info {
	i := Info{
		CAName: c.set.cc.String(), CAState: c.caState.String(),
		Retransmits: uint32(c.retransmits), Backoff: uint32(c.backoff),
		TSOK: c.tsOK, SackOK: c.sackOK, WscaleOK: c.wscaleOK,
		SndWscale: uint32(c.sndWscale), RcvWscale: uint32(c.rcvWscale),
		RTOUs: micros(c.backedOff()), ATOUs: micros(c.ato),
		SndMSS: uint32(c.sndMSS), RcvMSS: uint32(c.rcvMSS), AdvMSS: uint32(c.advMSS()), PMTU: uint32(c.pathMTU()),
		RTTUs: micros(c.srtt()), RTTVarUs: micros(c.rttvar()), MinRTTUs: micros(c.minRTT()),
		SndCwnd: c.win.Cwnd, SndSSThresh: c.win.SSThresh,
		SndWnd: uint64(c.sndWnd), RcvWnd: uint64(c.rcvWnd()), RcvSpace: uint64(c.rcvSpace()),
		TotalRetrans: c.totalRetrans,
		BytesSent:    c.bytesSent + c.bytesRetrans, BytesAcked: c.numbersAcked(), // Linux counts retransmissions as sent
		BytesReceived: c.numbersReceived(), BytesRetrans: c.bytesRetrans,
		SegsOut: c.segsOut, SegsIn: c.segsIn, DataSegsOut: c.dataSegsOut, DataSegsIn: c.dataSegsIn,
		NotsentBytes: uint64(c.unsent()), BusyTimeUs: micros(c.spent(chronoBusy)), RwndLimitedUs: micros(c.spent(chronoRwnd)),
		SndbufLimitedUs: micros(c.spent(chronoSndbuf)), RcvRTTUs: micros(c.rcvRTT()),
		Probes: uint32(c.probesOut), RcvSSThresh: uint64(c.rcvSSThresh()), MaxPacingRate: or(c.set.from.MaxPacingRate, 1<<64-1),
		Reordering: c.set.reordering, Delivered: 1,
		LastDataSentMs: c.sinceMs(c.lastDataSent), LastDataRecvMs: c.sinceMs(c.lastDataRcv), LastAckRecvMs: c.sinceMs(c.lastAckRcv),
	}
	c.fastOpenInfo(&i)
	if rec := c.rec; rec != nil {
		i.Reordering, i.ReordSeen, i.DSACKDups = rec.reordering, rec.reordSeen, rec.dsackDups
		i.TotalRTO, i.TotalRTORecoveries, i.TotalRTOTimeMs = rec.totalRTO, rec.rtoRecoveries, uint64(rec.rtoTime/sim.Millisecond)
	}
	c.tellInfo(&i)
	if q := c.rtx; q != nil {
		i.Unacked, i.Sacked, i.Lost, i.Retrans = uint32(q.n), uint32(q.sackedOut), uint32(q.lostOut), uint32(q.retransOut)
	}
	switch {
	case c.state == StateSynSent:
		c.synSentInfo(&i)
	case c.state == StateSynRcvd:
		i.Delivered = 0 // the SYN,ACK itself is yet to be
	}
	return i
}

// numbersReceived is how many sequence numbers have come in order, as Linux counts bytes_received: with the FIN.
func (c *Conn) numbersReceived() uint64 {
	if c.rcvFIN {
		return c.bytesReceived + 1
	}
	return c.bytesReceived
}

// ISS is the initial send sequence number.
func (c *Conn) ISS() uint32 { return uint32(c.iss) }

func micros(t sim.Time) uint64 { return uint64(t / sim.Microsecond) }

// sinceMs is how long ago t was; 0 if it never was.
func (c *Conn) sinceMs(t sim.Time) uint64 {
	if t == 0 {
		return 0
	}
	return uint64((c.stack.loop.Now() - t) / sim.Millisecond)
}

// limitedBy is what holds the sender back now.
func (c *Conn) limitedBy() Limit {
	switch {
	case c.cc != nil && c.cc.timer.Armed():
		return LimitedPacing
	case c.rtx.inFlight() >= int(c.win.Cwnd):
		return LimitedCwnd
	case c.unsent() > 0:
		return LimitedRwnd
	case c.wantWrite:
		return LimitedSndbuf
	}
	return LimitedApp
}

// Figures are what the connection's congestion control tells of itself (TCP_CC_INFO).
func (c *Conn) Figures() []congestion.Figure {
	if c.cc == nil || c.cc.alg == nil {
		return nil
	}
	return congestion.Figures(c.cc.alg)
}
