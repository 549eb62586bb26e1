package orchestrator

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

type userService struct {
	labv1.UnimplementedUserServiceServer
	c *Controller
}

// mayManage refuses a caller to whom a person of a role is not entrusted.
func mayManage(caller auth.Caller, role labv1.Role, name string) error {
	if caller.Role == auth.Admin || caller.Role == auth.Instructor && role == auth.Student {
		return nil
	}
	return refuse(labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED, "%s is %s: that is for administrators", name, auth.RoleName(role))
}

func (s *userService) ImportUsers(ctx context.Context, req *labv1.ImportUsersRequest) (*labv1.ImportUsersResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	if past, err := s.c.pastRequest(ctx, req.GetRequestId(), "import_people"); past != nil || err != nil {
		return &labv1.ImportUsersResponse{Users: past.GetImported()}, err
	}
	caller, v := auth.CallerOf(ctx), s.c.store.view()
	if len(req.GetUsers()) > maxPeople {
		return nil, overQuota("people", maxPeople)
	}
	cmd := &controlv1.ImportPeople{RemoveMissing: req.GetRemoveMissing(), RenewTokens: req.GetRenewTokens()}
	for i, u := range req.GetUsers() {
		p, err := s.newPerson(v, caller, fmt.Sprintf("users[%d]", i), u)
		if err != nil {
			return nil, err
		}
		cmd.People = append(cmd.People, p)
	}
	if req.GetDryRun() {
		return s.wouldImport(cmd)
	}
	res, err := s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_ImportPeople{ImportPeople: cmd}})
	if err != nil {
		return nil, err
	}
	return &labv1.ImportUsersResponse{Users: res.outcome.GetImported()}, nil
}

// wouldImport tells what an import would do, by doing it to a state that is thrown away.
func (s *userService) wouldImport(cmd *controlv1.ImportPeople) (*labv1.ImportUsersResponse, error) {
	db, _ := s.c.store.current()
	txn := db.Txn(true)
	defer txn.Abort()
	a := &applier{txn: txn, view: view{txn: txn}, now: s.c.conf.Now().UnixNano()}
	outcome, refused := a.importPeople(cmd)
	if refused != nil {
		return nil, refused
	}
	return &labv1.ImportUsersResponse{Users: outcome.GetImported()}, nil
}

func (s *userService) newPerson(v view, caller auth.Caller, path string, u *labv1.NewUser) (*controlv1.ImportPerson, error) {
	p := &controlv1.ImportPerson{Name: u.GetName(), Role: u.GetRole(), Section: u.GetSection(), Email: u.GetEmail()}
	if p.Role == labv1.Role_ROLE_UNSPECIFIED {
		p.Role = auth.Student
	}
	if err := checkPerson(path, p.GetName(), p.GetRole(), p.GetSection(), p.GetEmail()); err != nil {
		return nil, err
	}
	if err := mayManage(caller, p.GetRole(), p.GetName()); err != nil {
		return nil, err
	}
	if was := v.person(p.GetName()); was != nil {
		if err := mayManage(caller, was.GetRole(), was.GetName()); err != nil {
			return nil, err
		}
	}
	if u.GetToken() == nil {
		return p, nil
	}
	var err error
	p.Token, err = s.c.newToken(caller, path+".token", u.GetToken(), p.GetName())
	return p, err
}

func checkPerson(path, name string, role labv1.Role, section, email string) error {
	if why := auth.CheckPerson(name); why != "" {
		return invalid(path+".name", "%q: %s", name, why)
	}
	if role < auth.Student || role > auth.Admin {
		return invalid(path+".role", "there is no role %d", role)
	}
	if why := auth.CheckSection(section); why != "" {
		return invalid(path+".section", "%q: %s", section, why)
	}
	if email != "" {
		if why := auth.CheckEmail(email); why != "" {
			return invalid(path+".email", "%q: %s", email, why)
		}
	}
	return nil
}

func (s *userService) ListUsers(ctx context.Context, req *labv1.ListUsersRequest) (*labv1.ListUsersResponse, error) {
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	v, resp := s.c.store.view(), &labv1.ListUsersResponse{}
	for _, p := range v.people() {
		if (req.GetSection() == "" || p.GetSection() == req.GetSection()) && (req.GetRemoved() || p.GetRemovedUnixNs() == 0) {
			resp.Users = append(resp.Users, s.c.userOf(v, p))
		}
	}
	return resp, nil
}

func (s *userService) GetUser(ctx context.Context, req *labv1.GetUserRequest) (*labv1.GetUserResponse, error) {
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	v := s.c.store.view()
	p := v.person(req.GetUser())
	if p == nil {
		return nil, noPerson(req.GetUser())
	}
	resp := &labv1.GetUserResponse{User: s.c.userOf(v, p)}
	if mayManage(auth.CallerOf(ctx), p.GetRole(), p.GetName()) == nil {
		resp.Tokens = infosOf(v.tokensOf(p.GetName()))
	}
	return resp, nil
}

func (c *Controller) userOf(v view, p *controlv1.PersonState) *labv1.User {
	u := &labv1.User{Name: p.GetName(), Role: p.GetRole(), Section: p.GetSection(), Email: p.GetEmail(),
		CreatedAt: stampOf(p.GetCreatedUnixNs()), RemovedAt: stampOf(p.GetRemovedUnixNs())}
	now := c.conf.Now().UnixNano()
	for _, t := range v.tokensOf(p.GetName()) {
		if valid(t, now) {
			u.Tokens++
		}
	}
	return u
}

// stampOf is a wall time as the API has it; 0: none.
func stampOf(unixNs int64) *timestamppb.Timestamp {
	if unixNs == 0 {
		return nil
	}
	return timestamppb.New(time.Unix(0, unixNs))
}

func (s *userService) UpdateUser(ctx context.Context, req *labv1.UpdateUserRequest) (*labv1.UpdateUserResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	p, err := s.managed(ctx, req.GetUser())
	if err != nil {
		return nil, err
	}
	role := p.GetRole()
	if req.GetRole() != labv1.Role_ROLE_UNSPECIFIED {
		role = req.GetRole()
	}
	if err := checkPerson("user", p.GetName(), role, req.GetSection(), req.GetEmail()); err != nil {
		return nil, err
	}
	if err := mayManage(auth.CallerOf(ctx), role, p.GetName()); err != nil {
		return nil, err
	}
	if _, err := s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_UpdatePerson{UpdatePerson: &controlv1.UpdatePerson{
		Name: p.GetName(), Role: req.GetRole(), Section: req.Section, Email: req.Email}}}); err != nil {
		return nil, err
	}
	v := s.c.store.view()
	return &labv1.UpdateUserResponse{User: s.c.userOf(v, v.person(p.GetName()))}, nil
}

// managed finds a person who is entrusted to the caller.
func (s *userService) managed(ctx context.Context, name string) (*controlv1.PersonState, error) {
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	p := s.c.store.view().person(name)
	if p == nil {
		return nil, noPerson(name)
	}
	return p, mayManage(auth.CallerOf(ctx), p.GetRole(), name)
}

func (s *userService) RemoveUser(ctx context.Context, req *labv1.RemoveUserRequest) (*labv1.RemoveUserResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	if _, err := s.managed(ctx, req.GetUser()); err != nil {
		return nil, err
	}
	_, err := s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_RemovePerson{
		RemovePerson: &controlv1.RemovePerson{Name: req.GetUser()}}})
	if err != nil {
		return nil, err
	}
	return &labv1.RemoveUserResponse{}, nil
}

func (s *userService) WhoAmI(ctx context.Context, _ *labv1.WhoAmIRequest) (*labv1.WhoAmIResponse, error) {
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	caller, v := auth.CallerOf(ctx), s.c.store.view()
	resp := &labv1.WhoAmIResponse{Identity: s.c.Identity(), From: caller.From}
	if p := v.person(caller.Person); p != nil {
		resp.User = s.c.userOf(v, p)
	}
	if t := v.token(caller.TokenID); t != nil {
		resp.Token = infoOf(t)
	}
	return resp, nil
}
