package output

import (
	"fmt"
	"io"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Describe prints a message for people: a field a line, in the order of the proto, what is not set left out.
func Describe(w io.Writer, m proto.Message) error {
	var b strings.Builder
	describe(&b, m.ProtoReflect(), "")
	_, err := io.WriteString(w, b.String())
	return err
}

func describe(b *strings.Builder, m protoreflect.Message, indent string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if !m.Has(fd) {
			continue
		}
		v := m.Get(fd)
		if !fd.IsList() {
			describeField(b, fd, v, indent)
			continue
		}
		list := v.List()
		if fd.Message() == nil {
			words := make([]string, list.Len())
			for j := range words {
				words[j] = scalarText(fd, list.Get(j))
			}
			fmt.Fprintf(b, "%s%s: %s\n", indent, fd.Name(), strings.Join(words, ", "))
			continue
		}
		fmt.Fprintf(b, "%s%s:\n", indent, fd.Name())
		if named := namedNumbers(fd.Message()); named != nil {
			named(b, list, indent+"  ")
			continue
		}
		for j := range list.Len() {
			var item strings.Builder
			describe(&item, list.Get(j).Message(), indent+"    ")
			text := strings.TrimPrefix(item.String(), indent+"    ")
			fmt.Fprintf(b, "%s  - %s", indent, text)
			if text == "" {
				b.WriteString("\n")
			}
		}
	}
}

// namedNumbers prints a list of messages that are a name and a value each, those that are not zero; nil for messages that
// are not so.
func namedNumbers(d protoreflect.MessageDescriptor) func(b *strings.Builder, l protoreflect.List, indent string) {
	name, value := d.Fields().ByName("name"), d.Fields().ByName("value")
	if d.Fields().Len() != 2 || name == nil || value == nil {
		return nil
	}
	return func(b *strings.Builder, l protoreflect.List, indent string) {
		for i := range l.Len() {
			if m := l.Get(i).Message(); m.Has(value) {
				fmt.Fprintf(b, "%s%s: %s\n", indent, m.Get(name), m.Get(value))
			}
		}
	}
}

func describeField(b *strings.Builder, fd protoreflect.FieldDescriptor, v protoreflect.Value, indent string) {
	if fd.Message() == nil {
		name := strings.TrimSuffix(strings.TrimSuffix(string(fd.Name()), "_ns"), "_bps") // the value shows its unit
		fmt.Fprintf(b, "%s%s: %s\n", indent, name, scalarText(fd, v))
		return
	}
	fmt.Fprintf(b, "%s%s:\n", indent, fd.Name())
	describe(b, v.Message(), indent+"  ")
}

// scalarText prints a value with the unit that its field's name ends in.
func scalarText(fd protoreflect.FieldDescriptor, v protoreflect.Value) string {
	name := string(fd.Name())
	switch {
	case fd.Enum() != nil:
		if e := fd.Enum().Values().ByNumber(v.Enum()); e != nil {
			return strings.ToLower(shortEnum(fd.Enum(), string(e.Name())))
		}
	case fd.Kind() == protoreflect.Int64Kind && strings.HasSuffix(name, "_ns"):
		return Duration(v.Int())
	case fd.Kind() == protoreflect.Uint64Kind && strings.HasSuffix(name, "_bps"):
		return Rate(v.Uint())
	case fd.Kind() == protoreflect.DoubleKind && strings.HasSuffix(name, "_bps"):
		return Goodput(v.Float())
	case fd.Kind() == protoreflect.DoubleKind && name != "pace":
		return Chance(v.Float())
	}
	return v.String()
}

// shortEnum takes the enum's own name off a value's: LAB_STATE_RUNNING is RUNNING.
func shortEnum(e protoreflect.EnumDescriptor, value string) string {
	zero := string(e.Values().ByNumber(0).Name())
	return strings.TrimPrefix(value, strings.TrimSuffix(zero, "UNSPECIFIED"))
}

// EnumText is an enum's value in lower case, without the enum's own name.
func EnumText(e protoreflect.Enum) string {
	d := e.Descriptor()
	v := d.Values().ByNumber(e.Number())
	if v == nil {
		return fmt.Sprint(e.Number())
	}
	return strings.ReplaceAll(strings.ToLower(shortEnum(d, string(v.Name()))), "_", "-")
}
