package orchestrator

import (
	"context"
	"slices"

	"labd.dev/internal/sight"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// maxMemberNodes bounds the names by which one member's nodes are picked: each is compared with every node that is told of.
const maxMemberNodes = 64

type sharingService struct {
	labv1.UnimplementedSharingServiceServer
	c *Controller
}

func (s *sharingService) ShareLab(ctx context.Context, req *labv1.ShareLabRequest) (*labv1.ShareLabResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	g, err := grantOf(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.checkMember(g, req.GetMember()); err != nil {
		return nil, err
	}
	_, err = s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_ShareLab{
		ShareLab: &controlv1.ShareLab{LabId: g.lab.GetId(), Member: req.GetMember()}}})
	if err != nil {
		return nil, err
	}
	return &labv1.ShareLabResponse{Nodes: sight.Picked(req.GetMember().GetNodes(), presentSpec(g.lab))}, nil
}

// checkMember refuses who cannot be let into a lab, and names that pick none of its nodes.
func (s *sharingService) checkMember(g *grant, m *labv1.LabMember) error {
	_, known := labv1.LabRole_name[int32(m.GetRole())]
	switch {
	case m.GetPerson() == "":
		return invalid("member.person", "say with whom")
	case m.GetPerson() == g.lab.GetOwner():
		return invalid("member.person", "%q owns the lab", m.GetPerson())
	case !known || m.GetRole() == labv1.LabRole_LAB_ROLE_UNSPECIFIED:
		return invalid("member.role", "say as what: viewer, operator or owner")
	case m.GetRole() == labv1.LabRole_LAB_ROLE_OWNER && len(m.GetNodes()) > 0:
		return invalid("member.nodes", "an owner has all nodes")
	case len(m.GetNodes()) > maxMemberNodes:
		return invalid("member.nodes", "%d names are too many; at most %d", len(m.GetNodes()), maxMemberNodes)
	}
	spec := presentSpec(g.lab)
	for i, name := range m.GetNodes() {
		path := elementPath("member.nodes", i)
		if !sight.ValidPattern(name) {
			return invalid(path, "%q is no name of nodes: letters as in a node's name, * for any, ? for one, [ab] for one of some", name)
		}
		if len(sight.Picked([]string{name}, spec)) == 0 {
			return invalid(path, "%q picks none of the lab's nodes%s", name, insteadOf(name, nodeNames(spec)))
		}
	}
	if p := s.c.store.view().person(m.GetPerson()); p == nil || p.GetRemovedUnixNs() != 0 {
		return noPerson(m.GetPerson())
	}
	return nil
}

func (s *sharingService) UnshareLab(ctx context.Context, req *labv1.UnshareLabRequest) (*labv1.UnshareLabResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	g, err := grantOf(ctx)
	if err != nil {
		return nil, err
	}
	switch req.GetPerson() {
	case "":
		return nil, invalid("person", "say who")
	case g.lab.GetOwner():
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_OWNS_LAB, "%q owns lab %q; delete the lab instead", req.GetPerson(), g.name)
	}
	return &labv1.UnshareLabResponse{}, s.takeOut(ctx, req.GetRequestId(), g, req.GetPerson(), req.GetRole())
}

func (s *sharingService) LeaveLab(ctx context.Context, req *labv1.LeaveLabRequest) (*labv1.LeaveLabResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	if past, err := s.c.pastRequest(ctx, req.GetRequestId(), "unshare_lab"); past != nil || err != nil {
		return &labv1.LeaveLabResponse{}, err
	}
	g, err := grantOf(ctx)
	if err != nil {
		return nil, err
	}
	if g.caller.Person == g.lab.GetOwner() {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_OWNS_LAB, "lab %q is yours; delete it instead", g.lab.GetSpec().GetName())
	}
	return &labv1.LeaveLabResponse{}, s.takeOut(ctx, req.GetRequestId(), g, g.caller.Person, labv1.LabRole_LAB_ROLE_UNSPECIFIED)
}

func (s *sharingService) takeOut(ctx context.Context, requestID string, g *grant, person string, role labv1.LabRole) error {
	_, err := s.c.propose(ctx, requestID, &controlv1.Command{Kind: &controlv1.Command_UnshareLab{
		UnshareLab: &controlv1.UnshareLab{LabId: g.lab.GetId(), Person: person, Role: role}}})
	return err
}

func (s *sharingService) ListLabMembers(ctx context.Context, _ *labv1.ListLabMembersRequest) (*labv1.ListLabMembersResponse, error) {
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	g, err := grantOf(ctx)
	if err != nil {
		return nil, err
	}
	members := slices.DeleteFunc(slices.Clone(g.lab.GetMembers()), func(m *labv1.LabMember) bool {
		return !g.place.Owns() && m.GetPerson() != g.caller.Person && m.GetRole() != labv1.LabRole_LAB_ROLE_OWNER
	})
	return &labv1.ListLabMembersResponse{Owner: g.lab.GetOwner(), Members: members}, nil
}
