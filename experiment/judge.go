package experiment

import (
	"fmt"

	"labd.dev/experiment/checks"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// Judge checks the events of a run, which are in the order of time.
func (x *Experiment) Judge(events []trace.Event) []trace.CheckSummary {
	results, err := checks.All(x.Checks, events)
	if err != nil {
		panic(err) // Parse has found nothing wrong with them
	}
	return results
}

// Summary puts together how a run went.
func (x *Experiment) Summary(run *labv1.Run, spec *labv1.LabSpec, dir string, events []trace.Event) *trace.Summary {
	s := &trace.Summary{
		RunDir: dir, Clock: "virtual", Seed: spec.GetSeed(), EndNs: run.GetProgress().GetNowNs(),
		Partial: run.GetProgress().GetPartial(), Error: run.GetProgress().GetError(), Checks: x.Judge(events),
	}
	if spec.GetClock() == labv1.Clock_CLOCK_REAL {
		s.Clock = "real"
	}
	for _, t := range run.GetTransfers() {
		s.Transfers = append(s.Transfers, trace.TransferSummary{
			ID: t.GetId(), Conn: t.GetConn(), From: t.GetFrom(), To: t.GetTo(), Bytes: t.GetBytes(), SHA256: t.GetSha256(), Match: t.GetMatch(),
			StartNs: t.GetStartNs(), DurationNs: t.GetDurationNs(), GoodputBps: t.GetGoodputBps(), Retransmits: t.GetRetransmits(),
			SRTTUs: t.GetSrttUs(), Error: t.GetError(),
		})
	}
	s.Checks = append(s.Checks, x.judgeEnds(run.GetTransfers())...)
	s.Normalize()
	return s
}

// endOf says how a transfer ended.
func endOf(t *labv1.TransferStatus) End {
	switch {
	case t.GetState() == labv1.TransferState_TRANSFER_STATE_DONE && t.GetMatch():
		return EndMatch
	case t.GetState() == labv1.TransferState_TRANSFER_STATE_DONE:
		return EndMismatch
	}
	return EndFailure
}

// judgeEnds makes a check of each transfer's end that was expected.
func (x *Experiment) judgeEnds(transfers []*labv1.TransferStatus) []trace.CheckSummary {
	var results []trace.CheckSummary
	for _, e := range x.Expect {
		r := trace.CheckSummary{ID: "expect-" + e.ID, Points: 1, Got: "it is not there"}
		for _, t := range transfers {
			if t.GetId() == e.ID {
				r.OK = e.End == EndAny || e.End == endOf(t)
				r.Got = fmt.Sprintf("%s, wanted %s", endOf(t), e.End)
			}
		}
		results = append(results, r)
	}
	return results
}

// Passed reports whether all transfers ended as they should and all checks hold.
func (x *Experiment) Passed(run *labv1.Run, s *trace.Summary) bool {
	for _, c := range s.Checks {
		if !c.OK {
			return false
		}
	}
	for _, t := range run.GetTransfers() {
		if !x.expected(t.GetId()) && endOf(t) != EndMatch {
			return false
		}
	}
	return s.Error == "" && !s.Partial
}

func (x *Experiment) expected(id string) bool {
	for _, e := range x.Expect {
		if e.ID == id {
			return true
		}
	}
	return false
}
