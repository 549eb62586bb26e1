package orchestrator

import (
	"fmt"

	"github.com/hashicorp/go-memdb"

	controlv1 "labd.dev/proto/control/v1"
)

const counterTemplates = "templates" // published

// classTables are those of published labs.
func classTables() map[string]*memdb.TableSchema {
	id := func(x memdb.Indexer) map[string]*memdb.IndexSchema {
		return map[string]*memdb.IndexSchema{"id": {Name: "id", Unique: true, Indexer: x}}
	}
	instances := id(classKey{})
	instances["lab"] = &memdb.IndexSchema{Name: "lab", Unique: true, Indexer: instanceLabKey{}}
	return map[string]*memdb.TableSchema{
		tableTemplates:   {Name: tableTemplates, Indexes: id(stringKey{table: tableTemplates, field: "name"})},
		tableInstances:   {Name: tableInstances, Indexes: instances},
		tableSubmissions: {Name: tableSubmissions, Indexes: id(classKey{})},
	}
}

// classKey indexes instances by template and person, and submissions by whether they are late besides.
type classKey struct{}

func (classKey) FromObject(obj any) (bool, []byte, error) {
	switch o := obj.(type) {
	case *controlv1.InstanceState:
		return true, personKey(o.GetTemplate(), o.GetPerson()), nil
	case *controlv1.SubmissionState:
		return true, append(personKey(o.GetTemplate(), o.GetPerson()), lateByte(o.GetLate())), nil
	}
	return false, nil, fmt.Errorf("object of type %T is of no class", obj)
}

func (classKey) FromArgs(args ...any) ([]byte, error) {
	if len(args) >= 2 {
		template, ok1 := args[0].(string)
		person, ok2 := args[1].(string)
		key := personKey(template, person)
		if len(args) == 3 {
			late, ok := args[2].(bool)
			ok2, key = ok2 && ok, append(key, lateByte(late))
		}
		if ok1 && ok2 {
			return key, nil
		}
	}
	return nil, fmt.Errorf("want a template, a person and perhaps whether it is late, have %v", args)
}

func personKey(template, person string) []byte {
	return append(terminated(template), terminated(person)...)
}

func lateByte(late bool) byte {
	if late {
		return 1
	}
	return 0
}

// instanceLabKey indexes instances by their lab.
type instanceLabKey struct{}

func (instanceLabKey) FromObject(obj any) (bool, []byte, error) {
	i, ok := obj.(*controlv1.InstanceState)
	if !ok {
		return false, nil, fmt.Errorf("object of type %T is no instance", obj)
	}
	return true, terminated(i.GetLabId()), nil
}

func (instanceLabKey) FromArgs(args ...any) ([]byte, error) {
	lab, ok := oneArg[string](args)
	if !ok {
		return nil, fmt.Errorf("want a lab's id, have %v", args)
	}
	return terminated(lab), nil
}

func (v view) template(name string) *controlv1.TemplateState {
	return get[controlv1.TemplateState](v, tableTemplates, "id", name)
}

func (v view) templates() []*controlv1.TemplateState {
	return all[controlv1.TemplateState](v, tableTemplates, "id")
}

func (v view) instance(template, person string) *controlv1.InstanceState {
	return get[controlv1.InstanceState](v, tableInstances, "id", template, person)
}

// instanceOf is the instance that a lab is; nil: it is none.
func (v view) instanceOf(labID string) *controlv1.InstanceState {
	return get[controlv1.InstanceState](v, tableInstances, "lab", labID)
}

// templateOf is the published lab that a lab is an instance of; nil: none.
func (v view) templateOf(labID string) *controlv1.TemplateState {
	if i := v.instanceOf(labID); i != nil {
		return v.template(i.GetTemplate())
	}
	return nil
}

func (v view) submission(template, person string, late bool) *controlv1.SubmissionState {
	return get[controlv1.SubmissionState](v, tableSubmissions, "id", template, person, late)
}

// instancesOf and submissionsOf list those of a template by person.
func (v view) instancesOf(template string) []*controlv1.InstanceState {
	return ofClass(v, tableInstances, template, func(i *controlv1.InstanceState) bool { return i.GetTemplate() == template })
}

func (v view) submissionsOf(template string) []*controlv1.SubmissionState {
	return ofClass(v, tableSubmissions, template, func(s *controlv1.SubmissionState) bool { return s.GetTemplate() == template })
}

func ofClass[T any](v view, table, template string, is func(*T) bool) []*T {
	it, err := v.txn.LowerBound(table, "id", template, "")
	if err != nil {
		panic(fmt.Sprintf("store: %s of %s: %v", table, template, err))
	}
	var list []*T
	for obj := it.Next(); obj != nil && is(obj.(*T)); obj = it.Next() {
		list = append(list, obj.(*T))
	}
	return list
}

// submissionsBy lists a person's submissions, the one in time first.
func (v view) submissionsBy(template, person string) []*controlv1.SubmissionState {
	var list []*controlv1.SubmissionState
	for _, late := range []bool{false, true} {
		if s := v.submission(template, person, late); s != nil {
			list = append(list, s)
		}
	}
	return list
}
