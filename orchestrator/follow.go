package orchestrator

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// WatchRecords hands the worker's stream on. It takes a message from the worker only when the caller has taken the one
// before, so that nothing is heaped up here.
func (s *traceService) WatchRecords(req *labv1.WatchRecordsRequest, out grpc.ServerStreamingServer[labv1.WatchRecordsResponse]) error {
	g, worker, err := s.c.labWorker(out.Context())
	if err != nil {
		return err
	}
	lab, cut := g.lab, s.c.recordsFor(g)
	told := &toldJournal{labID: lab.GetId(), after: req.GetAfter()}
	if told.otherwise(s.c.store.view()) {
		return wentOnOtherwise(lab.GetSpec().GetName(), req.GetAfter())
	}
	stream, err := worker.FollowTrace(out.Context(), &workerv1.FollowTraceRequest{
		LabId: lab.GetId(), Conn: req.GetConn(), After: req.GetAfter()})
	if err != nil {
		return err
	}
	err = relay(stream, func(m *workerv1.FollowTraceResponse) error {
		// The epoch and the inputs are of one state: a message that was held up on its way may come when the lab has been rebuilt to a
		// time before it, and has been given an input there since, which that worker did not know.
		v := s.c.store.view()
		if v.movedFrom(lab) {
			return labMoves()
		}
		// Before the lab is past the place where the watch was resumed it may still be given an input there: until then the place is
		// where it was, with the inputs that it had.
		position := req.GetAfter()
		if position == nil || m.GetNowNs() > position.GetTNs() {
			if told.otherwise(v) {
				return wentOnOtherwise(lab.GetSpec().GetName(), req.GetAfter())
			}
			position = told.count(v, m.GetPosition())
		}
		records, nodes, directions, err := cut.Cut(m.GetRecords(), m.GetNodeNames(), m.GetDirectionNames())
		if err != nil {
			return err
		}
		return out.Send(&labv1.WatchRecordsResponse{
			Records: records, NodeNames: nodes, DirectionNames: directions, Position: position, NowNs: m.GetNowNs(),
		})
	})
	err = s.c.movedMeanwhile(lab, err)
	switch {
	case isRefusal(err):
		return err
	case status.Code(err) == codes.OutOfRange:
		return refuse(labv1.ErrorReason_ERROR_REASON_TOO_OLD, "%s", workerText(err))
	case status.Code(err) == codes.NotFound:
		return refuse(labv1.ErrorReason_ERROR_REASON_CONN_NOT_FOUND, "%s", workerText(err))
	}
	return err
}

// toldJournal is how much of a lab's journal lies before what a watch has told.
type toldJournal struct {
	labID  string
	after  *labv1.RecordPosition // where the watch was resumed; nil: it began with the oldest record
	inputs uint64
}

// otherwise tells whether the lab has been given an input before the place where the watch was resumed that it had not been
// given when it told of that place: it was rebuilt to a time before, and has gone on in another way since.
func (j *toldJournal) otherwise(v view) bool {
	if j.after == nil || j.after.Inputs == nil {
		return false
	}
	next := v.inputs(j.labID, j.after.GetInputs(), 1)
	return len(next) > 0 && next[0].GetTNs() <= j.after.GetTNs()
}

// countAtOnce is how many entries are looked at in one go.
const countAtOnce = 64

// count puts into a position how many inputs lie before it. Each was committed before it took effect; positions only grow.
func (j *toldJournal) count(v view, p *labv1.RecordPosition) *labv1.RecordPosition {
	if p == nil {
		return nil
	}
	for more := true; more; {
		entries := v.inputs(j.labID, j.inputs, countAtOnce)
		for _, e := range entries {
			if more = e.GetTNs() <= p.GetTNs(); !more {
				break
			}
			j.inputs = e.GetIndex()
		}
		more = more && len(entries) == countAtOnce
	}
	p.Inputs = proto.Uint64(j.inputs)
	return p
}

func wentOnOtherwise(lab string, at *labv1.RecordPosition) error {
	return refuse(labv1.ErrorReason_ERROR_REASON_TOO_OLD, "lab %q was rebuilt to a time before %d ns and has been given an input since: "+
		"it has gone on otherwise than this watch was told; begin anew", lab, at.GetTNs())
}
