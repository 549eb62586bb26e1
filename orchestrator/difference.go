package orchestrator

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	labv1 "labd.dev/proto/lab/v1"
)

// differences lists the fields in which two lab specifications differ, by path. Nodes, links and interfaces are compared
// by their names, not by their place in the file, which a lab does not depend on.
func differences(from, to *labv1.LabSpec) []*labv1.Difference {
	d := &differ{}
	d.messages("", from.ProtoReflect(), to.ProtoReflect())
	slices.SortStableFunc(d.found, func(a, b *labv1.Difference) int { return cmp.Compare(a.GetPath(), b.GetPath()) })
	return d.found
}

type differ struct{ found []*labv1.Difference }

func (d *differ) messages(path string, from, to protoreflect.Message) {
	fields := from.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		d.field(join(path, string(fd.Name())), fd, from, to)
	}
}

func (d *differ) field(path string, fd protoreflect.FieldDescriptor, from, to protoreflect.Message) {
	switch {
	case fd.IsList():
		d.lists(path, fd, from.Get(fd).List(), to.Get(fd).List())
	case fd.Message() != nil && from.Has(fd) && to.Has(fd):
		d.messages(path, from.Get(fd).Message(), to.Get(fd).Message())
	case !from.Has(fd) && !to.Has(fd):
	case !from.Has(fd) && fd.HasPresence():
		d.add(labv1.Difference_CHANGE_ADDED, path, "", text(fd, to.Get(fd)))
	case !to.Has(fd) && fd.HasPresence():
		d.add(labv1.Difference_CHANGE_REMOVED, path, text(fd, from.Get(fd)), "")
	case !from.Get(fd).Equal(to.Get(fd)):
		d.add(labv1.Difference_CHANGE_MODIFIED, path, text(fd, from.Get(fd)), text(fd, to.Get(fd)))
	}
}

// lists compares two lists whose elements are told apart by name, or else by content.
func (d *differ) lists(path string, fd protoreflect.FieldDescriptor, from, to protoreflect.List) {
	old := keyed(fd, from)
	for i := range to.Len() {
		key := elementKey(fd, to, i)
		at := fmt.Sprintf("%s[%s]", path, key)
		was, found := old[key]
		if !found {
			d.add(labv1.Difference_CHANGE_ADDED, at, "", text(fd, to.Get(i)))
			continue
		}
		delete(old, key)
		if fd.Message() != nil {
			d.messages(at, was.Message(), to.Get(i).Message())
		}
	}
	for i := range from.Len() {
		key := elementKey(fd, from, i)
		if was, gone := old[key]; gone {
			d.add(labv1.Difference_CHANGE_REMOVED, fmt.Sprintf("%s[%s]", path, key), text(fd, was), "")
		}
	}
}

func keyed(fd protoreflect.FieldDescriptor, list protoreflect.List) map[string]protoreflect.Value {
	byKey := make(map[string]protoreflect.Value, list.Len())
	for i := range list.Len() {
		byKey[elementKey(fd, list, i)] = list.Get(i)
	}
	return byKey
}

// elementKey tells a list's elements apart. What has no name of its own is told apart by all it says, so that a changed
// one shows as one removed and one added.
func elementKey(fd protoreflect.FieldDescriptor, list protoreflect.List, i int) string {
	if fd.Message() == nil {
		return text(fd, list.Get(i))
	}
	switch m := list.Get(i).Message().Interface().(type) {
	case *labv1.NodeSpec:
		return m.GetName()
	case *labv1.InterfaceSpec:
		return m.GetName()
	case *labv1.LinkSpec:
		return fmt.Sprintf("%s:%s--%s:%s", m.GetA().GetNode(), m.GetA().GetInterface(), m.GetB().GetNode(), m.GetB().GetInterface())
	case *labv1.FileRef:
		return m.GetPath()
	case *labv1.RouteSpec:
		return m.GetDestination()
	}
	return text(fd, list.Get(i))
}

func (d *differ) add(change labv1.Difference_Change, path, from, to string) {
	d.found = append(d.found, &labv1.Difference{Change: change, Path: path, OldValue: from, NewValue: to})
}

// text is a value as a person reads it.
func text(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	switch {
	case fd.Message() != nil:
		return compactJSON(v.Message().Interface())
	case fd.Enum() != nil:
		if e := fd.Enum().Values().ByNumber(v.Enum()); e != nil {
			return string(e.Name())
		}
	}
	return v.String()
}

func join(path, name string) string {
	if path == "" || name == "" {
		return path + name
	}
	return path + "." + name
}

// compactJSON is a message on one line. protojson may put a space after a colon or a comma; no caller compares it.
func compactJSON(m proto.Message) string {
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
