package orchestrator

import (
	"context"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// A caller may ask for what a server knows, however old: then every server answers for itself, also one that reaches no
// majority. What only workers know is not among it.

const (
	// staleHeader asks for a stale read; its value is "true".
	staleHeader = "labd-stale"
	// ageHeader and appliedHeader tell, with a stale answer, for how many milliseconds the server has not heard from a leader
	// (-1: never), and the log entry up to which it knows.
	ageHeader     = "labd-stale-ms"
	appliedHeader = "labd-applied-index"
)

func wantsStale(ctx context.Context) bool { return headerOf(ctx, staleHeader) == "true" }

func staleRefused(method string) error {
	return refuse(labv1.ErrorReason_ERROR_REASON_STALE_REFUSED, "%s cannot be answered without the leader; ask without --stale", method)
}

// StaleUnary answers stale reads. It is the innermost interceptor: whoever asks for them has been let in.
func (c *Controller) StaleUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	if c.forwards(info.FullMethod) && wantsStale(ctx) {
		return c.answerStale(ctx, info.FullMethod, req)
	}
	return handle(ctx, req)
}

// answerStale answers from this server's own state.
func (c *Controller) answerStale(ctx context.Context, method string, req any) (any, error) {
	resp, err := c.stale(ctx, method, req)
	if err != nil {
		return nil, err
	}
	return resp, c.tellAge(ctx)
}

func (c *Controller) stale(ctx context.Context, method string, req any) (any, error) {
	v, caller := c.store.view(), auth.CallerOf(ctx)
	granted := func(m proto.Message) (*grant, error) {
		ctx, err := c.grant(ctx, v, caller, auth.AccessOf(method), m.ProtoReflect())
		if err != nil {
			return nil, err
		}
		return grantOf(ctx)
	}
	switch r := req.(type) {
	case *labv1.ListLabsRequest:
		return staleLabs(v, caller), nil
	case *labv1.GetLabRequest:
		g, err := granted(r)
		if err != nil {
			return nil, err
		}
		return &labv1.GetLabResponse{Lab: staleLab(g)}, nil
	case *labv1.ListInputsRequest:
		g, err := granted(r)
		if err != nil {
			return nil, err
		}
		return listInputs(v, g, r), nil
	case *labv1.ListRunsRequest:
		return staleRuns(v, caller), nil
	case *labv1.GetRunRequest:
		g, err := granted(r)
		if err != nil {
			return nil, err
		}
		return &labv1.GetRunResponse{Run: staleRun(caller, g.run)}, nil
	case *labv1.ListMembersRequest:
		return &labv1.ListMembersResponse{ClusterId: c.ClusterID(), Members: c.look(ctx)}, nil
	}
	return nil, staleRefused(method)
}

// tellAge says with an answer how old it may be.
func (c *Controller) tellAge(ctx context.Context) error {
	age := int64(-1)
	if heard := c.node.raft.LastContact(); !heard.IsZero() {
		age = time.Since(heard).Milliseconds()
	}
	if id, _ := c.Leader(); id == c.ServerID() {
		age = 0
	}
	return grpc.SetHeader(ctx, metadata.Pairs(ageHeader, strconv.FormatInt(age, 10),
		appliedHeader, strconv.FormatUint(c.node.raft.AppliedIndex(), 10)))
}

func staleLabs(v view, caller auth.Caller) *labv1.ListLabsResponse {
	resp := &labv1.ListLabsResponse{}
	for _, lab := range v.labsFor(caller) {
		resp.Labs = append(resp.Labs, staleLab(&grant{caller: caller, lab: lab.LabState, place: lab.place}))
	}
	return resp
}

// staleLab is a lab without what only its worker knows.
func staleLab(g *grant) *labv1.Lab {
	s := g.lab
	return &labv1.Lab{Name: g.called(s), Owner: s.GetOwner(), Id: s.GetId(), Spec: g.spec(), Epoch: s.GetEpoch(), Worker: strings.Join(s.GetWorkers(), ","),
		CreatedAt: timestamppb.New(unixTime(s.GetCreatedUnixNs()))}
}

func staleRuns(v view, caller auth.Caller) *labv1.ListRunsResponse {
	resp := &labv1.ListRunsResponse{}
	for _, run := range v.runsFor(caller) {
		resp.Runs = append(resp.Runs, staleRun(caller, run))
	}
	return resp
}

// staleRun is a run without what only its worker knows.
func staleRun(caller auth.Caller, s *controlv1.RunState) *labv1.Run {
	run := &labv1.Run{Id: calledBy(caller, s.GetOwner(), runCall(s)), Owner: s.GetOwner(), Name: s.GetName(), CreatedAt: timestamppb.New(unixTime(s.GetCreatedUnixNs())),
		EndNs: s.GetEndNs(), Worker: strings.Join(s.GetWorkers(), ",")}
	if s.GetEndedUnixNs() != 0 {
		ended(run, s)
	}
	return withResult(run, s.GetResult())
}
