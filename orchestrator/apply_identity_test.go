package orchestrator

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

func person(name string, role labv1.Role) *controlv1.ImportPerson {
	return &controlv1.ImportPerson{Name: name, Role: role, Token: &controlv1.TokenState{Id: "t-" + name, Sha256: []byte(name)}}
}

// One administrator stays, whatever is asked for, and the first is made once.
func TestAnAdministratorStays(t *testing.T) {
	m := newMachine(t)
	first := &controlv1.Bootstrap{Token: &controlv1.TokenState{Id: "first"}}
	m.want("", first)
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED, "", &controlv1.Bootstrap{Token: &controlv1.TokenState{Id: "other"}})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAST_ADMIN, "", &controlv1.RemovePerson{Name: "admin"})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAST_ADMIN, "", &controlv1.UpdatePerson{Name: "admin", Role: auth.Student})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAST_ADMIN, "", &controlv1.ImportPeople{People: []*controlv1.ImportPerson{person("admin", auth.Student)}})
	m.want("", &controlv1.ImportPeople{People: []*controlv1.ImportPerson{person("eve", auth.Admin)}})
	m.want("", &controlv1.RemovePerson{Name: "admin"})
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_LAST_ADMIN, "", &controlv1.RemovePerson{Name: "eve"})
	m.want("", &controlv1.Bootstrap{Again: true, Token: &controlv1.TokenState{Id: "again"}})
	v := m.fsm.store.view()
	if p := v.person("admin"); p.GetRemovedUnixNs() != 0 || !valid(v.token("again"), 1) || valid(v.token("first"), 1) {
		t.Errorf("made again: %v, %v", p, v.tokensOf("admin"))
	}
}

// A person's tokens are bounded, those that are valid and all that are kept.
func TestTokensAreBounded(t *testing.T) {
	m := newMachine(t)
	m.want("", &controlv1.ImportPeople{People: []*controlv1.ImportPerson{person("bob", auth.Student)}})
	add := func(i int) *controlv1.AddToken {
		return &controlv1.AddToken{Token: &controlv1.TokenState{Id: fmt.Sprintf("t%03d", i), Person: "bob"}}
	}
	for i := range maxValidTokens - 1 {
		m.want("", add(i))
	}
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_QUOTA, "", add(900))
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_INVALID, "", add(0))
	for i := range 100 {
		m.want("", &controlv1.RevokeToken{Id: fmt.Sprintf("t%03d", i)})
		m.want("", add(i+maxValidTokens-1))
	}
	if n := len(m.fsm.store.view().tokensOf("bob")); n > maxTokens {
		t.Errorf("%d tokens are kept", n)
	}
}

// With a token go those that the same person made with it, and with those; nobody else's.
func TestRevocationFollowsWhatWasMade(t *testing.T) {
	m := newMachine(t)
	m.want("", &controlv1.ImportPeople{People: []*controlv1.ImportPerson{person("bob", auth.Student), person("ann", auth.Student)}})
	for id, with := range map[string]string{"z": "t-bob"} {
		m.want("", &controlv1.AddToken{Token: &controlv1.TokenState{Id: id, Person: "bob", MadeWith: with}})
	}
	m.want("", &controlv1.AddToken{Token: &controlv1.TokenState{Id: "a", Person: "bob", MadeWith: "z"}}) // listed before what made it
	m.want("", &controlv1.AddToken{Token: &controlv1.TokenState{Id: "n", Person: "ann", MadeWith: "z"}})
	if gone := m.want("", &controlv1.RevokeToken{Id: "t-bob"}).GetTokenIds(); len(gone) != 3 {
		t.Errorf("taken back: %v", gone)
	}
	if !valid(m.fsm.store.view().token("n"), 1) {
		t.Error("another's token was taken back")
	}
	m.wantRefusal(labv1.ErrorReason_ERROR_REASON_TOKEN_REVOKED, "", &controlv1.AddToken{Token: &controlv1.TokenState{Id: "late", Person: "bob", MadeWith: "z"}})
}

// The audit keeps the newest of each kind: no flood of refusals pushes out what was done. It is in snapshots, in order.
func TestAuditIsBounded(t *testing.T) {
	m := newMachine(t)
	m.want("", &controlv1.AppendAudit{Entries: []*controlv1.AuditState{{Method: "LabService.CreateLab", Result: resultOK}}})
	const each = 1000
	for range keptRefusals/each + 2 {
		flood := &controlv1.AppendAudit{}
		for range each {
			flood.Entries = append(flood.Entries, &controlv1.AuditState{Method: "LabService.DeleteLab", Result: "NOT_ALLOWED", Detail: string(make([]byte, 1000))})
		}
		m.want("", flood)
	}
	v := m.fsm.store.view()
	all := auditFor(v, auth.Caller{Role: auth.Admin}, &labv1.ListAuditRequest{})
	if len(all) != keptRefusals+1 || all[0].GetMethod() != "LabService.CreateLab" || v.counter(counterForgotten) != 2*each {
		t.Errorf("%d entries, the first %v, %d forgotten", len(all), all[0], v.counter(counterForgotten))
	}
	if n := len(all[1].GetDetail()); n > maxAuditText+3 {
		t.Errorf("a detail of %d bytes is kept", n)
	}
	fresh := newMachine(t)
	if err := fresh.fsm.Restore(io.NopCloser(bytes.NewReader(m.bytes()))); err != nil {
		t.Fatal(err)
	}
	again := auditFor(fresh.fsm.store.view(), auth.Caller{Role: auth.Admin}, &labv1.ListAuditRequest{})
	for i := range again {
		if again[i].GetIndex() != all[i].GetIndex() || again[i].GetPart() != all[i].GetPart() {
			t.Fatalf("entry %d: %v, restored %v", i, all[i], again[i])
		}
	}
}

// A refused command leaves its entry and nothing else; the controller's own leave none.
func TestAuditOfRefusedCommands(t *testing.T) {
	m := newMachine(t)
	m.want("", createLab("x"))
	cmd := command(t, "", createLab("x"))
	cmd.By, cmd.From, cmd.Method = "bob", "192.0.2.1", "LabService.CreateLab"
	m.index++
	db, _ := m.fsm.store.current()
	if res, err := apply(db, m.index, cmd); err != nil || res.refused == nil {
		t.Fatal(res, err)
	}
	all := auditFor(m.fsm.store.view(), auth.Caller{Role: auth.Admin}, &labv1.ListAuditRequest{})
	if len(all) != 1 || all[0].GetPerson() != "bob" || all[0].GetResult() != "LAB_EXISTS" || all[0].GetIndex() != m.index {
		t.Error(all)
	}
}

// A snapshot that is given back takes nothing out of the audit, and what both have is there once.
func TestAuditOutlivesASnapshot(t *testing.T) {
	m := newMachine(t)
	note := func(method, result string) {
		m.want("", &controlv1.AppendAudit{Entries: []*controlv1.AuditState{{Method: method, Result: result}}})
	}
	note("before", resultOK)
	saved, err := readSnapshot(bytes.NewReader(m.bytes()))
	if err != nil {
		t.Fatal(err)
	}
	note("since", resultOK)
	note("refused since", "NOT_ALLOWED")
	for range 2 { // the second time there is nothing to add
		addAudit(saved, m.fsm.store.view())
	}
	v := view{txn: saved.Txn(false)}
	var got []string
	for _, e := range auditFor(v, auth.Caller{Role: auth.Admin}, &labv1.ListAuditRequest{}) {
		got = append(got, e.GetMethod())
	}
	if !slices.Equal(got, []string{"before", "since", "refused since"}) || v.counter(counterAudit) != 2 || v.counter(counterRefusals) != 1 {
		t.Errorf("%q, %d and %d counted", got, v.counter(counterAudit), v.counter(counterRefusals))
	}
}

// Two owners take each other out at once: the first command holds, and the second comes from somebody who is no owner any more.
// Nor does a share count that was on its way, whereas who leaves needs nobody's leave.
func TestMembersAreChangedByOwners(t *testing.T) {
	m := newMachine(t)
	m.want("", &controlv1.ImportPeople{People: []*controlv1.ImportPerson{person("ann", auth.Student), person("bob", auth.Student), person("cat", auth.Student)}})
	m.want("", &controlv1.CreateLab{LabId: "l1", Owner: "ann", Spec: createLab("x").GetSpec()})
	by := func(who string, kind any) *Refusal {
		t.Helper()
		cmd := command(t, "", kind)
		cmd.By, cmd.Method = who, "SharingService.UnshareLab"
		m.index++
		db, _ := m.fsm.store.current()
		res, err := apply(db, m.index, cmd)
		if err != nil {
			t.Fatal(err)
		}
		return res.refused
	}
	share := func(who, with string, role labv1.LabRole) *Refusal {
		return by(who, &controlv1.ShareLab{LabId: "l1", Member: &labv1.LabMember{Person: with, Role: role}})
	}
	const owner, viewer = labv1.LabRole_LAB_ROLE_OWNER, labv1.LabRole_LAB_ROLE_VIEWER
	for _, refused := range []*Refusal{share("ann", "bob", owner), share("ann", "cat", owner), share("bob", "cat", viewer),
		by("bob", &controlv1.UnshareLab{LabId: "l1", Person: "cat", Role: owner})} {
		if refused != nil {
			t.Fatal(refused)
		}
	}
	for what, refused := range map[string]*Refusal{
		"cat takes bob out":  by("cat", &controlv1.UnshareLab{LabId: "l1", Person: "bob"}),
		"cat shares it":      share("cat", "cat", owner),
		"cat, a viewer, too": by("cat", &controlv1.UnshareLab{LabId: "l1", Person: "ann"}),
	} {
		if refused == nil || refused.Reason != labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED {
			t.Errorf("%s: %v", what, refused)
		}
	}
	if refused := by("cat", &controlv1.UnshareLab{LabId: "l1", Person: "cat"}); refused != nil {
		t.Errorf("cat leaves: %v", refused)
	}
	if refused := share("cat", "cat", owner); refused == nil || refused.Reason != labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND {
		t.Errorf("cat, a stranger: %v", refused)
	}
	if got := m.fsm.store.view().lab("l1").GetMembers(); len(got) != 1 || got[0].GetPerson() != "bob" {
		t.Errorf("members: %v", got)
	}
}
