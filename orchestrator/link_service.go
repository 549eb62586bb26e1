package orchestrator

import (
	"context"

	labv1 "labd.dev/proto/lab/v1"
)

type linkService struct {
	labv1.UnimplementedLinkServiceServer
	c *Controller
}

func (s *linkService) ListLinks(ctx context.Context, req *labv1.ListLinksRequest) (*labv1.ListLinksResponse, error) {
	_, st, err := s.c.labStatus(ctx, req.GetLab())
	if err != nil {
		return nil, err
	}
	return &labv1.ListLinksResponse{Links: st.GetLinks()}, nil
}

func (s *linkService) GetLink(ctx context.Context, req *labv1.GetLinkRequest) (*labv1.GetLinkResponse, error) {
	lab, st, err := s.c.labStatus(ctx, req.GetLab())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, link := range st.GetLinks() {
		if link.GetName() == req.GetLink() {
			return &labv1.GetLinkResponse{Link: link}, nil
		}
		names = append(names, link.GetName())
	}
	return nil, noLink(lab.GetSpec().GetName(), req.GetLink(), names)
}
