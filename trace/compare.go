package trace

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"labd.dev/sim"
)

// Difference is where two traces first part.
type Difference struct {
	Record uint64 // its number, from 1; 0: the headers differ
	Text   string // in words
}

func (d *Difference) String() string { return d.Text }

// Compare reads two traces and returns the first record in which they differ; nil if they are byte for byte the same.
func Compare(a, b io.Reader) (*Difference, error) {
	ra, err := NewReader(a)
	if err != nil {
		return nil, fmt.Errorf("first trace: %w", err)
	}
	rb, err := NewReader(b)
	if err != nil {
		return nil, fmt.Errorf("second trace: %w", err)
	}
	if d := compareNames(&ra.names, &rb.names); d != "" {
		return &Difference{Text: d}, nil
	}
	for n := uint64(1); ; n++ {
		x, errA := ra.Next()
		y, errB := rb.Next()
		switch {
		case errA != nil && !errors.Is(errA, io.EOF):
			return nil, fmt.Errorf("first trace: %w", errA)
		case errB != nil && !errors.Is(errB, io.EOF):
			return nil, fmt.Errorf("second trace: %w", errB)
		case errA != nil && errB != nil:
			if ra.complete != rb.complete {
				return &Difference{Record: n, Text: fmt.Sprintf("after record %d one trace was closed and the other broke off", n-1)}, nil
			}
			return nil, nil
		case errA != nil:
			return &Difference{Record: n, Text: fmt.Sprintf("record %d: the first trace ends, the second goes on with %s", n, ra.names.describe(&y))}, nil
		case errB != nil:
			return &Difference{Record: n, Text: fmt.Sprintf("record %d: the second trace ends, the first goes on with %s", n, ra.names.describe(&x))}, nil
		case x != y:
			return &Difference{Record: n, Text: fmt.Sprintf("record %d: %s", n, ra.names.differ(&x, &y))}, nil
		}
	}
}

func compareNames(a, b *Names) string {
	tables := []struct {
		what string
		x, y []string
	}{{"node", a.Nodes, b.Nodes}, {"link direction", a.Directions, b.Directions},
		{"link of direction", a.Links, b.Links}}
	for _, t := range tables {
		for i := range max(len(t.x), len(t.y)) {
			if x, y := nameOf(t.x, uint32(i)), nameOf(t.y, uint32(i)); x != y {
				return fmt.Sprintf("the labs differ: %s %d is %s in the first trace, %s in the second", t.what, i, x, y)
			}
		}
		if len(t.x) != len(t.y) {
			return fmt.Sprintf("the labs differ: %d %ss in the first trace, %d in the second", len(t.x), t.what, len(t.y))
		}
	}
	return ""
}

// describe names a record by what happened, where and when.
func (n *Names) describe(r *sim.Record) string {
	name := "a continued record"
	if r.Kind != sim.KindMore {
		name = Expand([]sim.Record{*r}, n)[0].Name
	}
	return fmt.Sprintf("%s at %s (node %s, event %d)", name, r.T, n.Node(r.Node), r.ESeq)
}

// differ says in what two records differ: by the fields of their events, or by their words where no field tells.
func (n *Names) differ(x, y *sim.Record) string {
	if x.T != y.T || x.Node != y.Node || x.ESeq != y.ESeq || x.Kind != y.Kind {
		return fmt.Sprintf("%s in the first trace, %s in the second", n.describe(x), n.describe(y))
	}
	var parts []string
	field := func(name, a, b string) {
		if a != b {
			parts = append(parts, fmt.Sprintf("%s %s against %s", name, orNone(a), orNone(b)))
		}
	}
	if x.Kind != sim.KindMore {
		field("connection", n.Conn(x.Conn), n.Conn(y.Conn))
		field("packet", n.Packet(x.Pkt), n.Packet(y.Pkt))
		p, q := Expand([]sim.Record{*x}, n)[0], Expand([]sim.Record{*y}, n)[0]
		for i, f := range p.Data {
			if i < len(q.Data) && q.Data[i].Name == f.Name && f.Name != "pkt" {
				field(f.Name, csvValue(f.Value), csvValue(q.Data[i].Value))
			}
		}
	}
	if len(parts) == 0 {
		a, b := AppendRecord(nil, x), AppendRecord(nil, y)
		for i := range a {
			field(fmt.Sprintf("byte %d", i), fmt.Sprint(a[i]), fmt.Sprint(b[i]))
		}
	}
	return n.describe(x) + ": " + strings.Join(parts, ", ")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
