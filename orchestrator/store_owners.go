package orchestrator

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/go-memdb"

	controlv1 "labd.dev/proto/control/v1"
)

// What belongs to people is indexed by its owner first, so that what one person has is found without looking at what others
// have, and names say nothing of other people's. The owner is empty where labd asks nobody who they are.

// ownedKey indexes what has a name of its own among its owner's: labs by name, holdings by SHA-256.
type ownedKey struct{}

func (ownedKey) FromObject(obj any) (bool, []byte, error) {
	switch o := obj.(type) {
	case *controlv1.LabState:
		return o.GetSpec().GetName() != "", owned(o.GetOwner(), o.GetSpec().GetName()), nil
	case *controlv1.FileHolding:
		return o.GetOwner() != "" && o.GetSha256() != "", owned(o.GetOwner(), o.GetSha256()), nil
	}
	return false, nil, fmt.Errorf("object of type %T has no owner", obj)
}

func (ownedKey) FromArgs(args ...any) ([]byte, error) {
	if len(args) == 2 {
		owner, ok1 := args[0].(string)
		name, ok2 := args[1].(string)
		if ok1 && ok2 {
			return owned(owner, name), nil
		}
	}
	return nil, fmt.Errorf("want an owner and a name, have %v", args)
}

func owned(owner, name string) []byte { return append(terminated(owner), terminated(name)...) }

// ownedNumberKey indexes runs by their owner and their number among the owner's.
type ownedNumberKey struct{}

func (ownedNumberKey) FromObject(obj any) (bool, []byte, error) {
	run, ok := obj.(*controlv1.RunState)
	if !ok {
		return false, nil, fmt.Errorf("object of type %T is no run", obj)
	}
	return true, binary.BigEndian.AppendUint64(terminated(run.GetOwner()), run.GetNumber()), nil
}

func (ownedNumberKey) FromArgs(args ...any) ([]byte, error) {
	if len(args) == 2 {
		owner, ok1 := args[0].(string)
		number, ok2 := args[1].(uint64)
		if ok1 && ok2 {
			return binary.BigEndian.AppendUint64(terminated(owner), number), nil
		}
	}
	return nil, fmt.Errorf("want an owner and a number, have %v", args)
}

// memberKey indexes labs by the people that they are shared with.
type memberKey struct{}

func (memberKey) FromObject(obj any) (bool, [][]byte, error) {
	lab, ok := obj.(*controlv1.LabState)
	if !ok {
		return false, nil, fmt.Errorf("object of type %T is no lab", obj)
	}
	var keys [][]byte
	for i, m := range lab.GetMembers() { // by person: the same ones stand together
		if i == 0 || m.GetPerson() != lab.GetMembers()[i-1].GetPerson() {
			keys = append(keys, terminated(m.GetPerson()))
		}
	}
	return len(keys) > 0, keys, nil
}

func (memberKey) FromArgs(args ...any) ([]byte, error) {
	person, ok := oneArg[string](args)
	if !ok {
		return nil, fmt.Errorf("want a person, have %v", args)
	}
	return terminated(person), nil
}

func (v view) labNamed(owner, name string) *controlv1.LabState {
	return get[controlv1.LabState](v, tableLabs, "name", owner, name)
}

// labsOf lists a person's own labs, by name.
func (v view) labsOf(owner string) []*controlv1.LabState {
	return takeWhile(v.from(tableLabs, "name", owner, ""), func(l *controlv1.LabState) bool { return l.GetOwner() == owner })
}

// labsWith lists the labs that are shared with a person, by id.
func (v view) labsWith(person string) []*controlv1.LabState {
	it, err := v.txn.Get(tableLabs, "member", person)
	if err != nil {
		panic(fmt.Sprintf("store: labs by member: %v", err))
	}
	return takeWhile(it, func(*controlv1.LabState) bool { return true })
}

// runCalled finds a run by what its owner calls it: "download-3". Only the number counts in finding it, and the name in
// being it.
func (v view) runCalled(owner, call string) *controlv1.RunState {
	_, digits, _ := cutLast(call, "-")
	number, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return nil
	}
	if run := get[controlv1.RunState](v, tableRuns, "number", owner, number); run != nil && runCall(run) == call {
		return run
	}
	return nil
}

// runCall is what a run's owner calls it.
func runCall(run *controlv1.RunState) string {
	return fmt.Sprintf("%s-%d", run.GetName(), run.GetNumber())
}

// runsOf lists a person's runs in the order they were made.
func (v view) runsOf(owner string) []*controlv1.RunState {
	return takeWhile(v.from(tableRuns, "number", owner, uint64(0)), func(r *controlv1.RunState) bool { return r.GetOwner() == owner })
}

// holds tells whether a person has brought content; what nobody in particular has brought, nobody in particular has.
func (v view) holds(person, sha256 string) bool {
	if person == "" {
		return v.file(sha256) != nil
	}
	return get[controlv1.FileHolding](v, tableHoldings, "id", person, sha256) != nil
}

// held tells whether anybody still has content that was brought.
func (v view) held(sha256 string) bool {
	return get[controlv1.FileHolding](v, tableHoldings, "sha256", sha256) != nil
}

func (v view) from(table, index string, args ...any) memdb.ResultIterator {
	it, err := v.txn.LowerBound(table, index, args...)
	if err != nil {
		panic(fmt.Sprintf("store: %s by %s: %v", table, index, err))
	}
	return it
}

// takeWhile lists objects as long as they belong.
func takeWhile[T any](it memdb.ResultIterator, belongs func(*T) bool) []*T {
	var list []*T
	for obj := it.Next(); obj != nil && belongs(obj.(*T)); obj = it.Next() {
		list = append(list, obj.(*T))
	}
	return list
}

// ofOwner is a counter of one person's things; of nobody in particular's it is the one of all.
func ofOwner(counter, owner string) string {
	if owner == "" {
		return counter
	}
	return counter + "/" + owner
}

// cutLast cuts a string at the last occurrence of sep.
func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
