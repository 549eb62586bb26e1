package orchestrator

import (
	"context"

	"github.com/hashicorp/raft"

	labv1 "labd.dev/proto/lab/v1"
	serverv1 "labd.dev/proto/server/v1"
)

type clusterService struct {
	labv1.UnimplementedClusterServiceServer
	c *Controller
}

// clustered gives the leadership of a server that is one of several.
func (s *clusterService) clustered(ctx context.Context) (*leadership, error) {
	if s.c.conf.Cluster == nil {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_NOT_CLUSTERED,
			"this labd is a server of its own; a cluster's servers are started with: labd server")
	}
	return s.c.leader(ctx)
}

func (s *clusterService) ListMembers(ctx context.Context, _ *labv1.ListMembersRequest) (*labv1.ListMembersResponse, error) {
	if _, err := s.clustered(ctx); err != nil {
		return nil, err
	}
	return &labv1.ListMembersResponse{ClusterId: s.c.ClusterID(), Members: s.c.look(ctx)}, nil
}

func (s *clusterService) AddMember(ctx context.Context, req *labv1.AddMemberRequest) (*labv1.AddMemberResponse, error) {
	l, err := s.clustered(ctx)
	if err != nil {
		return nil, err
	}
	if req.GetAddress() == "" {
		return nil, invalid("address", "say where the server is")
	}
	a, err := s.c.hello(ctx, req.GetAddress())
	if err != nil {
		return nil, unreachable(req.GetAddress(), err)
	}
	mine := s.c.ClusterID()
	switch theirs := a.GetClusterId(); {
	case theirs != "" && theirs != mine:
		return nil, otherCluster(mine, theirs)
	case theirs == "":
		p, err := s.c.peer(req.GetAddress())
		if err != nil {
			return nil, err
		}
		_, err = p.Adopt(ctx, &serverv1.AdoptRequest{Founder: &serverv1.Peer{ServerId: mine}, ClusterId: mine, Founded: true,
			Servers: []*serverv1.Peer{a.GetSelf()}})
		if err != nil {
			return nil, err
		}
	}
	if err := l.takeIn(ctx, a.GetSelf()); err != nil {
		return nil, err
	}
	m := &labv1.Member{ServerId: a.GetSelf().GetServerId(), Address: a.GetSelf().GetAddress(), Role: labv1.MemberRole_MEMBER_ROLE_NONVOTER}
	s.c.lookAt(ctx, m)
	return &labv1.AddMemberResponse{Member: m}, nil
}

func (s *clusterService) RemoveMember(ctx context.Context, req *labv1.RemoveMemberRequest) (*labv1.RemoveMemberResponse, error) {
	l, err := s.clustered(ctx)
	if err != nil {
		return nil, err
	}
	removed, err := l.remove(req.GetServer(), req.GetForce())
	if err != nil {
		return nil, err
	}
	return &labv1.RemoveMemberResponse{Member: s.member(removed)}, nil
}

func (s *clusterService) TransferLeadership(ctx context.Context, req *labv1.TransferLeadershipRequest) (*labv1.TransferLeadershipResponse, error) {
	l, err := s.clustered(ctx)
	if err != nil {
		return nil, err
	}
	to, err := l.transfer(ctx, req.GetServer())
	if err != nil {
		return nil, err
	}
	return &labv1.TransferLeadershipResponse{Leader: s.member(to)}, nil
}

func (s *clusterService) member(server raft.Server) *labv1.Member {
	leader, _ := s.c.Leader()
	return &labv1.Member{ServerId: string(server.ID), Address: string(server.Address), Role: roleOf(server, leader)}
}

func (s *clusterService) GetHealth(ctx context.Context, _ *labv1.GetHealthRequest) (*labv1.GetHealthResponse, error) {
	c := s.c
	if c.conf.Cluster == nil {
		_, err := c.leader(ctx)
		h := &labv1.GetHealthResponse{ServerId: c.ServerID(), Writable: err == nil, Voters: 1, ReachableVoters: 1}
		if err != nil {
			h.Reason = err.Error()
		}
		return h, nil
	}
	h := &labv1.GetHealthResponse{ClusterId: c.ClusterID(), ServerId: c.ServerID()}
	if !c.formed() {
		h.Reason = c.notFormed()
		return h, nil
	}
	h.Members = c.look(ctx)
	for _, m := range h.GetMembers() {
		if m.GetRole() == labv1.MemberRole_MEMBER_ROLE_NONVOTER {
			continue
		}
		h.Voters++
		if m.GetReachable() {
			h.ReachableVoters++
		}
		if m.GetRole() == labv1.MemberRole_MEMBER_ROLE_LEADER {
			h.Leader = m.GetAddress()
			h.Writable = m.GetReachable()
		}
	}
	if majority := h.GetVoters()/2 + 1; h.GetReachableVoters() > majority {
		h.Tolerates = h.GetReachableVoters() - majority
	}
	if !h.GetWritable() {
		h.Reason = whyNotWritable(h.GetMembers())
	}
	return h, nil
}
