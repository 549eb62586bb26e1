package shards

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// GetLab puts together how the shards stand.
func (c Client) GetLab(ctx context.Context, in *workerv1.GetLabRequest, opts ...grpc.CallOption) (*workerv1.GetLabResponse, error) {
	answers, err := all(c, func(_ int, w workerv1.WorkerServiceClient) (*workerv1.GetLabResponse, error) {
		return w.GetLab(ctx, in, opts...)
	})
	if err != nil {
		return nil, err
	}
	out := &workerv1.GetLabResponse{
		Progress:  progress(answers),
		Links:     links(answers),
		Transfers: settled(joined(answers, (*workerv1.GetLabResponse).GetTransfers, (*labv1.TransferStatus).GetId, transfer)),
		Execs:     joined(answers, (*workerv1.GetLabResponse).GetExecs, (*labv1.ExecStatus).GetId, exec),
		Faults:    joined(answers, (*workerv1.GetLabResponse).GetFaults, (*labv1.FaultStatus).GetId, fault),
		Broken:    broken(answers),
	}
	for _, a := range answers {
		out.Nodes = append(out.Nodes, a.GetNodes()...)
	}
	slices.SortFunc(out.Nodes, func(a, b *labv1.NodeStatus) int { return cmp.Compare(a.GetId(), b.GetId()) })
	return out, nil
}

// ListConns lists the ends of connections in all shards, by the names of their nodes.
func (c Client) ListConns(ctx context.Context, in *workerv1.ListConnsRequest, opts ...grpc.CallOption) (*workerv1.ListConnsResponse, error) {
	answers, err := all(c, func(_ int, w workerv1.WorkerServiceClient) (*workerv1.ListConnsResponse, error) {
		return w.ListConns(ctx, in, opts...)
	})
	if err != nil {
		return nil, err
	}
	out := &workerv1.ListConnsResponse{}
	for _, a := range answers {
		out.Conns = append(out.Conns, a.GetConns()...)
	}
	slices.SortStableFunc(out.Conns, func(a, b *labv1.ConnStatus) int { return strings.Compare(a.GetNode(), b.GetNode()) })
	return out, nil
}

// standing is what GetLab and WatchLab both tell.
type standing interface {
	GetProgress() *labv1.LabProgress
	GetBroken() string
}

// progress is the head's, with the work of all. The lab has ended once it has in all shards.
func progress[T standing](answers []T) *labv1.LabProgress {
	p := proto.Clone(answers[0].GetProgress()).(*labv1.LabProgress)
	for _, a := range answers[1:] {
		q := a.GetProgress()
		p.Events += q.GetEvents()
		p.Records += q.GetRecords()
		p.Ended = p.Ended && q.GetEnded()
		p.Partial = p.Partial || q.GetPartial()
		if p.Error == "" {
			p.Error = q.GetError()
		}
	}
	return p
}

func broken[T standing](answers []T) string {
	for _, a := range answers {
		if why := a.GetBroken(); why != "" {
			return why
		}
	}
	return ""
}

// joined puts together the parts of things that several shards tell of, in the order of the first shard that does; join
// takes the second part into the first, which is a copy.
func joined[A any, T proto.Message](answers []A, list func(A) []T, name func(T) string, join func(into, part T)) []T {
	var out []T
	at := map[string]int{}
	for _, a := range answers {
		for _, part := range list(a) {
			if i, ok := at[name(part)]; ok {
				join(out[i], part)
				continue
			}
			at[name(part)] = len(out)
			out = append(out, proto.Clone(part).(T))
		}
	}
	return out
}

// unclaimed is what the initiator of a transfer takes for its end where the one that it was sent to is in another shard.
const unclaimed = "no transfer server has received it"

// transfer puts together the halves of a transfer's two ends. Each end tells what it alone knows; the initiator's half is
// the one that says where it comes from, and its word on a failure has precedence.
func transfer(t, part *labv1.TransferStatus) {
	first, second := t, part
	if t.GetFrom() == "" && part.GetFrom() != "" {
		first, second = part, t
	}
	state, failed := max(first.GetState(), second.GetState()), first.GetError()
	if failed == unclaimed && second.GetState() == labv1.TransferState_TRANSFER_STATE_DONE {
		state, failed = second.GetState(), ""
	}
	failed = cmp.Or(failed, second.GetError())
	ended := first.GetEnded() && second.GetEnded()
	t.Conn, t.From = cmp.Or(first.GetConn(), second.GetConn()), cmp.Or(first.GetFrom(), second.GetFrom())
	t.To, t.What = cmp.Or(first.GetTo(), second.GetTo()), cmp.Or(first.GetWhat(), second.GetWhat())
	t.StartNs, t.State, t.Error, t.Ended = first.GetStartNs(), state, failed, ended
	t.Bytes, t.BytesExpected = max(t.GetBytes(), part.GetBytes()), max(t.GetBytesExpected(), part.GetBytesExpected())
	t.Sha256, t.Match = cmp.Or(t.GetSha256(), part.GetSha256()), t.GetMatch() || part.GetMatch()
	t.DurationNs, t.GoodputBps = max(t.GetDurationNs(), part.GetDurationNs()), max(t.GetGoodputBps(), part.GetGoodputBps())
	t.Retransmits, t.SrttUs = max(t.GetRetransmits(), part.GetRetransmits()), max(t.GetSrttUs(), part.GetSrttUs())
	t.DatagramsSent = max(t.GetDatagramsSent(), part.GetDatagramsSent())
	t.DatagramsReceived = max(t.GetDatagramsReceived(), part.GetDatagramsReceived())
	t.DatagramsReordered = max(t.GetDatagramsReordered(), part.GetDatagramsReordered())
	t.DatagramsDuplicated = max(t.GetDatagramsDuplicated(), part.GetDatagramsDuplicated())
	t.DatagramsLost = 0
	if t.DatagramsSent > t.DatagramsReceived {
		t.DatagramsLost = t.DatagramsSent - t.DatagramsReceived
	}
}

// settled makes a transfer's end what it is when no shard has anything of it to do any more: it has come to a result.
func settled(list []*labv1.TransferStatus) []*labv1.TransferStatus {
	for _, t := range list {
		t.Ended = t.Ended && t.State >= labv1.TransferState_TRANSFER_STATE_DONE
	}
	return list
}

// exec takes the output of the shard that the command runs in; the others have none.
func exec(e, part *labv1.ExecStatus) {
	if len(part.GetLines()) > 0 || part.GetDone() {
		e.Lines, e.Done, e.ExitCode = part.GetLines(), part.GetDone(), part.GetExitCode()
	}
}

// fault is over once its node's shard says so.
func fault(f, part *labv1.FaultStatus) {
	if end := part.GetEndNs(); end != 0 && (f.GetEndNs() == 0 || end < f.GetEndNs()) {
		f.EndNs = end
	}
	f.Active = f.GetActive() && part.GetActive()
}

// links puts together the halves of the links that are cut, in name order.
func links(answers []*workerv1.GetLabResponse) []*labv1.LinkStatus {
	out := joined(answers, (*workerv1.GetLabResponse).GetLinks, (*labv1.LinkStatus).GetName, func(l, part *labv1.LinkStatus) {
		l.Forward, l.Reverse = direction(l.GetForward(), part.GetForward()), direction(l.GetReverse(), part.GetReverse())
	})
	slices.SortFunc(out, func(a, b *labv1.LinkStatus) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}

// direction is the sender's half with what the receiver was handed.
func direction(d, part *labv1.DirectionStatus) *labv1.DirectionStatus {
	sender, receiver := d, part
	if d.GetSpec() == nil {
		sender, receiver = part, d
	}
	s := proto.Clone(sender).(*labv1.DirectionStatus)
	s.DeliveredPackets += receiver.GetDeliveredPackets()
	s.DeliveredBytes += receiver.GetDeliveredBytes()
	return s
}
