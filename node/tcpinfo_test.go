package node

import (
	"reflect"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"labd.dev/tcpstack"
	"labd.dev/tcpstack/congestion"
)

// Every field of tcp_info reaches those who ask for a connection's status.
func TestInfoIsCarriedWhole(t *testing.T) {
	var i tcpstack.Info
	v := reflect.ValueOf(&i).Elem()
	for n := range v.NumField() {
		switch f := v.Field(n); f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Float64:
			f.SetFloat(1)
		default:
			f.SetUint(uint64(n + 1))
		}
	}
	m := tcpInfo(i, []congestion.Figure{{Name: "bbr_bw", Value: 1}}).ProtoReflect()
	seen := map[uint64]string{}
	fields := m.Descriptor().Fields()
	for n := range fields.Len() {
		f := fields.Get(n)
		if !m.Has(f) {
			t.Errorf("%s is empty", f.Name())
			continue
		}
		var number uint64
		switch f.Kind() {
		case protoreflect.Uint32Kind, protoreflect.Uint64Kind:
			number = m.Get(f).Uint()
		default:
			continue
		}
		if other := seen[number]; other != "" {
			t.Errorf("%s and %s are the same field of Info", other, f.Name())
		}
		seen[number] = string(f.Name())
	}
	// What CCVariable and CCValue tell, the congestion control's figures tell.
	if want := v.NumField() - 2; fields.Len()-1 != want {
		t.Errorf("%d fields besides the figures, Info has %d", fields.Len()-1, want)
	}
}
