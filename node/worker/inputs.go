package worker

import (
	"fmt"
	"regexp"
	"strconv"

	"labd.dev/internal/validate"
	"labd.dev/node"
	labv1 "labd.dev/proto/lab/v1"
)

// idName is what an input may be called; ids name files in the run directory.
var idName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// inputID is the input's own name; empty for those that have none.
func inputID(in *labv1.Input) string {
	if p, _ := idOf(in); p != nil {
		return *p
	}
	return ""
}

// idOf is where an input keeps its name, and the letter its kind is numbered under.
func idOf(in *labv1.Input) (id *string, letter string) {
	switch k := in.GetKind().(type) {
	case *labv1.Input_Transfer:
		return &k.Transfer.Id, "t"
	case *labv1.Input_HttpGet:
		return &k.HttpGet.Id, "t"
	case *labv1.Input_Udp:
		return &k.Udp.Id, "t"
	case *labv1.Input_Ping:
		return &k.Ping.Id, "p"
	case *labv1.Input_Traceroute:
		return &k.Traceroute.Id, "p"
	case *labv1.Input_Send:
		return &k.Send.Id, "p"
	case *labv1.Input_Fault:
		return &k.Fault.Id, "f"
	}
	return nil, ""
}

// names remembers what the inputs of a lab are called and numbers those that come without a name.
type names struct {
	used map[string]bool
	next map[string]int // by letter
}

func newNames() *names { return &names{used: map[string]bool{}, next: map[string]int{}} }

// assign fills in the input's id if it is empty, and claims it.
func (n *names) assign(in *labv1.Input) error {
	id, letter := idOf(in)
	if id == nil {
		return nil
	}
	for *id == "" {
		n.next[letter]++
		if s := letter + strconv.Itoa(n.next[letter]); !n.used[s] {
			*id = s
		}
	}
	if !idName.MatchString(*id) {
		return fmt.Errorf("%w: id %q: letters, digits, '_', '.' and '-' only, at most 64", errBadRequest, *id)
	}
	if n.used[*id] {
		return fmt.Errorf("%w: there is a %q in this lab", errExists, *id)
	}
	n.used[*id] = true
	return nil
}

// check refuses an input that names what the lab does not have, or asks for what cannot be.
func (l *lab) check(in *labv1.Input) error {
	if err := l.checkNames(in); err != nil {
		return err
	}
	return violations(validate.Input(l.spec, in))
}

func (l *lab) checkNames(in *labv1.Input) error {
	switch k := in.GetKind().(type) {
	case nil:
		return fmt.Errorf("%w: an input of no kind", errBadRequest)
	case *labv1.Input_Transfer:
		if err := l.checkTarget("transfer", k.Transfer.GetFrom(), k.Transfer.GetTo(), k.Transfer.GetFamily()); err != nil {
			return err
		}
		return l.checkFile(k.Transfer.GetFile())
	case *labv1.Input_HttpGet:
		return l.checkNodes("http_get", k.HttpGet.GetFrom())
	case *labv1.Input_Udp:
		return l.checkTarget("udp", k.Udp.GetFrom(), k.Udp.GetTo(), k.Udp.GetFamily())
	case *labv1.Input_Ping:
		return l.checkTarget("ping", k.Ping.GetFrom(), k.Ping.GetTo(), k.Ping.GetFamily())
	case *labv1.Input_Traceroute:
		return l.checkTarget("traceroute", k.Traceroute.GetFrom(), k.Traceroute.GetTo(), k.Traceroute.GetFamily())
	case *labv1.Input_Send:
		return l.checkNodes("send", k.Send.GetFrom())
	case *labv1.Input_Fault:
		return l.checkFault(k.Fault)
	case *labv1.Input_Apply:
		return l.checkApply(k.Apply)
	case *labv1.Input_LinkSet:
		return l.checkLinkSet(k.LinkSet)
	case *labv1.Input_ClearFault:
		if !l.activeFault(k.ClearFault.GetId()) {
			return fmt.Errorf("%w: no fault %q is in force", errNotFound, k.ClearFault.GetId())
		}
	}
	return nil
}

func (l *lab) checkNodes(what string, names ...string) error {
	for i, n := range names {
		if _, ok := l.plan.Node(n); !ok {
			return fmt.Errorf("%w: %s.%s: there is no node %q", errNotFound, what, [...]string{"from", "to"}[i], n)
		}
	}
	return nil
}

func (l *lab) checkTarget(what, from, to string, family labv1.Family) error {
	if err := l.checkNodes(what, from); err != nil {
		return err
	}
	if _, ok := l.plan.Resolve(to, family); !ok {
		return fmt.Errorf("%w: %s.to: %q is neither a node with such an address nor one itself", errNotFound, what, to)
	}
	return nil
}

func (l *lab) checkFile(f *labv1.FileRef) error {
	if f == nil {
		return nil
	}
	_, err := l.blob(f.GetSha256())
	return err
}

func (l *lab) checkFault(f *labv1.Fault) error {
	if f.GetEffect() == nil {
		return fmt.Errorf("%w: a fault without an effect", errBadRequest)
	}
	if err := node.CheckFault(f); err != nil {
		return fmt.Errorf("%w: %w", errBadRequest, err)
	}
	if f.GetNode() != "" {
		return l.checkNodes("fault.node", f.GetNode())
	}
	if _, ok := l.plan.Link(f.GetLink()); !ok {
		return fmt.Errorf("%w: fault.link: there is no link %q", errNotFound, f.GetLink())
	}
	return nil
}

func (l *lab) activeFault(id string) bool {
	for _, e := range l.waiting {
		if e.GetInput().GetFault() != nil && inputID(e.GetInput()) == id {
			return true
		}
	}
	for _, f := range l.net.FaultStatus(l.x.now()) {
		if f.Id == id && f.Active {
			return true
		}
	}
	return false
}
