package orchestrator

import (
	"context"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
	serverv1 "labd.dev/proto/server/v1"
)

// peerService answers the other servers.
type peerService struct {
	serverv1.UnimplementedPeerServiceServer
	c *Controller
}

// RegisterPeers puts what servers ask of each other onto a gRPC server that lets only daemons call it.
func (c *Controller) RegisterPeers(s grpc.ServiceRegistrar) {
	serverv1.RegisterPeerServiceServer(s, &peerService{c: c})
	serverv1.RegisterFileServiceServer(s, &serverFiles{c: c})
}

// peer is the way to another server.
func (c *Controller) peer(address string) (serverv1.PeerServiceClient, error) {
	conn, err := c.conf.Cluster.Connect(address)
	if err != nil {
		return nil, err
	}
	return serverv1.NewPeerServiceClient(conn), nil
}

func (c *Controller) self() *serverv1.Peer {
	return &serverv1.Peer{ServerId: c.ServerID(), Address: c.conf.Cluster.Advertise}
}

// hello asks a server who it is. Its answer is there within the time that a probe has.
func (c *Controller) hello(ctx context.Context, address string) (*serverv1.HelloResponse, error) {
	p, err := c.peer(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.conf.Cluster.Timing.Probe)
	defer cancel()
	req := &serverv1.HelloRequest{From: c.self(), ClusterId: c.ClusterID()}
	if !c.formed() {
		req.Known = c.formation.peers()
	}
	return p.Hello(ctx, req)
}

func (s *peerService) Hello(_ context.Context, req *serverv1.HelloRequest) (*serverv1.HelloResponse, error) {
	c := s.c
	servers := c.servers()
	resp := &serverv1.HelloResponse{Self: c.self(), ClusterId: c.ClusterID(), Formed: len(servers) > 0,
		Expect: uint32(c.conf.Cluster.Expect), Term: c.node.raft.CurrentTerm(), LastIndex: c.node.raft.LastIndex(),
		AppliedIndex: c.node.raft.AppliedIndex(), Version: c.conf.Version}
	for _, server := range servers {
		resp.Member = resp.Member || string(server.ID) == req.GetFrom().GetServerId()
	}
	if id, address := c.Leader(); id != "" {
		resp.Leader = &serverv1.Peer{ServerId: id, Address: address}
	}
	if !resp.GetFormed() {
		c.formation.note(append(req.GetKnown(), req.GetFrom()))
		resp.Known, resp.Silent = c.formation.peers(), c.formation.silent()
	}
	return resp, nil
}

// Adopt makes this server one of those that found a cluster, or of one that is there.
func (s *peerService) Adopt(_ context.Context, req *serverv1.AdoptRequest) (*serverv1.AdoptResponse, error) {
	if s.c.formed() && s.c.ClusterID() != req.GetClusterId() {
		return nil, otherCluster(s.c.ClusterID(), req.GetClusterId())
	}
	meant := false
	for _, p := range req.GetServers() {
		meant = meant || p.GetServerId() == s.c.ServerID()
	}
	if !meant || req.GetClusterId() == "" || req.GetClusterId() != req.GetFounder().GetServerId() {
		return nil, invalid("servers", "this server, %s, is not among those that found cluster %q", s.c.ServerID(), req.GetClusterId())
	}
	if req.GetFounded() {
		return &serverv1.AdoptResponse{}, s.c.identity.adopt(req.GetClusterId(), StageJoining)
	}
	if err := s.c.formation.object(req.GetClusterId()); err != nil && s.c.ClusterID() != req.GetClusterId() {
		return nil, err
	}
	return &serverv1.AdoptResponse{}, s.c.formation.yield(req.GetClusterId())
}

// Join takes the caller in. A server that does not lead asks the one that does.
func (s *peerService) Join(ctx context.Context, req *serverv1.JoinRequest) (*serverv1.JoinResponse, error) {
	if mine := s.c.ClusterID(); req.GetClusterId() != mine {
		return nil, otherCluster(mine, req.GetClusterId())
	}
	l := s.c.leading()
	if l == nil {
		return s.handOn(ctx, req)
	}
	return &serverv1.JoinResponse{}, l.takeIn(ctx, req.GetServer())
}

// handOn asks the leader, once.
func (s *peerService) handOn(ctx context.Context, req *serverv1.JoinRequest) (*serverv1.JoinResponse, error) {
	id, address := s.c.Leader()
	if id == "" || id == s.c.ServerID() || forwardedBy(ctx) != "" {
		return nil, notLeading()
	}
	p, err := s.c.peer(address)
	if err != nil {
		return nil, err
	}
	resp, err := p.Join(s.c.markForwarded(ctx), req)
	if status.Code(err) == codes.Unavailable && reasonIn(err) == "" {
		return nil, unreachable(address, err)
	}
	return resp, err
}

// unreachable says that a server does not answer.
func unreachable(address string, err error) *Refusal {
	return refuse(labv1.ErrorReason_ERROR_REASON_MEMBER_UNREACHABLE, "the server at %s does not answer: %s", address, messageOf(err))
}

// number is a count in words of a message.
func number(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}
