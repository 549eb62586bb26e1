package trace

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"labd.dev/node"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// fieldTypes are the types of the catalog by the Go types that fields have.
func fieldType(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "bool"
	case int64, uint64:
		return "integer"
	case float64:
		return "number"
	case []string:
		return "strings"
	case []Field:
		return "object"
	case JSON:
		return "json"
	}
	return fmt.Sprintf("%T", v)
}

// coverage is what of the catalog events have shown.
type coverage struct {
	t     *testing.T
	kinds map[string]EventKind
	seen  map[string]bool // "name", "name field", "name field=value"
}

func (c *coverage) note(e *Event) {
	if strings.HasPrefix(e.Name, "unknown:") {
		return
	}
	kind, ok := c.kinds[e.Name]
	if !ok {
		c.t.Fatalf("event %s is not in the catalog", e.Name)
	}
	c.seen[e.Name] = true
	for _, f := range e.Data {
		def := fieldNamed(kind.Fields, f.Name)
		if def == nil {
			c.t.Fatalf("%s has a field %s that is not in the catalog", e.Name, f.Name)
		}
		if got := fieldType(f.Value); got != def.Type {
			c.t.Fatalf("%s.%s is a %s, in the catalog a %s", e.Name, f.Name, got, def.Type)
		}
		c.seen[e.Name+" "+f.Name] = true
		if s, ok := f.Value.(string); ok && s != "unknown" && s != "" && len(def.Values) > 0 {
			if !hasValue(def.Values, s) {
				c.t.Fatalf("%s.%s may be %q, which is not in the catalog", e.Name, f.Name, s)
			}
			c.seen[e.Name+" "+f.Name+"="+s] = true
		}
	}
}

func fieldNamed(fields []FieldKind, name string) *FieldKind {
	for i := range fields {
		if fields[i].Name == name {
			return &fields[i]
		}
	}
	return nil
}

func hasValue(values []ValueKind, name string) bool {
	for _, v := range values {
		if v.Name == name {
			return true
		}
	}
	return false
}

// The catalog is what records expand to, both ways: whatever a record of any kind holds, the events made of it have the
// fields, types and values that the catalog lists; and each that it lists comes up.
func TestCatalogIsWhatRecordsExpandTo(t *testing.T) {
	c := &coverage{t: t, kinds: map[string]EventKind{}, seen: map[string]bool{}}
	for _, k := range Catalog() {
		if _, twice := c.kinds[k.Name]; twice {
			t.Errorf("%s is in the catalog twice", k.Name)
		}
		c.kinds[k.Name] = k
	}
	names := &Names{Nodes: []string{"", "client", "server"}, Directions: []string{"", "", "", "client->server"},
		Inputs: map[uint32]*labv1.Input{
			1: {Kind: &labv1.Input_Fault{Fault: &labv1.Fault{Id: "f1"}}},
			2: {Kind: &labv1.Input_LinkSet{LinkSet: &labv1.LinkSet{}}},
		}}
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, 0))
	conn := sim.MakeConnID(1, 1)
	for kind := range 256 {
		if sim.Kind(kind) == sim.KindMore {
			continue
		}
		for i := range 4096 {
			r := sim.Record{T: 5, Node: 1, ESeq: 2, Kind: sim.Kind(kind), Conn: conn, Pkt: sim.MakePacketID(1, 7),
				Reason: uint8(i), Flags: uint8(rng.Uint32()), Aux: uint8(i >> 4)}
			for w := range r.W {
				r.W[w] = rng.Uint32() >> (rng.Uint32() % 32)
			}
			if r.Kind == node.KindLinkSet || r.Kind == node.KindLinkReverted {
				r.W[0], r.W[1] = 2, 3
			}
			recs := []sim.Record{{Node: 1, ESeq: 1, Kind: tcpstack.KindTCPConnectionStarted, Conn: conn}, r,
				{T: 5, Node: 1, ESeq: 2, Kind: sim.KindMore, Cause: rng.Uint32()}}
			events := Expand(recs, names)
			for e := range events {
				c.note(&events[e])
			}
		}
	}
	for _, k := range Catalog() {
		c.want(k.Name)
		for _, f := range k.Fields {
			c.want(k.Name + " " + f.Name)
			for _, v := range f.Values {
				c.want(k.Name + " " + f.Name + "=" + v.Name)
			}
		}
	}
}

func (c *coverage) want(what string) {
	if !c.seen[what] {
		c.t.Errorf("the catalog has %s, to which no record expands", what)
	}
}

// docs/events.md is the catalog, as a page.
func TestEventsPage(t *testing.T) {
	const path = "../docs/events.md"
	want := eventsPage()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/events.md is not what the catalog says; go test ./trace -update writes it")
	}
}

const eventsIntro = `# Events

What a run or a lab has recorded, as ` + "`labctl trace export`" + ` prints it and as the ` + "`checks`" + ` of an [experiment](experiment.md) see it. This page
is made from trace/catalog*.go (` + "`go test ./trace -update`" + `); a test holds it against what records expand to.

` + "```" + `
labctl trace export client/1 --run labd-runs/download-1 -o jsonl      # an event a line
labctl trace export --run labd-runs/download-1 -o csv                 # all of them, a column a field
` + "```" + `

Events come in the order of (t_ns, node, eseq). Units stand in the names, or in the tables; "offsets" count the bytes of
one direction's stream from 0, whatever the initial sequence number. Congestion windows count segments, as Linux's do.

## Every event

`

func eventsPage() string {
	var b strings.Builder
	b.WriteString(eventsIntro)
	fieldTable(&b, Envelope)
	for _, k := range Catalog() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", k.Name, k.What)
		fieldTable(&b, k.Fields)
	}
	return b.String()
}

func fieldTable(b *strings.Builder, fields []FieldKind) {
	b.WriteString("| field | type | meaning |\n| --- | --- | --- |\n")
	for _, f := range fields {
		typ := f.Type
		if f.Unit != "" {
			typ += ", " + f.Unit
		}
		what := f.What
		if f.When != "" {
			what += " (" + f.When + ")"
		}
		for _, v := range f.Values {
			what += fmt.Sprintf("<br>`%s`: %s", v.Name, v.What)
		}
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", f.Name, typ, what)
	}
}
