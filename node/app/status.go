package app

import (
	"strings"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// Between two reports of a transfer that is going on. More often would cost more than the transfer itself.
const (
	reportBytes = 256 << 10
	reportEvery = 100 * sim.Millisecond
)

// progress says when a report of a running transfer is due.
type progress struct {
	at    sim.Time
	bytes uint64
}

func (p *progress) due(now sim.Time, bytes uint64) bool {
	if bytes-p.bytes < reportBytes && now-p.at < reportEvery {
		return false
	}
	p.at, p.bytes = now, bytes
	return true
}

// settle moves a transfer's state on. It never goes back, and a failure is final, so that it does not matter which end
// reports first.
func settle(s *labv1.TransferStatus, state labv1.TransferState) { s.State = max(s.State, state) }

// fail is a failure as the initiator sees it; its word has precedence over the responder's.
func fail(s *labv1.TransferStatus, why string) {
	settle(s, labv1.TransferState_TRANSFER_STATE_FAILED)
	s.Error = why
}

// failResponder is a failure as the responder sees it.
func failResponder(s *labv1.TransferStatus, why string) {
	settle(s, labv1.TransferState_TRANSFER_STATE_FAILED)
	if s.Error == "" {
		s.Error = why
	}
}

// arrived notes how far the receiver of the content is. The start has been noted by the initiator, whose frames led here.
func arrived(s *labv1.TransferStatus, now sim.Time, bytes uint64) {
	s.Bytes = bytes
	s.DurationNs = int64(now) - s.StartNs
	if s.DurationNs > 0 {
		s.GoodputBps = 8 * float64(bytes) / float64(s.DurationNs) * 1e9
	}
}

// sent notes what the sender of the content knows of its connection.
func sent(s *labv1.TransferStatus, i tcpstack.Info) {
	s.Retransmits, s.SrttUs = uint64(i.TotalRetrans), int64(i.RTTUs)
}

// reason is an error in the words of a status line, without the package's name before it.
func reason(err error) string {
	text := err.Error()
	for _, prefix := range []string{"tcp: ", "tcpstack: ", "app: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}
