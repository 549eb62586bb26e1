package orchestrator

import (
	"slices"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

const (
	// maxPeople bounds the people, those who were removed included: a large course has some thousands.
	maxPeople = 10_000
	// maxValidTokens bounds the tokens of a person that are valid, and maxTokens all that are kept, the newest of those that
	// are valid no more.
	maxValidTokens = 20
	maxTokens      = 50
	// firstAdmin is the name of the person that a cluster begins with.
	firstAdmin = "admin"
)

// counterBootstraps counts how often a first administrator was made: from the first time on the cluster asks who calls.
const counterBootstraps = "bootstraps"

func (a *applier) dispatchIdentity(cmd *controlv1.Command) (*controlv1.RequestOutcome, *Refusal) {
	switch k := cmd.GetKind().(type) {
	case *controlv1.Command_Bootstrap:
		return a.bootstrap(k.Bootstrap)
	case *controlv1.Command_ImportPeople:
		return a.importPeople(k.ImportPeople)
	case *controlv1.Command_UpdatePerson:
		return a.updatePerson(k.UpdatePerson)
	case *controlv1.Command_RemovePerson:
		return a.removePerson(k.RemovePerson)
	case *controlv1.Command_AddToken:
		return a.addToken(k.AddToken)
	case *controlv1.Command_RotateToken:
		return a.rotateToken(k.RotateToken)
	case *controlv1.Command_RevokeToken:
		return a.revokeToken(k.RevokeToken)
	}
	return a.dispatchClass(cmd)
}

// bootstrap makes the first administrator. Made again, it takes back what tokens that person had.
func (a *applier) bootstrap(c *controlv1.Bootstrap) (*controlv1.RequestOutcome, *Refusal) {
	if a.view.counter(counterBootstraps) > 0 && !c.GetAgain() {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED, "the first administrator has been made already")
	}
	a.count(counterBootstraps, +1, 1<<63)
	p := a.view.person(firstAdmin)
	if p == nil {
		p = &controlv1.PersonState{Name: firstAdmin, CreatedUnixNs: a.now}
		a.count(counterPeople, +1, maxPeople+1) // a place is kept for this one
	}
	a.insert(tablePeople, with(p, func(p *controlv1.PersonState) { p.Role, p.RemovedUnixNs = auth.Admin, 0 }))
	a.revokeTokens(firstAdmin)
	return &controlv1.RequestOutcome{}, a.insertToken(c.GetToken(), firstAdmin)
}

func (a *applier) importPeople(c *controlv1.ImportPeople) (*controlv1.RequestOutcome, *Refusal) {
	outcome := &controlv1.RequestOutcome{}
	listed, sections := make(map[string]bool), make(map[string]bool)
	for _, p := range c.GetPeople() {
		if listed[p.GetName()] {
			return nil, refuse(labv1.ErrorReason_ERROR_REASON_INVALID, "%s is there twice", p.GetName())
		}
		listed[p.GetName()], sections[p.GetSection()] = true, true
		done, refused := a.importPerson(p, c.GetRenewTokens())
		if refused != nil {
			return nil, refused
		}
		outcome.Imported = append(outcome.Imported, done)
	}
	if c.GetRemoveMissing() {
		for _, p := range a.view.people() {
			if p.GetRole() == auth.Student && p.GetRemovedUnixNs() == 0 && sections[p.GetSection()] && !listed[p.GetName()] {
				a.takeAway(p)
				outcome.Imported = append(outcome.Imported, &labv1.ImportedUser{Name: p.GetName(), Outcome: labv1.ImportedUser_OUTCOME_REMOVED})
			}
		}
	}
	return outcome, a.lacksAdmin()
}

func (a *applier) importPerson(c *controlv1.ImportPerson, renew bool) (*labv1.ImportedUser, *Refusal) {
	done := &labv1.ImportedUser{Name: c.GetName(), Outcome: labv1.ImportedUser_OUTCOME_CREATED}
	was := a.view.person(c.GetName())
	is := &controlv1.PersonState{Name: c.GetName(), Role: c.GetRole(), Section: c.GetSection(), Email: c.GetEmail(), CreatedUnixNs: a.now}
	switch {
	case was == nil:
		if !a.count(counterPeople, +1, maxPeople) {
			return nil, overQuota("people", maxPeople)
		}
	case was.GetRemovedUnixNs() != 0:
		done.Outcome = labv1.ImportedUser_OUTCOME_RETURNED
	case was.GetRole() != is.GetRole() || was.GetSection() != is.GetSection() || was.GetEmail() != is.GetEmail():
		done.Outcome = labv1.ImportedUser_OUTCOME_CHANGED
	default:
		done.Outcome = labv1.ImportedUser_OUTCOME_UNCHANGED
	}
	if was != nil {
		is.CreatedUnixNs = was.GetCreatedUnixNs()
	}
	a.insert(tablePeople, is)
	fresh := was == nil || was.GetRemovedUnixNs() != 0
	if c.GetToken() == nil || !fresh && !renew {
		return done, nil
	}
	if renew {
		a.revokeTokens(c.GetName())
	}
	done.TokenGiven = true
	return done, a.insertToken(c.GetToken(), c.GetName())
}

func (a *applier) updatePerson(c *controlv1.UpdatePerson) (*controlv1.RequestOutcome, *Refusal) {
	p := a.view.person(c.GetName())
	if p == nil || p.GetRemovedUnixNs() != 0 {
		return nil, noPerson(c.GetName())
	}
	a.insert(tablePeople, with(p, func(p *controlv1.PersonState) {
		if c.GetRole() != labv1.Role_ROLE_UNSPECIFIED {
			p.Role = c.GetRole()
		}
		if c.Section != nil {
			p.Section = c.GetSection()
		}
		if c.Email != nil {
			p.Email = c.GetEmail()
		}
	}))
	return &controlv1.RequestOutcome{}, a.lacksAdmin()
}

func (a *applier) removePerson(c *controlv1.RemovePerson) (*controlv1.RequestOutcome, *Refusal) {
	p := a.view.person(c.GetName())
	if p == nil || p.GetRemovedUnixNs() != 0 {
		return nil, noPerson(c.GetName())
	}
	a.takeAway(p)
	return &controlv1.RequestOutcome{}, a.lacksAdmin()
}

// takeAway removes a person. The name stays taken: labs and runs may have that owner.
func (a *applier) takeAway(p *controlv1.PersonState) {
	a.insert(tablePeople, with(p, func(p *controlv1.PersonState) { p.RemovedUnixNs = a.now }))
	a.revokeTokens(p.GetName())
}

// lacksAdmin refuses a change after which no administrator is left: who would make the next one?
func (a *applier) lacksAdmin() *Refusal {
	if a.view.counter(counterBootstraps) == 0 {
		return nil // nobody is asked for yet
	}
	if slices.ContainsFunc(a.view.people(), func(p *controlv1.PersonState) bool {
		return p.GetRole() == auth.Admin && p.GetRemovedUnixNs() == 0
	}) {
		return nil
	}
	return refuse(labv1.ErrorReason_ERROR_REASON_LAST_ADMIN, "no administrator would be left")
}

func noPerson(name string) *Refusal {
	return refuse(labv1.ErrorReason_ERROR_REASON_USER_NOT_FOUND, "there is no person %q", name)
}

func noToken(id string) *Refusal {
	return refuse(labv1.ErrorReason_ERROR_REASON_TOKEN_NOT_FOUND, "there is no token %q", id)
}

func (a *applier) addToken(c *controlv1.AddToken) (*controlv1.RequestOutcome, *Refusal) {
	t := c.GetToken()
	p := a.view.person(t.GetPerson())
	if p == nil || p.GetRemovedUnixNs() != 0 {
		return nil, noPerson(t.GetPerson())
	}
	if with := a.view.token(t.GetMadeWith()); t.GetMadeWith() != "" && !valid(with, a.now) {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_TOKEN_REVOKED, "the token shown has been taken back meanwhile")
	}
	return &controlv1.RequestOutcome{ObjectId: t.GetId()}, a.insertToken(t, t.GetPerson())
}

// insertToken adds a token to those of a person, in place of old ones that are valid no more.
func (a *applier) insertToken(t *controlv1.TokenState, person string) *Refusal {
	if a.view.token(t.GetId()) != nil {
		return refuse(labv1.ErrorReason_ERROR_REASON_INVALID, "a token %q is there already", t.GetId())
	}
	have := a.view.tokensOf(person)
	alive := 0
	for _, old := range have {
		if valid(old, a.now) {
			alive++
		}
	}
	if alive >= maxValidTokens {
		return overQuota("valid tokens of "+person, maxValidTokens)
	}
	for over := len(have) + 1 - maxTokens; over > 0; over-- {
		i := slices.IndexFunc(have, func(t *controlv1.TokenState) bool { return !valid(t, a.now) })
		a.remove(tableTokens, have[i])
		have = slices.Delete(have, i, i+1)
	}
	a.insert(tableTokens, with(t, func(t *controlv1.TokenState) { t.Person, t.CreatedUnixNs = person, a.now }))
	return nil
}

// valid tells whether a token may still be used at a time.
func valid(t *controlv1.TokenState, now int64) bool {
	return t != nil && t.GetRevokedUnixNs() == 0 && (t.GetExpiresUnixNs() == 0 || now < t.GetExpiresUnixNs())
}

func (a *applier) rotateToken(c *controlv1.RotateToken) (*controlv1.RequestOutcome, *Refusal) {
	t := a.view.token(c.GetId())
	if !valid(t, a.now) {
		return nil, noToken(c.GetId())
	}
	a.insert(tableTokens, with(t, func(n *controlv1.TokenState) {
		n.OldSha256, n.OldUntilUnixNs = t.GetSha256(), c.GetOldUntilUnixNs()
		n.Sha256, n.RotatedUnixNs = c.GetSha256(), a.now
	}))
	return &controlv1.RequestOutcome{ObjectId: c.GetId()}, nil
}

func (a *applier) revokeToken(c *controlv1.RevokeToken) (*controlv1.RequestOutcome, *Refusal) {
	t := a.view.token(c.GetId())
	if t == nil {
		return nil, noToken(c.GetId())
	}
	outcome := &controlv1.RequestOutcome{}
	gone, of := map[string]bool{t.GetId(): true}, a.view.tokensOf(t.GetPerson())
	for found := true; found; {
		found = false
		for _, other := range of {
			if !gone[other.GetId()] && gone[other.GetMadeWith()] {
				gone[other.GetId()], found = true, true
			}
		}
	}
	for _, other := range of {
		if gone[other.GetId()] && other.GetRevokedUnixNs() == 0 {
			a.revoke(other)
			outcome.TokenIds = append(outcome.TokenIds, other.GetId())
		}
	}
	return outcome, nil
}

func (a *applier) revokeTokens(person string) {
	for _, t := range a.view.tokensOf(person) {
		if t.GetRevokedUnixNs() == 0 {
			a.revoke(t)
		}
	}
}

func (a *applier) revoke(t *controlv1.TokenState) {
	a.insert(tableTokens, with(t, func(t *controlv1.TokenState) { t.RevokedUnixNs = a.now }))
}
