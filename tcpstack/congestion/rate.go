package congestion

import "labd.dev/sim"

// Delivery rate estimation (draft-cheng-iccrg-delivery-rate-estimation; Linux's tcp_rate.c). Each segment takes with it
// how much had been delivered when it was sent; once it is delivered itself, what was delivered meanwhile over the time
// that took is a sample of the rate.

// Rate is the sender's part of the state.
type Rate struct {
	Delivered   uint32   // segments delivered so far
	DeliveredCE uint32   // of them those that the peer has reported as marked
	Lost        uint32   // segments taken for lost so far
	DeliveredAt sim.Time // when Delivered last grew
	firstTxAt   sim.Time // when the segment was sent that was last delivered
	// AppLimited is the count of Delivered up to which samples tell the application's rate, not the path's; 0: none do.
	AppLimited uint32

	// The last good sample, for tcp_info.
	rateDelivered  uint32
	rateInterval   sim.Time
	rateAppLimited bool
}

// Stamp is what a segment takes with it.
type Stamp struct {
	deliveredAt, firstTxAt sim.Time // deliveredAt below 0: the segment has been delivered
	delivered, deliveredCE uint32
	lost, inFlight         uint32 // inFlight: with it; stampAppLimited beside
}

const stampAppLimited = 1 << 31

// RateSample is what one ACK tells of the rate.
type RateSample struct {
	Delivered    int32    // segments over Interval; below 0: no sample
	Interval     sim.Time // the longer of sending and acknowledging them; 0 or below: no sample
	RTT          sim.Time // of the last segment delivered; below 0: none
	Newly        uint32   // segments that this ACK delivered
	NewlyLost    uint32   // segments taken for lost on this ACK
	AppLimited   bool
	Retrans      bool // the segment was a retransmission
	AckDelayed   bool // the peer probably held the ACK back
	lost         uint32
	txInFlight   uint32 // as the segment was sent
	prior        uint32 // Delivered then
	priorCE      uint32
	priorAt      sim.Time
	deliveredCE  uint32
	sndInterval  sim.Time
	priorLost    uint32
	endSeq       uint32
	hasDelivered bool
}

// Begin clears the sample before an ACK is worked on.
func (rs *RateSample) Begin() { *rs = RateSample{RTT: -1} }

// PriorDelivered is what Delivered was when the segment of the sample was sent; false: there is none.
func (rs *RateSample) PriorDelivered() (uint32, bool) { return rs.prior, rs.hasDelivered }

// Sent stamps a segment that is sent now. first says that nothing else is in flight: the clocks start anew, so that idle
// time counts for no rate.
func (s *Sender) Sent(x *Stamp, first bool, inFlight uint32) {
	if first {
		s.firstTxAt, s.DeliveredAt = s.Now, s.Now
	}
	x.firstTxAt, x.deliveredAt, x.delivered, x.deliveredCE = s.firstTxAt, s.DeliveredAt, s.Delivered, s.DeliveredCE
	x.lost, x.inFlight = s.Lost, inFlight
	if s.AppLimited != 0 {
		x.inFlight |= stampAppLimited
	}
}

// Deliver takes a segment that was sent at a time and is delivered now, by SEG.ACK or by SACK. The sample is taken from the
// one that was sent last.
func (s *Sender) Deliver(rs *RateSample, x *Stamp, sentAt sim.Time, endSeq uint32, retrans bool) {
	at := x.deliveredAt
	if at < 0 {
		return
	}
	x.deliveredAt = -1
	if rs.hasDelivered && (sentAt < s.firstTxAt || sentAt == s.firstTxAt && !seqBefore(rs.endSeq, endSeq)) {
		return
	}
	rs.hasDelivered, rs.endSeq = true, endSeq
	rs.prior, rs.priorCE, rs.priorAt = x.delivered, x.deliveredCE, at
	rs.priorLost, rs.txInFlight = x.lost, x.inFlight&^stampAppLimited
	rs.AppLimited, rs.Retrans = x.inFlight&stampAppLimited != 0, retrans
	s.firstTxAt = sentAt
	rs.sndInterval = sentAt - x.firstTxAt
}

// Generate completes the sample, after the counts of what was delivered and lost.
func (s *Sender) Generate(rs *RateSample, newly, lost uint32, reneged bool) {
	if s.AppLimited != 0 && seqBefore(s.AppLimited, s.Delivered) {
		s.AppLimited = 0
	}
	if newly > 0 {
		s.DeliveredAt = s.Now
	}
	rs.Newly, rs.NewlyLost = newly, lost
	if !rs.hasDelivered || reneged {
		rs.Delivered, rs.Interval = -1, -1
		return
	}
	rs.Delivered = int32(s.Delivered - rs.prior)
	rs.deliveredCE = s.DeliveredCE - rs.priorCE
	rs.lost = s.Lost - rs.priorLost
	// "the delivery rate ... is upper-bounded by the send rate and the ACK rate": the longer of the two intervals counts.
	rs.Interval = max(rs.sndInterval, s.Now-rs.priorAt)
	if rs.Interval < s.MinRTT || rs.Interval <= 0 {
		// "the interval ... SHOULD NOT be shorter than min_rtt": data was delivered by the retransmission of a segment whose
		// original had arrived.
		rs.Interval = -1
		return
	}
	if !rs.AppLimited || uint64(rs.Delivered)*uint64(s.rateInterval) >= uint64(s.rateDelivered)*uint64(rs.Interval) {
		s.rateDelivered, s.rateInterval, s.rateAppLimited = uint32(rs.Delivered), rs.Interval, rs.AppLimited
	}
}

// LimitByApp notes that the application has no more to send than what is in flight: bubbles of silence follow what is sent
// now.
func (s *Sender) LimitByApp(inFlight uint32) { s.AppLimited = max(s.Delivered+inFlight, 1) }

// DeliveryRate is the last good sample in bytes a second, and whether it is the application's rate rather than the path's.
func (s *Sender) DeliveryRate() (bytesPerSecond uint64, appLimited bool) {
	if s.rateInterval <= 0 {
		return 0, false
	}
	return uint64(s.rateDelivered) * uint64(s.MSS) * 1_000_000 / uint64(max(s.rateInterval/sim.Microsecond, 1)), s.rateAppLimited
}
