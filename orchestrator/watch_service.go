package orchestrator

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// How often a watch looks: often enough for a person, seldom enough that a hundred watchers cost nothing.
const (
	defaultWatchEvery = 500 * time.Millisecond
	leastWatchEvery   = 50 * time.Millisecond
)

type watchService struct {
	labv1.UnimplementedWatchServiceServer
	c *Controller
}

// watchEvery is how often a watch looks that asks for an interval; 0: it does not.
func watchEvery(intervalMs int64) time.Duration {
	if intervalMs <= 0 {
		return defaultWatchEvery
	}
	return max(time.Duration(min(intervalMs, 3_600_000))*time.Millisecond, leastWatchEvery)
}

// watch sends what look tells, at once and whenever it has changed. It looks only when the last message has been taken:
// who reads slowly misses what was in between.
func watch[M proto.Message](ctx context.Context, intervalMs int64, look func() (M, error), send func(M) error) error {
	tick := time.NewTicker(watchEvery(intervalMs))
	defer tick.Stop()
	for told, last := false, *new(M); ; {
		m, err := look()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !told || !proto.Equal(m, last) {
			if err := send(m); err != nil {
				return err
			}
			told, last = true, m
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *watchService) WatchStatus(req *labv1.WatchStatusRequest, out grpc.ServerStreamingServer[labv1.WatchStatusResponse]) error {
	ctx := out.Context()
	g, _, err := s.c.runningLab(ctx)
	if err != nil {
		return err
	}
	if spec := g.spec(); req.GetNode() != "" && !hasNode(spec, req.GetNode()) {
		return noNode(spec, req.GetNode())
	}
	if _, known := labv1.StatusKind_name[int32(req.GetKind())]; !known || req.GetKind() == labv1.StatusKind_STATUS_KIND_UNSPECIFIED {
		return invalid("kind", "say what is to be watched")
	}
	ended := false
	return watch(ctx, req.GetIntervalMs(), func() (*labv1.WatchStatusResponse, error) {
		if ended {
			return nil, io.EOF
		}
		m, over, err := s.status(ctx, g, req)
		ended = over
		err = s.c.movedMeanwhile(g.lab, err)
		if status.Code(err) == codes.NotFound {
			return nil, g.isGone()
		}
		return m, err
	}, out.Send)
}

// status is how the things of a kind stand, and whether that is final.
func (s *watchService) status(ctx context.Context, g *grant, req *labv1.WatchStatusRequest) (*labv1.WatchStatusResponse, bool, error) {
	l, err := s.c.leader(ctx)
	if err != nil {
		return nil, false, err
	}
	if g, err = g.again(s.c.store.view()); err != nil {
		return nil, false, err
	}
	worker, err := l.hosts(g.lab.GetId())
	if err != nil {
		return nil, false, err
	}
	st, err := s.c.statusOf(ctx, l, g)
	if err != nil {
		return nil, false, err
	}
	m := &labv1.WatchStatusResponse{NowNs: st.GetProgress().GetNowNs()}
	switch req.GetKind() {
	case labv1.StatusKind_STATUS_KIND_NODES:
		m.Nodes = st.GetNodes()
	case labv1.StatusKind_STATUS_KIND_LINKS:
		m.Links = st.GetLinks()
	case labv1.StatusKind_STATUS_KIND_TRANSFERS:
		m.Transfers = st.GetTransfers()
	case labv1.StatusKind_STATUS_KIND_FAULTS:
		m.Faults = st.GetFaults()
	case labv1.StatusKind_STATUS_KIND_CONNS:
		conns, err := worker.ListConns(ctx, &workerv1.ListConnsRequest{LabId: g.lab.GetId(), Node: req.GetNode(), Listening: req.GetListening()})
		// The lab is there, as it has just told its status. The node may not be: an apply that adds it has been accepted and
		// has yet to take effect, or one has removed it, and another may bring it back.
		if err != nil && !(req.GetNode() != "" && status.Code(err) == codes.NotFound) {
			return nil, false, err
		}
		m.Conns = g.place.Conns(conns.GetConns())
	}
	return m, st.GetProgress().GetEnded(), nil
}
