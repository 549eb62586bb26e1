// Package auth says who calls, and what a call asks of its caller: people and their roles, the text of tokens, scopes, and
// the access that each call declares in its definition. It knows no store: who a token belongs to, and whose a lab is, the
// orchestrator knows.
package auth

import (
	"context"

	labv1 "labd.dev/proto/lab/v1"
)

// The roles of people, from the least to the most.
const (
	Student    = labv1.Role_ROLE_STUDENT
	Instructor = labv1.Role_ROLE_INSTRUCTOR
	Admin      = labv1.Role_ROLE_ADMIN
)

// Caller is who makes a call. The zero Caller may do nothing.
type Caller struct {
	Person  string     // name; empty: nobody in particular, as where labd asks nobody who they are
	Role    labv1.Role // of the person
	TokenID string     // of the token shown; empty: none was
	Scope   Scope      // of the token
	From    string     // address that the call comes from, without a port; empty: this very process
	Method  string     // what is called, "LabService.DeleteLab"
}

// Anybody is who calls a labd that asks nobody who they are: whoever reaches it owns the machine that it serves.
func Anybody(from, method string) Caller {
	return Caller{Role: Admin, From: from, Method: method}
}

// Identified tells whether the caller is a person that labd knows.
func (c Caller) Identified() bool { return c.Person != "" }

type callerKey struct{}

// WithCaller puts who calls into a call's context.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf is who makes the call of a context; the zero Caller if nobody has said.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}
