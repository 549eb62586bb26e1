package orchestrator

import (
	"errors"
	"fmt"

	labv1 "labd.dev/proto/lab/v1"
)

// maxNodes bounds a lab that one worker is given; a node takes about 20 kB there.
const maxNodes = 100_000

// checkLab refuses a lab that no worker could build. field is where the specification lies in the request.
func checkLab(field string, spec *labv1.LabSpec) error {
	if spec == nil {
		return invalid(field, "say which lab")
	}
	if !runName.MatchString(spec.GetName()) {
		return invalid(field+".name", "%q is no name: a-z, 0-9 and -, 1 to 63 characters", spec.GetName())
	}
	if len(spec.GetNodes()) > maxNodes {
		return overQuota("nodes in a lab", maxNodes)
	}
	return nil
}

// checkInput refuses an input that names what the lab has not.
func checkInput(spec *labv1.LabSpec, in *labv1.Input) error {
	if in.GetKind() == nil {
		return invalid("input", "say which input")
	}
	for _, ref := range inputNodes(in) {
		if !hasNode(spec, ref.node) {
			return &Refusal{
				Reason:     labv1.ErrorReason_ERROR_REASON_NODE_NOT_FOUND,
				Message:    noNode(spec, ref.node).Error(),
				Violations: []Violation{{Field: ref.field, Description: "no such node"}},
			}
		}
	}
	return nil
}

// nodeRef is a field that must name a node.
type nodeRef struct{ field, node string }

func inputNodes(in *labv1.Input) []nodeRef {
	switch k := in.GetKind().(type) {
	case *labv1.Input_Transfer:
		return []nodeRef{{"transfer.from", k.Transfer.GetFrom()}, {"transfer.to", k.Transfer.GetTo()}}
	case *labv1.Input_HttpGet:
		return []nodeRef{{"http_get.from", k.HttpGet.GetFrom()}}
	case *labv1.Input_Udp:
		return []nodeRef{{"udp.from", k.Udp.GetFrom()}, {"udp.to", k.Udp.GetTo()}}
	case *labv1.Input_Ping:
		return []nodeRef{{"ping.from", k.Ping.GetFrom()}}
	case *labv1.Input_Traceroute:
		return []nodeRef{{"traceroute.from", k.Traceroute.GetFrom()}}
	}
	return nil
}

// elementPath is the field path of a list's element.
func elementPath(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

// within puts a path before the fields of a refusal.
func within(path string, err error) error {
	var r *Refusal
	if !errors.As(err, &r) {
		return err
	}
	inner := *r
	inner.Message = path + ": " + r.Message
	inner.Violations = nil
	for _, v := range r.Violations {
		inner.Violations = append(inner.Violations, Violation{Field: path + "." + v.Field, Description: v.Description})
	}
	return &inner
}
