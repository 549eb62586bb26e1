package congestion

const (
	dctcpG        = 4    // RFC 8257 3.3: g, the estimation gain, here 1/16 = 1/2^4 (Linux: dctcp_shift_g)
	dctcpMaxAlpha = 1024 // alpha = 1, with which RFC 8257 lets it begin
)

// DCTCP is RFC 8257's congestion control: the window shrinks by how much of the data was marked, not by whether any was.
// Without ECN it is Reno. (What the receiver does about marks is in the connection: it is the peer's window that they are
// for.)
type DCTCP struct {
	plain
	alpha     uint32 // the share of marked segments, in 1/1024
	nextSeq   uint32 // the end of the observation window
	delivered uint32 // as it began
	ce        uint32
	lossCwnd  uint32
}

// Name is "dctcp".
func (*DCTCP) Name() string { return "dctcp" }

// Variable is alpha.
func (d *DCTCP) Variable() float64 { return float64(d.alpha) / dctcpMaxAlpha }

// Init begins at alpha 1, so that the first mark halves.
func (d *DCTCP) Init(s *Sender) {
	*d = DCTCP{alpha: dctcpMaxAlpha}
	d.observe(s)
}

// observe begins an observation window, about a round trip.
func (d *DCTCP) observe(s *Sender) {
	d.nextSeq, d.delivered, d.ce = s.SndNxt, s.Delivered, s.DeliveredCE
}

// InAck updates alpha once a window. RFC 8257 3.3: "M = DCTCP.BytesMarked / DCTCP.BytesAcked", "DCTCP.Alpha =
// DCTCP.Alpha * (1 - g) + g * M", here by segments, as Linux does (dctcp_update_alpha).
func (d *DCTCP) InAck(s *Sender) {
	if seqBefore(s.SndUna, d.nextSeq) {
		return
	}
	if cut := d.alpha >> dctcpG; cut > 0 {
		d.alpha -= cut
	} else {
		d.alpha = 0
	}
	if ce := s.DeliveredCE - d.ce; ce > 0 {
		d.alpha = min(d.alpha+uint32(uint64(ce)<<(10-dctcpG)/uint64(max(1, s.Delivered-d.delivered))), dctcpMaxAlpha)
	}
	d.observe(s)
}

// CongAvoid is Reno's. RFC 8257 3.4 has the window grow as conventional TCP's does.
func (d *DCTCP) CongAvoid(s *Sender, acked uint32) { renoCongAvoid(s, acked) }

// SSThresh answers a mark. RFC 8257 3.3: "cwnd = cwnd * (1 - DCTCP.Alpha / 2)". Without ECN it is Reno's.
func (d *DCTCP) SSThresh(s *Sender) uint32 {
	if !s.ECNOK {
		return halve(s)
	}
	d.lossCwnd = s.Cwnd
	return max(s.Cwnd-uint32(uint64(s.Cwnd)*uint64(d.alpha)>>11), MinSSThresh)
}

// SetState answers a loss: RFC 8257 3.5: "A DCTCP sender MUST react to loss episodes in the same way as conventional TCP".
func (d *DCTCP) SetState(s *Sender, next State) {
	if next == Recovery && s.State != Recovery {
		d.react(s)
	}
}

// Event answers a timeout in the same way.
func (d *DCTCP) Event(s *Sender, e Event) {
	if e == EventLoss {
		d.react(s)
	}
}

func (d *DCTCP) react(s *Sender) {
	if s.ECNOK {
		d.lossCwnd = s.Cwnd
		s.SSThresh = halve(s)
	}
}

// UndoCwnd is the window before the reduction.
func (d *DCTCP) UndoCwnd(s *Sender) uint32 {
	if !s.ECNOK {
		return d.plain.UndoCwnd(s)
	}
	return max(s.Cwnd, d.lossCwnd)
}
