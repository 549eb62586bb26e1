package orchestrator

import (
	"context"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

type nodeService struct {
	labv1.UnimplementedNodeServiceServer
	c *Controller
}

func (s *nodeService) ListNodes(ctx context.Context, _ *labv1.ListNodesRequest) (*labv1.ListNodesResponse, error) {
	_, st, err := s.c.labStatus(ctx)
	if err != nil {
		return nil, err
	}
	return &labv1.ListNodesResponse{Nodes: st.GetNodes()}, nil
}

func (s *nodeService) GetNode(ctx context.Context, req *labv1.GetNodeRequest) (*labv1.GetNodeResponse, error) {
	g, st, err := s.c.labStatus(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range st.GetNodes() {
		if n.GetName() == req.GetNode() {
			return &labv1.GetNodeResponse{Node: n}, nil
		}
	}
	return nil, noNode(g.spec(), req.GetNode())
}

func (s *nodeService) ListConns(ctx context.Context, req *labv1.ListConnsRequest) (*labv1.ListConnsResponse, error) {
	g, worker, err := s.c.labWorker(ctx)
	if err != nil {
		return nil, err
	}
	if spec := g.spec(); req.GetNode() != "" && !hasNode(spec, req.GetNode()) {
		return nil, noNode(spec, req.GetNode())
	}
	conns, err := worker.ListConns(ctx, &workerv1.ListConnsRequest{LabId: g.lab.GetId(), Node: req.GetNode(), Listening: req.GetListening()})
	if err != nil {
		return nil, err
	}
	resp := &labv1.ListConnsResponse{}
	for _, conn := range g.place.Conns(conns.GetConns()) {
		if req.GetConn() == "" || conn.GetConn() == req.GetConn() {
			resp.Conns = append(resp.Conns, conn)
		}
	}
	return resp, nil
}
