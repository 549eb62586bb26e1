package shards

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// GetLab puts together how the shards stand.
func (c Client) GetLab(ctx context.Context, in *workerv1.GetLabRequest, opts ...grpc.CallOption) (*workerv1.GetLabResponse, error) {
	ask := func(_ int, w workerv1.WorkerServiceClient) (*workerv1.GetLabResponse, error) {
		return w.GetLab(ctx, in, opts...)
	}
	answers, err := all(c, ask)
	if err != nil {
		return nil, err
	}
	if err := catchUp(answers, func(i int) (*workerv1.GetLabResponse, error) { return ask(i, c[i]) }); err != nil {
		return nil, err
	}
	out := &workerv1.GetLabResponse{
		Progress:  progress(answers),
		Links:     links(answers),
		Transfers: transfers(answers),
		Execs:     joined(answers, (*workerv1.GetLabResponse).GetExecs, (*labv1.ExecStatus).GetId, exec),
		Faults:    joined(answers, (*workerv1.GetLabResponse).GetFaults, (*labv1.FaultStatus).GetId, fault),
		Broken:    broken(answers),
		RanNs:     ran(answers),
	}
	for _, a := range answers {
		out.Nodes = append(out.Nodes, a.GetNodes()...)
	}
	slices.SortFunc(out.Nodes, func(a, b *labv1.NodeStatus) int { return cmp.Compare(a.GetId(), b.GetId()) })
	return out, nil
}

// ListConns lists the ends of connections in all shards, in the order of their nodes.
func (c Client) ListConns(ctx context.Context, in *workerv1.ListConnsRequest, opts ...grpc.CallOption) (*workerv1.ListConnsResponse, error) {
	answers, err := all(c, func(_ int, w workerv1.WorkerServiceClient) (*workerv1.ListConnsResponse, error) {
		return w.ListConns(ctx, in, opts...)
	})
	if err != nil {
		return nil, err
	}
	out := &workerv1.ListConnsResponse{}
	for {
		// The shard whose next node comes first; a node is in one shard, and each shard's are in order.
		first := slices.MinFunc(answers, func(a, b *workerv1.ListConnsResponse) int { return cmp.Compare(nextNode(a), nextNode(b)) })
		if nextNode(first) == math.MaxUint64 {
			break
		}
		out.Conns, out.Nodes = append(out.Conns, first.Conns[0]), append(out.Nodes, first.Nodes[0])
		first.Conns, first.Nodes = first.Conns[1:], first.Nodes[1:]
	}
	return out, nil
}

// nextNode is the number of the node of the first connection of a list; beyond all of them after the last.
func nextNode(r *workerv1.ListConnsResponse) uint64 {
	if len(r.GetConns()) == 0 || len(r.GetNodes()) == 0 {
		return math.MaxUint64
	}
	return uint64(r.GetNodes()[0])
}

// standing is what GetLab and WatchLab both tell.
type standing interface {
	GetProgress() *labv1.LabProgress
	GetTransfers() []*labv1.TransferStatus
	GetBroken() string
	GetRanNs() int64
}

// ran is the lab time that all shards have come to.
func ran[T standing](answers []T) int64 {
	least := answers[0].GetRanNs()
	for _, a := range answers {
		least = min(least, a.GetRanNs())
	}
	return least
}

// catchUp asks shards again whose answers are of an earlier lab time than others': what both ends of a connection tell fits
// together then. A lab that runs goes on meanwhile, so that it is asked once.
func catchUp(answers []*workerv1.GetLabResponse, again func(i int) (*workerv1.GetLabResponse, error)) error {
	latest := answers[0].GetRanNs()
	for _, a := range answers {
		latest = max(latest, a.GetRanNs())
	}
	for i, a := range answers {
		if a.GetRanNs() == latest {
			continue
		}
		var err error
		if answers[i], err = again(i); err != nil {
			return err
		}
	}
	return nil
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

// unclaimed is what the initiator of a transfer takes for its end where the one that it was sent to is in another shard:
// app.Unclaimed, to which a test holds it.
const unclaimed = "no transfer server has received it"

// half is what one shard tells of a transfer, at a lab time.
type half struct {
	*labv1.TransferStatus
	ran int64
}

// transfers puts together the halves of transfers, in the order of the first shard's.
func transfers[T standing](answers []T) []*labv1.TransferStatus {
	var order []string
	halves := map[string][]half{}
	for _, a := range answers {
		for _, t := range a.GetTransfers() {
			if halves[t.GetId()] == nil {
				order = append(order, t.GetId())
			}
			halves[t.GetId()] = append(halves[t.GetId()], half{t, a.GetRanNs()})
		}
	}
	out := make([]*labv1.TransferStatus, len(order))
	for i, id := range order {
		out[i] = transfer(halves[id])
	}
	return out
}

// transfer puts together what the shards tell of a transfer. Each end tells what it alone knows; the initiator's half is the
// one that says where it comes from, and its word on a failure has precedence. Where another half is of an earlier lab time
// than the initiator's, what the initiator concludes from silence is not final, nor is the end.
func transfer(halves []half) *labv1.TransferStatus {
	first := slices.IndexFunc(halves, func(h half) bool { return h.GetFrom() != "" })
	first = max(first, 0)
	t := proto.Clone(halves[first].TransferStatus).(*labv1.TransferStatus)
	final := true
	for i, h := range halves {
		if i != first {
			add(t, h.TransferStatus)
			final = final && h.ran >= halves[first].ran
		}
	}
	if t.DatagramsLost = 0; t.DatagramsSent > t.DatagramsReceived {
		t.DatagramsLost = t.DatagramsSent - t.DatagramsReceived
	}
	if t.Error == unclaimed && !final {
		t.State, t.Error = labv1.TransferState_TRANSFER_STATE_RUNNING, ""
	}
	t.Ended = t.Ended && final && t.State >= labv1.TransferState_TRANSFER_STATE_DONE
	return t
}

// add adds another shard's half.
func add(t, part *labv1.TransferStatus) {
	if t.Error == unclaimed && part.GetState() == labv1.TransferState_TRANSFER_STATE_DONE {
		t.State, t.Error = part.GetState(), ""
	}
	t.State, t.Error, t.Ended = max(t.State, part.GetState()), cmp.Or(t.Error, part.GetError()), t.Ended && part.GetEnded()
	t.Conn, t.To, t.What = cmp.Or(t.Conn, part.GetConn()), cmp.Or(t.To, part.GetTo()), cmp.Or(t.What, part.GetWhat())
	t.Bytes, t.BytesExpected = max(t.Bytes, part.GetBytes()), max(t.BytesExpected, part.GetBytesExpected())
	t.Sha256, t.Match = cmp.Or(t.Sha256, part.GetSha256()), t.Match || part.GetMatch()
	t.DurationNs, t.GoodputBps = max(t.DurationNs, part.GetDurationNs()), max(t.GoodputBps, part.GetGoodputBps())
	t.Retransmits, t.SrttUs = max(t.Retransmits, part.GetRetransmits()), max(t.SrttUs, part.GetSrttUs())
	t.DatagramsSent = max(t.DatagramsSent, part.GetDatagramsSent())
	t.DatagramsReceived = max(t.DatagramsReceived, part.GetDatagramsReceived())
	t.DatagramsReordered = max(t.DatagramsReordered, part.GetDatagramsReordered())
	t.DatagramsDuplicated = max(t.DatagramsDuplicated, part.GetDatagramsDuplicated())
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
