// Package sight is what a person may see of a lab and do in it, down to single nodes. Everything that a member of a lab asks
// is answered as if the lab consisted of what the member may view: what is not viewed is not refused, it is not there.
package sight

import (
	"path"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
)

// Place is what a person may see of a lab and do in it. A nil Place sees and does nothing.
type Place struct {
	owns     bool
	views    pattern // operates included
	operates pattern
}

// pattern picks nodes: all, or those that one of the names picks, in which * stands for any letters.
type pattern struct {
	all   bool
	names []string
}

func (p *pattern) add(names []string) {
	p.all = p.all || len(names) == 0
	p.names = append(p.names, names...)
}

func (p *pattern) picks(node string) bool {
	if p.all {
		return true
	}
	for _, name := range p.names {
		if ok, err := path.Match(name, node); ok && err == nil {
			return true
		}
	}
	return false
}

// Whole is the place of who owns a lab.
func Whole() *Place {
	return &Place{owns: true, views: pattern{all: true}, operates: pattern{all: true}}
}

// Of is the place of a person in a lab that is shared; nil: the person is not among its members.
func Of(person string, members []*labv1.LabMember) *Place {
	var p *Place
	for _, m := range members {
		if m.GetPerson() != person || person == "" {
			continue
		}
		if p == nil {
			p = &Place{}
		}
		switch m.GetRole() {
		case labv1.LabRole_LAB_ROLE_OWNER:
			return Whole()
		case labv1.LabRole_LAB_ROLE_OPERATOR:
			p.operates.add(m.GetNodes())
			p.views.add(m.GetNodes())
		case labv1.LabRole_LAB_ROLE_VIEWER:
			p.views.add(m.GetNodes())
		}
	}
	return p
}

// Watching is a place from which all of a lab is seen besides.
func (p *Place) Watching() *Place {
	w := Place{views: pattern{all: true}}
	if p != nil {
		w.owns, w.operates = p.owns, p.operates
	}
	return &w
}

// Owns tells whether the lab is the person's to change, share and delete.
func (p *Place) Owns() bool { return p != nil && p.owns }

// SeesAll tells whether nothing of the lab is hidden.
func (p *Place) SeesAll() bool { return p != nil && p.views.all }

// OperatesAll tells whether the person may act on all nodes.
func (p *Place) OperatesAll() bool { return p != nil && p.operates.all }

// OperatesSome tells whether there is anything that the person may act on.
func (p *Place) OperatesSome() bool {
	return p != nil && (p.operates.all || len(p.operates.names) > 0)
}

// Views tells whether the person may see a node.
func (p *Place) Views(node string) bool { return p != nil && p.views.picks(node) }

// Operates tells whether the person may act on a node.
func (p *Place) Operates(node string) bool { return p != nil && p.operates.picks(node) }

// maxPattern bounds a pattern: a node's name, each letter of it a class.
const maxPattern = 256

// ValidPattern tells whether a name may pick nodes.
func ValidPattern(name string) bool {
	_, err := path.Match(name, "")
	return err == nil && name != "" && len(name) <= maxPattern && !strings.Contains(name, "/")
}

// Picked lists the nodes of a lab that names pick; none: all.
func Picked(names []string, spec *labv1.LabSpec) []string {
	var p pattern
	p.add(names)
	var picked []string
	for _, n := range spec.GetNodes() {
		if p.picks(n.GetName()) {
			picked = append(picked, n.GetName())
		}
	}
	return picked
}
