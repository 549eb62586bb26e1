package orchestrator

import (
	"fmt"
	"strings"

	"github.com/hashicorp/go-memdb"

	controlv1 "labd.dev/proto/control/v1"
)

// The audit is written by whoever applies the log, so that every server has the same, and no change is without its entry.
// What was carried out and what was refused are kept apart, so that no flood of refusals pushes changes out.
const (
	// keptAudit bounds what was carried out, and keptRefusals what was refused; an entry takes some 200 bytes. A class of 300
	// makes some 30,000 changes a week.
	keptAudit    = 100_000
	keptRefusals = 20_000
	// maxAuditText bounds each text of an entry.
	maxAuditText = 200
)

// resultOK is the result of what was carried out.
const resultOK = "OK"

// Counters of the audit.
const (
	counterAudit     = "audit"                  // entries kept of what was carried out
	counterRefusals  = "audit_refusals"         // entries kept of what was refused
	counterForgotten = "audit_forgotten"        // entries that are no longer kept
	counterUnnoted   = "audit_refusals_unnoted" // refusals that were too many to note
)

// noteRefusal writes the entry of a command that was refused, of which nothing else stays.
func noteRefusal(db *memdb.MemDB, index uint64, cmd *controlv1.Command, refused *Refusal) {
	txn := db.Txn(true)
	defer txn.Abort()
	a := &applier{txn: txn, view: view{txn: txn}, index: index, now: cmd.GetNowUnixNs()}
	lab, object := objectOf(a.view, cmd)
	a.noteCommand(cmd, lab, object, refused)
	txn.Commit()
}

// noteCommand writes the entry of a command that somebody asked for.
func (a *applier) noteCommand(cmd *controlv1.Command, lab, object string, refused *Refusal) {
	if cmd.GetMethod() == "" {
		return // the controller's own
	}
	e := &controlv1.AuditState{TimeUnixNs: a.now, Person: cmd.GetBy(), TokenId: cmd.GetTokenId(), From: cmd.GetFrom(), Method: cmd.GetMethod(),
		Lab: lab, Object: object, Result: resultOK}
	if refused != nil {
		e.Result, e.Detail = reasonName(refused.Reason), refused.Message
	}
	a.keepAudit(e, 0)
}

// keepAudit adds an entry, and lets go of the oldest of its kind that is too many.
func (a *applier) keepAudit(e *controlv1.AuditState, part uint32) {
	e.Index, e.Part = a.index, part
	for _, text := range []*string{&e.Person, &e.TokenId, &e.From, &e.Method, &e.Lab, &e.Object, &e.Result, &e.Detail} {
		*text = cutText(*text, maxAuditText)
	}
	a.insert(tableAudit, e)
	counter, most := counterAudit, uint64(keptAudit)
	if e.GetResult() != resultOK {
		counter, most = counterRefusals, keptRefusals
	}
	if a.count(counter, +1, most) {
		return
	}
	a.remove(tableAudit, oldestAudit(a.view, e.GetResult() != resultOK))
	a.count(counterForgotten, +1, 1<<63)
}

// oldestAudit is the oldest entry of what was refused, or of what was not.
func oldestAudit(v view, refused bool) *controlv1.AuditState {
	it := auditAfter(v, refused, 0)
	return it.Next().(*controlv1.AuditState)
}

// auditAfter gives the entries of a kind behind an entry of the log.
func auditAfter(v view, refused bool, index uint64) memdb.ResultIterator {
	it, err := v.txn.LowerBound(tableAudit, "id", refused, index+1)
	if err != nil {
		panic(fmt.Sprintf("store: audit: %v", err))
	}
	return it
}

// appendAudit notes what was refused before it came to be a command.
func (a *applier) appendAudit(c *controlv1.AppendAudit) (*controlv1.RequestOutcome, *Refusal) {
	for i, e := range c.GetEntries() {
		a.keepAudit(with(e, func(*controlv1.AuditState) {}), uint32(i))
	}
	a.count(counterUnnoted, int64(c.GetUnnoted()), 1<<63)
	return &controlv1.RequestOutcome{}, nil
}

// objectOf is which lab or run a command is about, as people name it, and what else.
func objectOf(v view, cmd *controlv1.Command) (lab, object string) {
	switch k := cmd.GetKind().(type) {
	case *controlv1.Command_CreateLab:
		lab = fullName(k.CreateLab.GetOwner(), k.CreateLab.GetSpec().GetName())
	case *controlv1.Command_DeleteLab:
		lab = labelOf(v, k.DeleteLab.GetLabId())
	case *controlv1.Command_AppendInput:
		e := k.AppendInput.GetEntry()
		lab = labelOf(v, k.AppendInput.GetLabId())
		object = strings.TrimSpace(fmt.Sprintf("input %d %s", e.GetIndex(), inputID(e.GetInput())))
	case *controlv1.Command_CreateRun:
		object = "run " + k.CreateRun.GetName()
	case *controlv1.Command_DeleteRun:
		lab = labelOf(v, k.DeleteRun.GetRunId())
	case *controlv1.Command_ShareLab:
		m := k.ShareLab.GetMember()
		lab, object = labelOf(v, k.ShareLab.GetLabId()), "user "+m.GetPerson()+" as "+labRoleName(m.GetRole())
	case *controlv1.Command_UnshareLab:
		lab, object = labelOf(v, k.UnshareLab.GetLabId()), "user "+k.UnshareLab.GetPerson()
	case *controlv1.Command_ReleaseLab:
		lab = labelOf(v, k.ReleaseLab.GetLabId())
	case *controlv1.Command_AddFile:
		object = "file " + k.AddFile.GetSha256()
	case *controlv1.Command_DrainWorker:
		object = "worker " + k.DrainWorker.GetName()
	case *controlv1.Command_ImportPeople:
		object = fmt.Sprintf("%d users", len(k.ImportPeople.GetPeople()))
	case *controlv1.Command_UpdatePerson:
		object = "user " + k.UpdatePerson.GetName()
	case *controlv1.Command_RemovePerson:
		object = "user " + k.RemovePerson.GetName()
	case *controlv1.Command_AddToken:
		object = "token " + k.AddToken.GetToken().GetId() + " of " + k.AddToken.GetToken().GetPerson()
	case *controlv1.Command_RotateToken:
		object = "token " + k.RotateToken.GetId()
	case *controlv1.Command_RevokeToken:
		object = "token " + k.RevokeToken.GetId()
	case *controlv1.Command_PublishTemplate:
		object = "template " + k.PublishTemplate.GetTemplate().GetName()
	case *controlv1.Command_DeleteTemplate:
		object = "template " + k.DeleteTemplate.GetName()
	case *controlv1.Command_StartInstance:
		c := k.StartInstance
		lab, object = fullName(c.GetPerson(), c.GetLab().GetSpec().GetName()), "template "+c.GetTemplate()
	case *controlv1.Command_SubmitInstance:
		lab, object = labelOf(v, k.SubmitInstance.GetLabId()), "template "+k.SubmitInstance.GetTemplate()
	case *controlv1.Command_RegradeTemplate:
		object = "template " + k.RegradeTemplate.GetName()
	case *controlv1.Command_SetQuota:
		object = quotaText(k.SetQuota)
	}
	return lab, object
}

// labelOf is a lab's or a run's name for people, by its id.
func labelOf(v view, id string) string {
	if lab := v.lab(id); lab != nil {
		return fullName(lab.GetOwner(), lab.GetSpec().GetName())
	}
	if run := v.run(id); run != nil {
		return fullName(run.GetOwner(), runCall(run))
	}
	return id
}

// fullName names a lab or a run whoever asks; without identity there are no owners.
func fullName(owner, name string) string {
	if owner == "" {
		return name
	}
	return owner + "/" + name
}
