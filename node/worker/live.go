package worker

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"labd.dev/internal/validate"
	"labd.dev/journal"
	"labd.dev/node"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/trace"
)

// checkApply refuses a specification that the lab cannot be changed to, and gives it its digest. It is held against the
// lab as it will be once all inputs so far have taken effect.
func (l *lab) checkApply(a *labv1.Apply) error {
	if err := violations(validate.Change(l.spec, a.GetSpec())); err != nil {
		return err
	}
	if _, err := node.CheckSpec(a.GetSpec(), l.plan, l.blob); err != nil {
		return fmt.Errorf("%w: %w", errBadRequest, err)
	}
	sum := sha256.Sum256(journal.EncodeInput(&labv1.Input{Kind: &labv1.Input_Apply{Apply: &labv1.Apply{Spec: a.GetSpec()}}}))
	if text := hex.EncodeToString(sum[:]); a.Sha256 == "" {
		a.Sha256 = text
	} else if a.Sha256 != text {
		return fmt.Errorf("%w: apply.sha256: the specification's is %s", errBadRequest, text)
	}
	return nil
}

func (l *lab) checkLinkSet(s *labv1.LinkSet) error {
	if err := node.CheckLinkSet(s); err != nil {
		return fmt.Errorf("%w: %w", errBadRequest, err)
	}
	if _, ok := l.plan.Link(s.GetLink()); !ok {
		return fmt.Errorf("%w: link_set.link: there is no link %q", errNotFound, s.GetLink())
	}
	return nil
}

// inputFiles is the content that an input names, as far as it is of use here.
func (l *lab) inputFiles(in *labv1.Input) []*labv1.FileRef {
	if f := in.GetTransfer().GetFile(); f != nil {
		return []*labv1.FileRef{f}
	}
	return l.specFiles(in.GetApply().GetSpec())
}

// specFiles is what the web servers of a lab's nodes serve; of a split lab, those of the nodes that are here, or may be.
func (l *lab) specFiles(spec *labv1.LabSpec) []*labv1.FileRef {
	var out []*labv1.FileRef
	for _, n := range spec.GetNodes() {
		if l.split != nil && !l.split.mayHave(n.GetName()) {
			continue
		}
		for _, a := range n.GetApps() {
			out = append(out, a.GetHttp().GetFiles()...)
		}
	}
	return out
}

// loadInput reads the content that an input names.
func (l *lab) loadInput(w *Worker, in *labv1.Input) error {
	before := l.blobBytes
	for _, f := range l.inputFiles(in) {
		if err := l.load(w, f.GetSha256()); err != nil {
			return err
		}
	}
	if in.GetTransfer() != nil {
		l.sentBytes += l.blobBytes - before
	}
	return nil
}

// foresee is the lab as it will be once a committed entry has taken effect: what later inputs are held against.
func (l *lab) foresee(e *labv1.JournalEntry) {
	a := e.GetInput().GetApply()
	if a == nil {
		return
	}
	if plan, err := node.Assign(a.GetSpec(), l.plan); err == nil {
		l.plan, l.spec = plan, a.GetSpec()
	}
}

// changed brings what follows the lab's nodes and links up to date after an apply. All loops are at rest.
func (l *lab) changed() error {
	plan := l.net.Plan()
	l.files.names = withNames(l.files.names, plan)
	for _, loop := range l.x.loops {
		loop.SetBudget(l.eventBudget(plan))
	}
	return l.files.taps.follow(plan, l.net.Nodes(), l.files.names)
}

// withNames is a table of names with those of a plan added. Who reads the old table meanwhile is not disturbed.
func withNames(n *trace.Names, p *node.Plan) *trace.Names {
	out := &trace.Names{Nodes: slices.Clone(n.Nodes), Directions: slices.Clone(n.Directions), Links: n.Links, Inputs: n.Inputs}
	put := func(table *[]string, id sim.Origin, name string) {
		for len(*table) <= int(id) {
			*table = append(*table, "")
		}
		(*table)[id] = name
	}
	for i := range p.Nodes {
		put(&out.Nodes, p.Nodes[i].ID, p.Nodes[i].Name)
	}
	for i := range p.Directions {
		put(&out.Directions, p.Directions[i].ID, p.Directions[i].Name)
	}
	return out
}

// allNames is the table of names that a run's trace begins with: of all nodes and links that the lab has and that the
// applies in its journal, which all are there before it begins, will add.
func allNames(plan *node.Plan, entries []*labv1.JournalEntry) *trace.Names {
	names := withNames(&trace.Names{}, plan)
	order := slices.Clone(entries)
	slices.SortStableFunc(order, func(a, b *labv1.JournalEntry) int {
		return cmp.Or(cmp.Compare(a.GetTNs(), b.GetTNs()), cmp.Compare(a.GetIndex(), b.GetIndex()))
	})
	for _, e := range order {
		if a := e.GetInput().GetApply(); a != nil {
			if next, err := node.Assign(a.GetSpec(), plan); err == nil {
				plan = next
				names = withNames(names, plan)
			}
		}
	}
	return names
}

// Budgets of a lab whose switches form a loop, unless its file sets others. Frames multiply there without end: at some
// 300 bytes each, half a million stay far below the memory that a lab may take, and end within a second.
const (
	stormPerSecond = 500_000
	stormPerLab    = 20_000_000
)

// eventBudget is what ends the lab's event storms.
func (l *lab) eventBudget(p *node.Plan) sim.Budget {
	b := l.req.GetSpec().GetBudget()
	out := sim.Budget{PerLab: b.GetPerLab(), PerSecond: b.GetPerSecond(), Memory: b.GetMemoryBytes(), ConnEnds: l.mostConnEnds()}
	if p.SwitchLoop() != nil {
		if out.PerLab == 0 {
			out.PerLab = stormPerLab
		}
		if out.PerSecond == 0 {
			out.PerSecond = stormPerSecond
		}
	}
	return out
}

// stormError tells a person what an exhausted budget means.
type stormError struct {
	*sim.BudgetError
	ring    []string // switches that form a loop
	busiest string
}

func (e *stormError) Error() string {
	who := fmt.Sprintf("%s makes %.0f%% of the last events", e.busiest, 100*e.Share)
	if len(e.ring) == 0 {
		return fmt.Sprintf("an event storm: %s (%v)", who, e.BudgetError)
	}
	return fmt.Sprintf("a broadcast storm: the switches %s form a loop, in which frames to all stations go round and multiply for "+
		"ever; take one of their links out (these switches speak no spanning tree protocol, which would block one). %s (%v)",
		strings.Join(e.ring, ", "), who, e.BudgetError)
}

func (e *stormError) Unwrap() error { return e.BudgetError }

// explain names what a budget's error knows by number.
func (l *lab) explain(err error) error {
	if c, ok := errors.AsType[*sim.ConnsError](err); ok {
		return l.tooManyConns(c.At)
	}
	b, ok := errors.AsType[*sim.BudgetError](err)
	if _, told := errors.AsType[*stormError](err); !ok || told {
		return err
	}
	names := l.files.names
	who := "direction " + names.Direction(uint32(b.Busiest))
	if int(b.Busiest) < len(names.Nodes) && names.Nodes[b.Busiest] != "" {
		who = "node " + names.Node(uint32(b.Busiest))
	}
	return &stormError{BudgetError: b, ring: l.net.Plan().SwitchLoop(), busiest: who}
}
