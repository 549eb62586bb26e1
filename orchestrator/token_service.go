package orchestrator

import (
	"context"
	"crypto/sha256"
	"math"
	"time"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// maxGrace bounds for how long a rotated token's old secret is valid.
const maxGrace = 7 * 24 * time.Hour

type tokenService struct {
	labv1.UnimplementedTokenServiceServer
	c *Controller
}

// newToken checks a token that a caller makes for a person: it may do no more, and not for longer, than the one that the
// caller shows.
func (c *Controller) newToken(caller auth.Caller, path string, t *labv1.NewToken, person string) (*controlv1.TokenState, error) {
	now := c.conf.Now()
	state := &controlv1.TokenState{Id: t.GetId(), Sha256: t.GetSha256(), Person: person, Scope: t.GetScope(), Label: t.GetLabel()}
	life := t.GetLifetimeS()
	switch why := auth.CheckLabel(t.GetLabel()); {
	case !auth.IsTokenID(t.GetId()):
		return nil, invalid(path+".id", "it has 10 characters of base32")
	case len(t.GetSha256()) != sha256.Size:
		return nil, invalid(path+".sha256", "it has %d bytes", sha256.Size)
	case why != "":
		return nil, invalid(path+".label", "%q: %s", t.GetLabel(), why)
	case life < 0 || life > (math.MaxInt64-now.UnixNano())/int64(time.Second):
		return nil, invalid(path+".lifetime_s", "%d is no lifetime", life)
	}
	if most := t.GetScope().GetMost(); most != 0 && (most < labv1.Permission_PERMISSION_PERSON || most > labv1.Permission_PERMISSION_ADMIN) {
		return nil, invalid(path+".scope.most", "it is person, viewer, operator, owner, instructor or admin")
	}
	if life > 0 {
		state.ExpiresUnixNs = now.Add(time.Duration(life) * time.Second).UnixNano()
	}
	shown := c.store.view().token(caller.TokenID)
	if shown == nil {
		return state, nil // nobody is asked for tokens here
	}
	if caller.Person == person {
		state.MadeWith = shown.GetId()
	}
	if scopeOf(t.GetScope()).Within(caller.Scope) && (caller.Person != person || !outlives(state, shown)) {
		return state, nil
	}
	return nil, refuse(labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED, "a token makes none that may do more, or for longer, than itself")
}

// outlives tells whether a token is valid for longer than another.
func outlives(t, other *controlv1.TokenState) bool {
	return other.GetExpiresUnixNs() != 0 && (t.GetExpiresUnixNs() == 0 || t.GetExpiresUnixNs() > other.GetExpiresUnixNs())
}

func scopeOf(s *labv1.TokenScope) auth.Scope { return auth.Scope{Most: s.GetMost(), Lab: s.GetLab()} }

func (s *tokenService) CreateToken(ctx context.Context, req *labv1.CreateTokenRequest) (*labv1.CreateTokenResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	past, err := s.c.pastRequest(ctx, req.GetRequestId(), "add_token")
	if err != nil {
		return nil, err
	}
	if past == nil {
		caller := auth.CallerOf(ctx)
		person, err := s.personMeant(caller, req.GetUser())
		if err != nil {
			return nil, err
		}
		t, err := s.c.newToken(caller, "token", req.GetToken(), person)
		if err != nil {
			return nil, err
		}
		res, err := s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_AddToken{AddToken: &controlv1.AddToken{Token: t}}})
		if err != nil {
			return nil, err
		}
		past = res.outcome
	}
	return &labv1.CreateTokenResponse{Token: infoOf(s.c.store.view().token(past.GetObjectId()))}, nil
}

// personMeant is whose tokens a call is about: the caller's own, or of a person who is entrusted to the caller.
func (s *tokenService) personMeant(caller auth.Caller, name string) (string, error) {
	if name == "" && caller.Person == "" {
		return "", invalid("user", "say whose: this labd does not ask who calls")
	}
	if name == "" || name == caller.Person {
		return caller.Person, nil
	}
	if caller.Role <= auth.Student || caller.Scope != (auth.Scope{}) {
		return "", noPerson(name)
	}
	p := s.c.store.view().person(name)
	if p == nil {
		return "", noPerson(name)
	}
	return name, mayManage(caller, p.GetRole(), name)
}

// tokenMeant is a token that is the caller's own, or of a person who is entrusted to the caller. Others' are not there.
func (s *tokenService) tokenMeant(ctx context.Context, id string) (*controlv1.TokenState, error) {
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	caller := auth.CallerOf(ctx)
	if id == "" {
		id = caller.TokenID
	}
	if id == "" {
		return nil, invalid("id", "say which token")
	}
	t := s.c.store.view().token(id)
	if t == nil {
		return nil, noToken(id)
	}
	if _, err := s.personMeant(caller, t.GetPerson()); err != nil {
		return nil, noToken(id)
	}
	own := scopeOf(t.GetScope())
	if t.GetId() != caller.TokenID && !own.Within(caller.Scope) {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED, "a token changes none that may do more than itself")
	}
	return t, nil
}

func (s *tokenService) ListTokens(ctx context.Context, req *labv1.ListTokensRequest) (*labv1.ListTokensResponse, error) {
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	person, err := s.personMeant(auth.CallerOf(ctx), req.GetUser())
	if err != nil {
		return nil, err
	}
	return &labv1.ListTokensResponse{Tokens: infosOf(s.c.store.view().tokensOf(person))}, nil
}

func (s *tokenService) RotateToken(ctx context.Context, req *labv1.RotateTokenRequest) (*labv1.RotateTokenResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	grace := time.Duration(min(max(req.GetGraceS(), -1), int64(maxGrace/time.Second)+1)) * time.Second
	switch {
	case grace < 0 || grace > maxGrace:
		return nil, invalid("grace_s", "it is 0 to %d", int64(maxGrace/time.Second))
	case len(req.GetSha256()) != sha256.Size:
		return nil, invalid("sha256", "it has %d bytes", sha256.Size)
	}
	t, err := s.tokenMeant(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	if shown := s.c.store.view().token(auth.CallerOf(ctx).TokenID); shown.GetPerson() == t.GetPerson() && outlives(t, shown) {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED, "a token gives no secret to one that is valid for longer than itself")
	}
	_, err = s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_RotateToken{RotateToken: &controlv1.RotateToken{
		Id: t.GetId(), Sha256: req.GetSha256(), OldUntilUnixNs: s.c.conf.Now().Add(grace).UnixNano()}}})
	if err != nil {
		return nil, err
	}
	return &labv1.RotateTokenResponse{Token: infoOf(s.c.store.view().token(t.GetId()))}, nil
}

func (s *tokenService) RevokeToken(ctx context.Context, req *labv1.RevokeTokenRequest) (*labv1.RevokeTokenResponse, error) {
	if err := checkRequestID(req.GetRequestId()); err != nil {
		return nil, err
	}
	t, err := s.tokenMeant(ctx, req.GetId())
	if err != nil {
		return nil, err
	}
	res, err := s.c.propose(ctx, req.GetRequestId(), &controlv1.Command{Kind: &controlv1.Command_RevokeToken{RevokeToken: &controlv1.RevokeToken{Id: t.GetId()}}})
	if err != nil {
		return nil, err
	}
	return &labv1.RevokeTokenResponse{Ids: res.outcome.GetTokenIds()}, nil
}

func infosOf(tokens []*controlv1.TokenState) []*labv1.TokenInfo {
	var list []*labv1.TokenInfo
	for _, t := range tokens {
		list = append(list, infoOf(t))
	}
	return list
}

// infoOf is what may be told of a token.
func infoOf(t *controlv1.TokenState) *labv1.TokenInfo {
	return &labv1.TokenInfo{Id: t.GetId(), User: t.GetPerson(), Label: t.GetLabel(), Scope: t.GetScope(), CreatedAt: stampOf(t.GetCreatedUnixNs()),
		ExpiresAt: stampOf(t.GetExpiresUnixNs()), RotatedAt: stampOf(t.GetRotatedUnixNs()), OldUntil: stampOf(t.GetOldUntilUnixNs()),
		RevokedAt: stampOf(t.GetRevokedUnixNs())}
}
