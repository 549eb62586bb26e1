package orchestrator

import (
	"cmp"
	"errors"
	"fmt"
	"math"

	"github.com/hashicorp/go-memdb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// Bounds of what all people have together, checked when a command is applied, so that no two that were proposed at once can
// pass them together. What one person may have is in quota.go.
const (
	// maxLabs bounds the standing labs; a lab of two hosts takes some tens of kB here.
	maxLabs = 10_000
	// maxRuns bounds the runs that are kept, each with a directory on a worker's disk.
	maxRuns = 10_000
	// maxInputs bounds one lab's journal: every one is replayed when the lab is rebuilt.
	maxInputs = 100_000
	// maxFiles and maxFilesBytes bound uploaded content.
	maxFiles      = 100_000
	maxFilesBytes = 16 << 30
	// keptRequests is for how many further log entries a carried out request is remembered, so that its repetition is
	// not: at 2,000 commits a second, 50 s of them, longer than a client retries.
	keptRequests = 100_000
	// keptResults bounds what of a run's results is kept in Raft; its directory holds them all.
	keptResults = 1_000
)

// applier applies one command to one write transaction. Nothing that it decides depends on anything but the two.
type applier struct {
	txn   *memdb.Txn
	view  view
	index uint64 // of the command in the Raft log
	now   int64  // the proposer's wall clock, ns since 1970
	by    string // person who asked for it; empty: nobody in particular
	from  string // where the person called from
	wrote bool
	made  memdb.Changes // of what is watched
}

// result is what applying a command came to: an outcome, or why nothing was changed.
type result struct {
	outcome  *controlv1.RequestOutcome
	repeated bool // the request was carried out before; outcome is of then
	refused  *Refusal
	changes  []keptChange // for whoever watches
}

// errUnknownCommand means that the log was written by a newer version. Going on without the command would make this
// server's state differ from the others'.
var errUnknownCommand = errors.New("the log holds a command that this version does not know; a newer labd has written it")

// apply carries a command out. An error stops the server.
func apply(db *memdb.MemDB, index uint64, cmd *controlv1.Command) (result, error) {
	txn := db.Txn(true)
	defer txn.Abort()
	res, wrote, err := applyWithin(txn, index, cmd)
	switch {
	case err != nil:
	case res.refused != nil && wrote:
		txn.Abort()
		noteRefusal(db, index, cmd, res.refused)
	default:
		txn.Commit()
	}
	return res, err
}

// applyAll carries commands out in one transaction, which costs less than one for each. It is not done, and nothing is changed,
// where one of them can only be undone with the others: then each is to be applied by itself.
func applyAll(db *memdb.MemDB, indexes []uint64, cmds []*controlv1.Command) (all []result, done bool) {
	txn := db.Txn(true)
	defer txn.Abort()
	for i, cmd := range cmds {
		res, wrote, err := applyWithin(txn, indexes[i], cmd)
		if err != nil || res.refused != nil && wrote {
			return nil, false
		}
		all = append(all, res)
	}
	txn.Commit()
	return all, true
}

// applyWithin carries a command out in a transaction, and tells whether it has written anything: a command that is refused
// may have. That it was is in the audit otherwise, and counts as nothing written.
func applyWithin(txn *memdb.Txn, index uint64, cmd *controlv1.Command) (res result, wrote bool, err error) {
	a := &applier{txn: txn, view: view{txn: txn}, index: index, now: cmd.GetNowUnixNs(), by: cmd.GetBy(), from: cmd.GetFrom()}
	kind := kindOf(cmd)
	if kind == "" {
		return result{}, false, errUnknownCommand
	}
	if past := a.view.request(cmd.GetRequestId(), index); past != nil {
		return repeated(past, kind), false, nil
	}
	lab, object := objectOf(a.view, cmd)
	outcome, refused := a.dispatch(cmd)
	if refused != nil {
		if a.wrote {
			return result{refused: refused}, true, nil
		}
		a.noteCommand(cmd, lab, object, refused)
		return result{refused: refused}, false, nil
	}
	a.noteCommand(cmd, lab, object, nil)
	outcome.Kind = kind
	if cmd.GetRequestId() != "" {
		a.remember(&controlv1.RequestState{RequestId: cmd.GetRequestId(), RaftIndex: index, Outcome: outcome, Refusal: cmd.GetVoidRequest().GetRefusal()})
	}
	return result{outcome: outcome, changes: changesOf(a.view, kind, index, a.made)}, a.wrote, nil
}

// kindOf names a command's kind as its field is named; empty if this version does not know it.
func kindOf(cmd *controlv1.Command) string {
	m := cmd.ProtoReflect()
	if fd := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind")); fd != nil && len(m.GetUnknown()) == 0 {
		return string(fd.Name())
	}
	return ""
}

// repeated answers a request that was carried out before, or was over without.
func repeated(past *controlv1.RequestState, kind string) result {
	switch was := past.GetOutcome().GetKind(); {
	case past.GetRefusal() != nil, was == kindVoid && kind != kindVoid:
		return result{refused: voided(past)}
	case was != kind && kind != kindVoid:
		return result{refused: refuse(labv1.ErrorReason_ERROR_REASON_REQUEST_ID_REUSED,
			"the request id was used before, for another kind of request")}
	}
	return result{outcome: past.GetOutcome(), repeated: true}
}

func (a *applier) dispatch(cmd *controlv1.Command) (*controlv1.RequestOutcome, *Refusal) {
	switch k := cmd.GetKind().(type) {
	case *controlv1.Command_CreateLab:
		return a.createLab(k.CreateLab)
	case *controlv1.Command_DeleteLab:
		return a.deleteLab(k.DeleteLab)
	case *controlv1.Command_AssignLab:
		return a.assignLab(k.AssignLab)
	case *controlv1.Command_AppendInput:
		return a.appendInput(k.AppendInput)
	case *controlv1.Command_MarkReached:
		return a.markReached(k.MarkReached)
	case *controlv1.Command_CreateRun:
		return a.createRun(k.CreateRun)
	case *controlv1.Command_EndRun:
		return a.endRun(k.EndRun)
	case *controlv1.Command_DeleteRun:
		return a.deleteRun(k.DeleteRun)
	case *controlv1.Command_AddFile:
		return a.addFile(k.AddFile)
	case *controlv1.Command_DropFiles:
		return a.dropFiles(k.DropFiles)
	case *controlv1.Command_WorkerUp:
		return a.workerUp(k.WorkerUp)
	case *controlv1.Command_WorkerDown:
		return a.workerDown(k.WorkerDown)
	case *controlv1.Command_DrainWorker:
		return a.drainWorker(k.DrainWorker)
	case *controlv1.Command_ReleaseLab:
		return a.releaseLab(k.ReleaseLab)
	case *controlv1.Command_RemakeRun:
		return a.remakeRun(k.RemakeRun)
	case *controlv1.Command_RunRemade:
		return a.runRemade(k.RunRemade)
	case *controlv1.Command_FoundCluster:
		return a.foundCluster(k.FoundCluster)
	case *controlv1.Command_ShareLab:
		return a.shareLab(k.ShareLab)
	case *controlv1.Command_UnshareLab:
		return a.unshareLab(k.UnshareLab)
	case *controlv1.Command_AppendAudit:
		return a.appendAudit(k.AppendAudit)
	case *controlv1.Command_VoidRequest:
		return &controlv1.RequestOutcome{}, nil // which is remembered
	default:
		return a.dispatchIdentity(cmd)
	}
}

func (a *applier) createLab(c *controlv1.CreateLab) (*controlv1.RequestOutcome, *Refusal) {
	return a.addLab(c, nil)
}

// addLab makes a lab. What it names its giver has brought, or the lab names that it is made after, if there is one.
func (a *applier) addLab(c *controlv1.CreateLab, after *controlv1.LabState) (*controlv1.RequestOutcome, *Refusal) {
	if a.view.labNamed(c.GetOwner(), c.GetSpec().GetName()) != nil {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_EXISTS, "a lab %q is there already", c.GetSpec().GetName())
	}
	if refused := a.view.lacks(a.by, after, specFiles(c.GetSpec())); refused != nil {
		return nil, refused
	}
	if refused := cmp.Or(a.view.within(c.GetOwner(), moreForLab(c.GetSpec())), a.view.roomToRecord(c.GetOwner(), c.GetRecorded())); refused != nil {
		return nil, refused
	}
	if !a.count(counterLabs, +1, maxLabs) {
		return nil, overQuota("labs", maxLabs)
	}
	a.insert(tableLabs, &controlv1.LabState{
		Id: c.GetLabId(), Spec: c.GetSpec(), CreatedUnixNs: a.now, Workers: c.GetWorkers(), Epoch: 1,
		Owner: c.GetOwner(), ConnectionsAtMost: c.GetConnectionsAtMost(),
	})
	return &controlv1.RequestOutcome{LabId: c.GetLabId()}, nil
}

func (a *applier) deleteLab(c *controlv1.DeleteLab) (*controlv1.RequestOutcome, *Refusal) {
	lab := a.view.lab(c.GetLabId())
	if lab == nil {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "the lab is gone")
	}
	a.deleteInputs(lab.GetId())
	a.remove(tableLabs, lab)
	a.count(counterLabs, -1, maxLabs)
	return &controlv1.RequestOutcome{LabId: lab.GetId()}, nil
}

func (a *applier) assignLab(c *controlv1.AssignLab) (*controlv1.RequestOutcome, *Refusal) {
	if lab := a.view.lab(c.GetLabId()); lab != nil && lab.GetEpoch() == c.GetEpoch() {
		a.insert(tableLabs, with(lab, func(l *controlv1.LabState) {
			l.Epoch, l.Workers = lab.GetEpoch()+1, c.GetWorkers()
			l.ReachedNs = max(lab.GetReachedNs(), c.GetReachedNs())
		}))
	} else if run := a.view.run(c.GetLabId()); run != nil && run.GetEpoch() == c.GetEpoch() && live(run) {
		a.insert(tableRuns, with(run, func(r *controlv1.RunState) {
			r.Epoch, r.Workers = run.GetEpoch()+1, c.GetWorkers()
			r.ReachedNs = max(run.GetReachedNs(), c.GetReachedNs())
		}))
	} else {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "the lab is gone or was given away meanwhile")
	}
	return &controlv1.RequestOutcome{LabId: c.GetLabId()}, nil
}

// live tells whether a run is to run: it has not ended, or its files are being made again.
func live(run *controlv1.RunState) bool { return run.GetEndedUnixNs() == 0 || run.GetRemaking() }

func (a *applier) appendInput(c *controlv1.AppendInput) (*controlv1.RequestOutcome, *Refusal) {
	lab, run := a.view.lab(c.GetLabId()), a.view.run(c.GetLabId())
	there := lab != nil && lab.GetEpoch() == c.GetEpoch() || run != nil && run.GetEpoch() == c.GetEpoch() && run.GetEndedUnixNs() == 0
	if !there {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "the lab is gone, or was rebuilt meanwhile")
	}
	index, journaled := c.GetEntry().GetIndex(), a.view.journaled(c.GetLabId())
	if journaled >= maxInputs {
		return nil, overQuota("inputs of a lab", maxInputs)
	}
	if index != journaled+1 {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_WORKER,
			"the worker stamped input %d after input %d", index, journaled)
	}
	if refused := a.view.lacks(a.by, lab, inputFiles(c.GetEntry().GetInput())); refused != nil {
		return nil, refused
	}
	if refused := a.view.fixed(c.GetLabId(), c.GetEntry().GetInput()); refused != nil {
		return nil, refused
	}
	if refused := a.view.mayGrow(lab, c.GetEntry().GetInput()); refused != nil {
		return nil, refused
	}
	a.journal(c.GetLabId(), c.GetEntry())
	if lab != nil {
		spec, changes := specAfter(lab, c.GetEntry().GetInput())
		if changes || lab.GetStopsUnixNs() != 0 {
			a.insert(tableLabs, with(lab, func(l *controlv1.LabState) {
				if l.StopsUnixNs = 0; changes {
					l.ChangedSpec = spec
				}
			}))
		}
	}
	return &controlv1.RequestOutcome{
		LabId:    c.GetLabId(),
		Stamp:    &labv1.Stamp{Index: index, TNs: c.GetEntry().GetTNs()},
		ObjectId: inputID(c.GetEntry().GetInput()),
	}, nil
}

// journal adds inputs to a journal, with who has given them.
func (a *applier) journal(labID string, more ...*labv1.JournalEntry) {
	if len(more) == 0 {
		return
	}
	inputs := a.view.journal(labID)
	for _, e := range more {
		in := &controlv1.InputState{LabId: labID, Entry: e, By: a.by, From: a.from, AtUnixNs: a.now}
		inputs = append(inputs, in)
		a.made = append(a.made, memdb.Change{Table: tableJournals, After: in})
	}
	a.insert(tableJournals, &journalRow{labID: labID, inputs: inputs})
}

func (a *applier) markReached(c *controlv1.MarkReached) (*controlv1.RequestOutcome, *Refusal) {
	for _, m := range c.GetMarks() {
		if lab := a.view.lab(m.GetLabId()); lab != nil && lab.GetEpoch() == m.GetEpoch() {
			a.insert(tableLabs, with(lab, func(l *controlv1.LabState) { l.ReachedNs = max(lab.GetReachedNs(), m.GetTNs()) }))
		}
		if run := a.view.run(m.GetLabId()); run != nil && run.GetEpoch() == m.GetEpoch() && run.GetEndedUnixNs() == 0 {
			a.insert(tableRuns, with(run, func(r *controlv1.RunState) { r.ReachedNs = max(run.GetReachedNs(), m.GetTNs()) }))
		}
	}
	return &controlv1.RequestOutcome{}, nil
}

func (a *applier) createRun(c *controlv1.CreateRun) (*controlv1.RequestOutcome, *Refusal) {
	files := specFiles(c.GetSpec())
	for _, e := range c.GetJournal() {
		files = append(files, inputFiles(e.GetInput())...)
	}
	if refused := a.view.lacks(a.by, nil, files); refused != nil {
		return nil, refused
	}
	if refused := cmp.Or(a.view.within(c.GetOwner(), moreForRun(c.GetSpec())), a.view.roomToRecord(c.GetOwner(), c.GetRecorded())); refused != nil {
		return nil, refused
	}
	if refused := atOnce(c.GetJournal(), c.GetConnectionsAtMost()); refused != nil {
		return nil, refused
	}
	if !a.count(counterRuns, +1, maxRuns) {
		return nil, overQuota("runs", maxRuns)
	}
	if len(c.GetJournal()) > maxInputs {
		return nil, overQuota("inputs of a run", maxInputs)
	}
	a.count(ofOwner(counterRunNumbers, c.GetOwner()), +1, math.MaxUint64)
	number := a.view.counter(ofOwner(counterRunNumbers, c.GetOwner()))
	id := cmp.Or(c.GetRunId(), fmt.Sprintf("%s-%d", c.GetName(), number))
	a.journal(id, c.GetJournal()...)
	a.insert(tableRuns, &controlv1.RunState{
		Owner: c.GetOwner(),
		Id:    id, Name: c.GetName(), Spec: c.GetSpec(), EndNs: c.GetEndNs(), Capture: c.GetCapture(), LabYaml: c.GetLabYaml(),
		Manifest: c.GetManifest(), CreatedUnixNs: a.now, Workers: c.GetWorkers(), Epoch: 1,
		Number: number, ConnectionsAtMost: c.GetConnectionsAtMost(),
	})
	return &controlv1.RequestOutcome{LabId: id}, nil
}

// endRun keeps a run's result. What it was made of stays too, so that its files can be made again.
func (a *applier) endRun(c *controlv1.EndRun) (*controlv1.RequestOutcome, *Refusal) {
	run := a.view.run(c.GetRunId())
	if run == nil {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_RUN_NOT_FOUND, "the run is gone")
	}
	if c.GetEpoch() != 0 && c.GetEpoch() != run.GetEpoch() {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_NOT_FOUND, "the run was given away meanwhile")
	}
	if run.GetEndedUnixNs() == 0 {
		a.insert(tableRuns, with(run, func(r *controlv1.RunState) { r.EndedUnixNs, r.Result = a.now, c.GetResult() }))
	}
	return &controlv1.RequestOutcome{LabId: run.GetId()}, nil
}

// remakeRun lets an ended run run once more.
func (a *applier) remakeRun(c *controlv1.RemakeRun) (*controlv1.RequestOutcome, *Refusal) {
	run := a.view.run(c.GetRunId())
	if run == nil {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_RUN_NOT_FOUND, "there is no run %q", c.GetRunId())
	}
	if run.GetEpoch() != c.GetEpoch() || live(run) {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_REMAKING, "the run's files are being made again")
	}
	if run.GetQuarantined() {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_LAB_QUARANTINED, "run %s is not made again: %s", run.GetId(), deathsText(run.GetDeaths()))
	}
	a.insert(tableRuns, with(run, func(r *controlv1.RunState) {
		r.Epoch, r.Workers, r.Remaking = run.GetEpoch()+1, c.GetWorkers(), true
	}))
	return &controlv1.RequestOutcome{LabId: run.GetId()}, nil
}

func (a *applier) runRemade(c *controlv1.RunRemade) (*controlv1.RequestOutcome, *Refusal) {
	run := a.view.run(c.GetRunId())
	if run == nil || run.GetEpoch() != c.GetEpoch() {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_RUN_NOT_FOUND, "the run is gone, or was given away meanwhile")
	}
	a.insert(tableRuns, with(run, func(r *controlv1.RunState) { r.Remaking = false }))
	return &controlv1.RequestOutcome{LabId: run.GetId()}, nil
}

func (a *applier) deleteRun(c *controlv1.DeleteRun) (*controlv1.RequestOutcome, *Refusal) {
	run := a.view.run(c.GetRunId())
	if run == nil {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_RUN_NOT_FOUND, "there is no run %q", c.GetRunId())
	}
	a.deleteInputs(run.GetId())
	a.remove(tableRuns, run)
	a.count(counterRuns, -1, maxRuns)
	return &controlv1.RequestOutcome{LabId: run.GetId()}, nil
}

// remember keeps a request's outcome, for as long as it may be repeated.
func (a *applier) remember(r *controlv1.RequestState) {
	row := get[requestRow](a.view, tableRequests, "id", requestRowKey(r.GetRequestId()))
	a.insert(tableRequests, row.with(r))
}

// count changes a counter unless that would take it above a limit.
func (a *applier) count(name string, delta int64, limit uint64) bool {
	value := a.view.counter(name) + uint64(delta)
	if value > limit {
		return false
	}
	a.insert(tableCounters, &controlv1.CounterState{Name: name, Value: value})
	return true
}

// with gives a changed copy of an object. The copy shares what the change leaves alone, as objects never change.
func with[M proto.Message](object M, change func(M)) M {
	from := object.ProtoReflect()
	to := from.New()
	from.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		to.Set(fd, v)
		return true
	})
	to.SetUnknown(from.GetUnknown())
	changed := to.Interface().(M)
	change(changed)
	return changed
}

func (a *applier) deleteInputs(lab string) {
	if row := get[journalRow](a.view, tableJournals, "id", lab); row != nil {
		a.remove(tableJournals, row)
	}
}

func (a *applier) insert(table string, obj any) {
	a.note(table, obj, obj)
	if err := a.txn.Insert(table, obj); err != nil {
		panic(fmt.Sprintf("store: insert into %s: %v", table, err)) // an object without its key
	}
}

func (a *applier) remove(table string, obj any) {
	a.note(table, obj, nil)
	if err := a.txn.Delete(table, obj); err != nil {
		panic(fmt.Sprintf("store: delete from %s: %v", table, err))
	}
}

// note keeps a change of what is watched. The database could tell of all changes, but only of a whole transaction's.
func (a *applier) note(table string, obj, after any) {
	a.wrote = true
	key := watchedKey(obj)
	if key == nil {
		return
	}
	before, err := a.txn.First(table, "id", key...)
	if err != nil {
		panic(fmt.Sprintf("store: %s: %v", table, err)) // the schema and its use disagree
	}
	a.made = append(a.made, memdb.Change{Table: table, Before: before, After: after})
}
