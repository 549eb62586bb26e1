package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// Ask says whether callers are asked who they are.
type Ask int

const (
	AskOnceKnown Ask = iota // as soon as somebody is known: a first administrator was made
	AskAlways               // a first administrator is made if there is none
	AskNever                // whoever calls is taken for an administrator
)

// FirstToken gets the token of a cluster's first administrator, which nobody can read anywhere else.
type FirstToken interface {
	// Keep is called before the token is made valid. Where it fails, none is.
	Keep(text string) error
	// Made tells that the token kept last is valid, and Void that it is not.
	Made(text string)
	Void()
	// Again asks that the first administrator be made once more, with the next leadership: the tokens were lost.
	Again() bool
}

// authorizationHeader carries a caller's token, as "Bearer labd_...".
const authorizationHeader = "authorization"

// Identify finds out who makes a call, by the token that came with it. The state that says so is this server's own: where it
// has been told meanwhile that it leads no more, the call comes to nothing all the same, as whoever carries it out asks a
// majority first. trusted: whoever calls without a token is of this very process.
func (c *Controller) Identify(ctx context.Context, method, from string, trusted bool) (auth.Caller, error) {
	caller := auth.Anybody(from, auth.Short(method))
	header := headerOf(ctx, authorizationHeader)
	if c.conf.Ask == AskNever || trusted && header == "" {
		return caller, nil
	}
	if !c.answersAlone(ctx, method) {
		if _, err := c.awaitLead(ctx); err != nil {
			return auth.Caller{}, err
		}
	}
	v := c.store.view()
	if c.conf.Ask == AskOnceKnown && !v.asksWhoCalls() {
		return caller, nil
	}
	who, err := c.holder(v, header, from)
	if err != nil {
		caller.Person, caller.Role, caller.TokenID = "", 0, ""
		c.NoteRefusal(caller, err)
		return auth.Caller{}, err
	}
	who.From, who.Method = from, caller.Method
	return who, nil
}

// Screen tells who makes a call, as far as its headers and this server's own state do, without waiting for anything. asked says
// whether anybody asks; a caller without a name may yet turn out to be somebody, where another server leads. An error says that it
// will not. trusted: whoever calls without a token is of this very process.
func (c *Controller) Screen(ctx context.Context, from string, trusted bool) (person string, asked bool, err error) {
	header := headerOf(ctx, authorizationHeader)
	if c.conf.Ask == AskNever || trusted && header == "" || !c.Identity() {
		return "", false, nil
	}
	leads := c.leading() != nil // before its state is looked at, which has then all that was told to anybody
	who, err := c.holder(c.store.view(), header, from)
	if err == nil {
		return who.Person, true, nil
	}
	if _, malformed := auth.Bearer(header); malformed == nil && !leads {
		return "", true, nil
	}
	return "", true, err
}

// Identity tells whether this server asks who calls.
func (c *Controller) Identity() bool {
	return c.conf.Ask == AskAlways || c.conf.Ask == AskOnceKnown && c.store.view().asksWhoCalls()
}

// answersAlone tells whether a server answers a call from its own state, whoever leads.
func (c *Controller) answersAlone(ctx context.Context, method string) bool {
	return answeredHere[method] || c.forwards(method) && wantsStale(ctx)
}

// nobodys is the hash that a token is compared with whose id is not known: that takes as long as with one that is.
var nobodys = auth.NewToken().Hash()

// holder is whose token an authorization header has.
func (c *Controller) holder(v view, header, from string) (auth.Caller, error) {
	now := c.conf.Now()
	shown, err := auth.Bearer(header)
	if errors.Is(err, auth.ErrNoToken) {
		return auth.Caller{}, refuse(labv1.ErrorReason_ERROR_REASON_TOKEN_MISSING, "%v", err)
	}
	wait, known := c.lockout.Locked(from, shown.ID, now)
	if err != nil {
		c.lockout.Failed(from, "", now)
		return auth.Caller{}, wrongToken(wait, labv1.ErrorReason_ERROR_REASON_TOKEN_MALFORMED, err.Error())
	}
	if wait > 0 && !known {
		return auth.Caller{}, wrongToken(wait, 0, "")
	}
	t := v.token(shown.ID)
	hash, old := t.GetSha256(), t.GetOldSha256()
	if t == nil {
		hash, old = nobodys, nobodys
	}
	isNow, wasOnce := shown.Matches(hash), shown.Matches(old)
	if t == nil || !isNow && !(wasOnce && now.UnixNano() < t.GetOldUntilUnixNs()) {
		c.lockout.Failed(from, shown.ID, now)
		return auth.Caller{}, wrongToken(wait, labv1.ErrorReason_ERROR_REASON_TOKEN_WRONG, "this labd has given out no such token, or another in its place")
	}
	c.lockout.Right(from, shown.ID, now)
	p, err := good(v, t, now)
	if err != nil {
		return auth.Caller{}, err
	}
	return auth.Caller{Person: p.GetName(), Role: p.GetRole(), TokenID: t.GetId(),
		Scope: auth.Scope{Most: t.GetScope().GetMost(), Lab: t.GetScope().GetLab()}}, nil
}

// good gives the person of a token that is to be taken.
func good(v view, t *controlv1.TokenState, now time.Time) (*controlv1.PersonState, error) {
	p := v.person(t.GetPerson())
	switch {
	case t.GetRevokedUnixNs() != 0 || p == nil || p.GetRemovedUnixNs() != 0:
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_TOKEN_REVOKED, "the token has been taken back; ask an instructor for another")
	case !valid(t, now.UnixNano()):
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_TOKEN_EXPIRED, "the token has expired; ask an instructor for another")
	}
	return p, nil
}

// wrongToken refuses a token, and says no more than that where too many wrong ones came.
func wrongToken(wait time.Duration, reason labv1.ErrorReason, message string) *Refusal {
	if wait == 0 {
		return refuse(reason, "%s", message)
	}
	wait = wait.Round(time.Second) + time.Second
	return &Refusal{Reason: labv1.ErrorReason_ERROR_REASON_LOCKED_OUT, RetryAfter: wait,
		Message: fmt.Sprintf("too many wrong tokens came from this address: wait %v", wait)}
}

// StillGood tells whether the token of a caller who was let in would be taken still, and for as much: calls may last for days.
func (c *Controller) StillGood(caller auth.Caller) error {
	if caller.TokenID == "" {
		return nil
	}
	v := c.store.view()
	p, err := good(v, v.token(caller.TokenID), c.conf.Now())
	if err == nil && p.GetRole() < caller.Role {
		err = notAllowed("%s is %s now", p.GetName(), auth.RoleName(p.GetRole()))
	}
	return err
}

// makeFirst makes the first administrator where one is to be made.
func (l *leadership) makeFirst() error {
	c := l.c
	again := c.again
	if c.conf.Ask == AskNever || c.conf.First == nil || !again && (c.conf.Ask != AskAlways || c.store.view().asksWhoCalls()) {
		return nil
	}
	token := auth.NewToken()
	if err := c.conf.First.Keep(token.Text()); err != nil {
		return fmt.Errorf("the first administrator's token cannot be kept: %w", err)
	}
	_, err := c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_Bootstrap{Bootstrap: &controlv1.Bootstrap{Again: again,
		Token: &controlv1.TokenState{Id: token.ID, Sha256: token.Hash(), Label: "first"}}}})
	if err != nil {
		if !errors.Is(err, errFateOpen) { // else it may well be valid
			c.conf.First.Void()
		}
		return fmt.Errorf("make the first administrator: %w", err)
	}
	c.again = false
	c.conf.First.Made(token.Text())
	return nil
}
