package orchestrator

import (
	"context"

	labv1 "labd.dev/proto/lab/v1"
)

type linkService struct {
	labv1.UnimplementedLinkServiceServer
	c *Controller
}

func (s *linkService) ListLinks(ctx context.Context, _ *labv1.ListLinksRequest) (*labv1.ListLinksResponse, error) {
	_, st, err := s.c.labStatus(ctx)
	if err != nil {
		return nil, err
	}
	return &labv1.ListLinksResponse{Links: st.GetLinks()}, nil
}

func (s *linkService) GetLink(ctx context.Context, req *labv1.GetLinkRequest) (*labv1.GetLinkResponse, error) {
	g, st, err := s.c.labStatus(ctx)
	if err != nil {
		return nil, err
	}
	for _, link := range st.GetLinks() {
		if link.GetName() == req.GetLink() {
			return &labv1.GetLinkResponse{Link: link}, nil
		}
	}
	return nil, g.noLink(req.GetLink())
}
