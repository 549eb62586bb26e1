package tcpstack

import (
	"net/netip"
	"reflect"
	"testing"

	"labd.dev/sim"
)

// another is a setting's value that is no default; ok is false for what is none.
func another(name string, of reflect.Type) (v reflect.Value, ok bool) {
	words := map[string]string{"Congestion": "reno", "HyStart": "off", "ECN": "on", "FastOpen": "both", "SYNCookies": "always",
		"FastOpenKey": "00112233445566778899aabbccddeeff", "ISNGenerator": "rfc793", "TimeWaitReuse": "off", "MTUProbing": "always",
		"SourceRoute": "loose 10.0.0.9", "Personality": "freebsd", "MD5Key": "secret"}
	switch {
	case name == "Tag":
		return v, false
	case of == reflect.TypeFor[string]():
		return reflect.ValueOf(words[name]), true
	case of == reflect.TypeFor[*bool]():
		// The opposite of the default.
		was, err := TCPConfig{}.resolve()
		if err != nil {
			return v, false
		}
		for _, on := range []bool{true, false} {
			var c TCPConfig
			reflect.ValueOf(&c).Elem().FieldByName(name).Set(reflect.ValueOf(&on))
			if s, err := c.resolve(); err == nil && !sameSettings(s, was) {
				return reflect.ValueOf(&on), true
			}
		}
		return v, false
	case of == reflect.TypeFor[*uint32](), of == reflect.TypeFor[*uint64](), of == reflect.TypeFor[*sim.Time]():
		p := reflect.New(of.Elem())
		if of.Elem() == reflect.TypeFor[sim.Time]() {
			p.Elem().SetInt(int64(7 * sim.Second))
		} else {
			p.Elem().SetUint(77)
		}
		return p, true
	case of == reflect.TypeFor[sim.Time]():
		return reflect.ValueOf(7 * sim.Second), true
	case of.Kind() == reflect.Uint32, of.Kind() == reflect.Uint64:
		n := reflect.New(of).Elem()
		n.SetUint(7777)
		return n, true
	}
	return v, false
}

// sameSettings compares what configurations have come to, but for what they came from.
func sameSettings(a, b *settings) bool {
	x, y := *a, *b
	x.from, y.from = TCPConfig{}, TCPConfig{}
	return reflect.DeepEqual(x, y)
}

// Every setting can be given for the stack and for a connection alone, to the end that dials and to the one that listens,
// and comes to the same; the connection's own counts before the stack's. What each does, its own test shows.
func TestEverySettingPerStackAndConnection(t *testing.T) {
	plain, err := TCPConfig{}.resolve()
	if err != nil {
		t.Fatal(err)
	}
	fields := reflect.TypeFor[TCPConfig]()
	for i := range fields.NumField() {
		f := fields.Field(i)
		v, ok := another(f.Name, f.Type)
		if !ok {
			if f.Name != "Tag" {
				t.Errorf("%s: no value of %v is another than the default", f.Name, f.Type)
			}
			continue
		}
		var given TCPConfig
		reflect.ValueOf(&given).Elem().Field(i).Set(v)
		of := func(stack, conn TCPConfig) (dialled, listening *settings) {
			s, err := New(sim.NewLoop(sim.LoopConfig{}), &sim.Identity{Src: sim.Source{ID: 1}, Boots: 1}, Config{TCP: stack})
			if err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			if dialled, err = s.dialSettings(&conn); err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			l, err := s.Listen(netip.MustParseAddrPort("0.0.0.0:80"), conn, func(*Conn) ConnHandler { return nil })
			if err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			return dialled, l.set
		}
		d1, l1 := of(given, TCPConfig{})
		d2, l2 := of(TCPConfig{}, given)
		if sameSettings(d1, plain) || !sameSettings(d1, d2) || !sameSettings(l1, d1) || !sameSettings(l2, d1) {
			t.Errorf("%s of %v: the stack's, the connection's and the listener's differ, or none has an effect", f.Name, v)
		}
		if d3, _ := of(TCPConfig{Nagle: new(bool)}, given); f.Name != "Nagle" && (d3.nagle || sameSettings(d3, d1)) {
			t.Errorf("%s: what the connection does not name is not the stack's", f.Name)
		}
	}
}
