package orchestrator

import (
	"encoding/binary"
	"fmt"

	controlv1 "labd.dev/proto/control/v1"
)

// personsTokenKey indexes tokens by their person, and a person's in the order in which they were made.
type personsTokenKey struct{}

func (personsTokenKey) FromObject(obj any) (bool, []byte, error) {
	t, ok := obj.(*controlv1.TokenState)
	if !ok {
		return false, nil, fmt.Errorf("object of type %T is no token", obj)
	}
	key := binary.BigEndian.AppendUint64(terminated(t.GetPerson()), uint64(t.GetCreatedUnixNs()))
	return true, append(key, t.GetId()...), nil
}

func (personsTokenKey) FromArgs(args ...any) ([]byte, error) {
	person, ok := oneArg[string](args)
	if !ok {
		return nil, fmt.Errorf("want a person, have %v", args)
	}
	return terminated(person), nil
}

// auditKey indexes the audit by whether something was refused, and by the log entry that wrote it.
type auditKey struct{}

func (auditKey) FromObject(obj any) (bool, []byte, error) {
	e, ok := obj.(*controlv1.AuditState)
	if !ok {
		return false, nil, fmt.Errorf("object of type %T is no entry of the audit", obj)
	}
	key := binary.BigEndian.AppendUint64(kindKey(e.GetResult() != resultOK), e.GetIndex())
	return true, binary.BigEndian.AppendUint32(key, e.GetPart()), nil
}

func (auditKey) FromArgs(args ...any) ([]byte, error) {
	if len(args) == 2 || len(args) == 3 {
		refused, ok1 := args[0].(bool)
		index, ok2 := args[1].(uint64)
		key := binary.BigEndian.AppendUint64(kindKey(refused), index)
		if ok1 && ok2 && len(args) == 2 {
			return key, nil
		}
		if part, ok := args[len(args)-1].(uint32); ok && ok1 && ok2 {
			return binary.BigEndian.AppendUint32(key, part), nil
		}
	}
	return nil, fmt.Errorf("want whether it was refused, an index and perhaps a part, have %v", args)
}

func kindKey(refused bool) []byte {
	if refused {
		return []byte{1}
	}
	return []byte{0}
}

func (v view) person(name string) *controlv1.PersonState {
	return get[controlv1.PersonState](v, tablePeople, "id", name)
}

func (v view) people() []*controlv1.PersonState {
	return all[controlv1.PersonState](v, tablePeople, "id")
}

func (v view) token(id string) *controlv1.TokenState {
	return get[controlv1.TokenState](v, tableTokens, "id", id)
}

// tokensOf lists a person's tokens, oldest first.
func (v view) tokensOf(person string) []*controlv1.TokenState {
	it, err := v.txn.LowerBound(tableTokens, "person", person)
	if err != nil {
		panic(fmt.Sprintf("store: tokens of %s: %v", person, err))
	}
	var list []*controlv1.TokenState
	for obj := it.Next(); obj != nil; obj = it.Next() {
		t := obj.(*controlv1.TokenState)
		if t.GetPerson() != person {
			break
		}
		list = append(list, t)
	}
	return list
}

// asksWhoCalls tells whether a first administrator was made: from then on nobody is let in without a token.
func (v view) asksWhoCalls() bool { return v.counter(counterBootstraps) > 0 }
