package orchestrator

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"labd.dev/internal/validate"
	labv1 "labd.dev/proto/lab/v1"
)

// checkLab refuses a lab that breaks a rule. field is where the specification lies in the request.
func checkLab(field string, spec *labv1.LabSpec) error {
	if spec == nil {
		return invalid(field, "say which lab")
	}
	return violations(field, validate.Lab(spec))
}

// checkInput refuses an input that breaks a rule. field is where it lies in the request.
func checkInput(field string, spec *labv1.LabSpec, in *labv1.Input) error {
	return violations(field, validate.Input(spec, in))
}

// violations makes one refusal of all that is wrong; nil if nothing is.
func violations(field string, list []validate.Violation) error {
	if len(list) == 0 {
		return nil
	}
	r := &Refusal{Reason: labv1.ErrorReason_ERROR_REASON_INVALID}
	var lines []string
	for _, v := range list {
		lines = append(lines, v.Error())
		r.Violations = append(r.Violations, Violation{Field: join(field, v.Path), Description: describe(v)})
	}
	r.Message = strings.Join(lines, "\n")
	return r
}

func describe(v validate.Violation) string {
	if v.Suggestion == "" {
		return v.Message
	}
	return fmt.Sprintf("%s; did you mean %s?", v.Message, v.Suggestion)
}

// checkNames refuses an input that names a node or a link that the lab has not. What is left empty is for checkInput.
func checkNames(spec *labv1.LabSpec, in *labv1.Input) error {
	for _, name := range inputNodes(in) {
		if name != "" && !hasNode(spec, name) {
			return noNode(spec, name)
		}
	}
	link := in.GetFault().GetLink() + in.GetLinkSet().GetLink()
	if link == "" {
		return nil
	}
	if forward, reverse := findLink(spec, link); forward != nil || reverse != nil {
		return nil
	}
	return noLink(spec.GetName(), link, validate.LinkNames(spec))
}

// inputNodes lists the nodes that an input names.
func inputNodes(in *labv1.Input) []string {
	switch k := in.GetKind().(type) {
	case *labv1.Input_Transfer:
		return []string{k.Transfer.GetFrom(), k.Transfer.GetTo()}
	case *labv1.Input_HttpGet:
		return []string{k.HttpGet.GetFrom()}
	case *labv1.Input_Udp:
		return []string{k.Udp.GetFrom(), k.Udp.GetTo()}
	case *labv1.Input_Ping:
		return []string{k.Ping.GetFrom(), nodeName(k.Ping.GetTo())}
	case *labv1.Input_Traceroute:
		return []string{k.Traceroute.GetFrom(), nodeName(k.Traceroute.GetTo())}
	case *labv1.Input_Send:
		return []string{k.Send.GetFrom()}
	case *labv1.Input_Fault:
		return []string{k.Fault.GetNode()}
	}
	return nil
}

// nodeName is the node that a target names; empty if it is an address.
func nodeName(target string) string {
	if _, err := netip.ParseAddr(target); err == nil {
		return ""
	}
	return target
}

func hasNode(spec *labv1.LabSpec, name string) bool {
	return slices.ContainsFunc(spec.GetNodes(), func(n *labv1.NodeSpec) bool { return n.GetName() == name })
}

func noNode(spec *labv1.LabSpec, name string) error {
	return refuse(labv1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND, "lab %q has no node %q%s", spec.GetName(), name, insteadOf(name, nodeNames(spec)))
}

func nodeNames(spec *labv1.LabSpec) []string {
	var names []string
	for _, n := range spec.GetNodes() {
		names = append(names, n.GetName())
	}
	return names
}

func noLink(lab, name string, names []string) error {
	return refuse(labv1.ErrorReason_ERROR_REASON_LINK_NOT_FOUND, "lab %q has no link %q%s", lab, name, insteadOf(name, names))
}

// insteadOf says what may have been meant, or what there is.
func insteadOf(name string, names []string) string {
	const shown = 8
	if near := validate.Nearest(name, names); near != "" {
		return fmt.Sprintf("; did you mean %s?", near)
	}
	if len(names) <= shown {
		return "; it has " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("; it has %s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}

// elementPath is the field path of a list's element.
func elementPath(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// within puts a path before the message of a refusal.
func within(path string, err error) error {
	var r *Refusal
	if !errors.As(err, &r) {
		return err
	}
	inner := *r
	inner.Message = path + ": " + r.Message
	return &inner
}
