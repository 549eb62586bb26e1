package output_test

import (
	"bytes"
	"testing"

	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

func links() *output.List {
	l := &output.List{Columns: []string{"LINK", "QUEUED PACKETS", "UP"}}
	l.Add(&labv1.FaultStatus{Id: "f1", StartNs: 5}, "r1--r2", "3", "yes")
	l.Add(&labv1.FaultStatus{Id: "f2"}, "a--b", "", "no")
	return l
}

func TestFormats(t *testing.T) {
	for format, want := range map[output.Format]string{
		output.Table: "LINK    QUEUED PACKETS  UP\nr1--r2  3               yes\na--b    -               no\n",
		output.CSV:   "link,queued_packets,up\nr1--r2,3,yes\na--b,,no\n",
		output.JSONL: `{"id":"f1","fault":null,"start_ns":"5","end_ns":"0","active":false}` + "\n" + `{"id":"f2","fault":null,"start_ns":"0","end_ns":"0","active":false}` + "\n",
	} {
		var b bytes.Buffer
		if err := format.Write(&b, links()); err != nil || b.String() != want {
			t.Errorf("%s: %v\ngot\n%swant\n%s", format, err, b.String(), want)
		}
	}
	var empty bytes.Buffer
	if err := output.JSON.Write(&empty, &output.List{}); err != nil || empty.String() != "[]\n" {
		t.Errorf("nothing as JSON: %q, %v; want an empty list", empty.String(), err)
	}
	f := output.Table
	if err := f.Set("xml"); err == nil || f != output.Table {
		t.Errorf("xml is taken for a format")
	}
}

func TestDescribe(t *testing.T) {
	var b bytes.Buffer
	err := output.Describe(&b, &labv1.NodeStatus{Name: "r1", Kind: labv1.NodeKind_NODE_KIND_ROUTER, Up: true, Apps: []string{"http :80", "echo :7"},
		Interfaces: []*labv1.InterfaceStatus{{Name: "eth0", Address: "10.0.0.1/30"}, {Name: "eth1"}},
		Counters:   []*labv1.Counter{{Name: "ip.sent", Value: 7}, {Name: "ip.dropped"}}})
	const want = `name: r1
kind: router
up: true
interfaces:
  - name: eth0
    address: 10.0.0.1/30
  - name: eth1
apps: http :80, echo :7
counters:
  ip.sent: 7
`
	if err != nil || b.String() != want {
		t.Errorf("%v, got\n%swant\n%s", err, b.String(), want)
	}
}

func TestUnits(t *testing.T) {
	for got, want := range map[string]string{
		output.Seconds(12_345_678_901): "12.345678901s", output.Seconds(-5): "-0.000000005s",
		output.Duration(10e6): "10ms", output.Duration(1_234_567_890): "1.235s", output.Duration(0): "0s", output.Duration(1500): "1.5us",
		output.Rate(20e6): "20mbit", output.Rate(0): "unlimited", output.Goodput(14.3e6): "14.3 Mbit/s",
		output.Size(1_399_999): "1.4 MB", output.Size(50): "50 B", output.Chance(0.01): "1%",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
