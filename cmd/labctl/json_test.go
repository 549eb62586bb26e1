package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"labd.dev/internal/daemon"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// printed runs one command line, which must end well.
func printed(t *testing.T, args ...string) []byte {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := execute(args, strings.NewReader(""), &out, &errOut); code != 0 {
		t.Fatalf("labctl %s: exit %d\n%s%s", strings.Join(args, " "), code, &out, &errOut)
	}
	return out.Bytes()
}

// -o json of what labd keeps is the proto's: it decodes strictly, with no field that the message lacks.
func TestJSONIsTheProtos(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("LABD_LAB", "")
	d, err := daemon.Start(daemon.Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop(context.Background())
	t.Setenv("LABD_SERVER", d.Addr())
	printed(t, "apply", "-f", "../../examples/two-hosts/lab.yaml")
	printed(t, "transfer", "--from", "alice", "--to", "bob", "--bytes", "1kB")
	one := func(m proto.Message, args ...string) {
		t.Helper()
		out := printed(t, append([]string{"-o", "json"}, args...)...)
		if err := protojson.Unmarshal(out, m); err != nil {
			t.Errorf("labctl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	one(&labv1.CreateFaultResponse{}, "fault", "loss", "alice--bob", "1%")
	one(&labv1.ExecStatus{}, "exec", "alice", "--", "ping", "-c", "1", "bob")
	one(&labv1.NodeStatus{}, "describe", "node", "alice")
	one(&labv1.LinkStatus{}, "describe", "link", "alice--bob")
	one(&labv1.Lab{}, "describe", "lab", "two-hosts")
	one(&labv1.TransferStatus{}, "describe", "transfer", "t1")
	one(&labv1.FaultStatus{}, "describe", "fault", "f1")
	for kind, m := range map[string]proto.Message{
		"labs": &labv1.Lab{}, "nodes": &labv1.NodeStatus{}, "links": &labv1.DirectionStatus{}, "conns": &labv1.ConnStatus{},
		"transfers": &labv1.TransferStatus{}, "faults": &labv1.FaultStatus{}, "inputs": &labv1.JournalEntry{},
		"execs": &labv1.ExecStatus{},
	} {
		var items []json.RawMessage
		out := printed(t, "get", kind, "-o", "json")
		if err := json.Unmarshal(out, &items); err != nil {
			t.Errorf("get %s: %v", kind, err)
		}
		if len(items) == 0 && kind != "conns" {
			t.Errorf("get %s lists nothing", kind)
		}
		for _, item := range items {
			if err := protojson.Unmarshal(item, m); err != nil {
				t.Errorf("get %s: %v\n%s", kind, err, item)
			}
		}
		for line := range strings.Lines(string(printed(t, "get", kind, "-o", "jsonl"))) {
			if err := protojson.Unmarshal([]byte(line), m); err != nil {
				t.Errorf("get %s -o jsonl: %v\n%s", kind, err, line)
			}
		}
	}
}

// run -o json is one document, of trace.Summary's fields and no others.
func TestRunJSONIsTheResults(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("LABD_SERVER", "")
	out := printed(t, "run", "../../examples/handshake/experiment.yaml", "--out", t.TempDir()+"/run", "-o", "json")
	var r trace.Summary
	dec := json.NewDecoder(bytes.NewReader(out))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil || dec.More() {
		t.Errorf("%v\n%s", err, out)
	}
	var fields map[string]any
	if err := json.Unmarshal(out, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"run_dir", "clock", "seed", "end_ns", "partial", "transfers", "checks", "error"} {
		if _, ok := fields[name]; !ok {
			t.Errorf("run -o json has no %q", name)
		}
	}
	transfer := fields["transfers"].([]any)[0].(map[string]any)
	for _, name := range []string{"id", "conn", "from", "to", "bytes", "sha256", "match", "start_ns", "duration_ns", "goodput_bps",
		"retransmits", "srtt_us", "error"} {
		if _, ok := transfer[name]; !ok {
			t.Errorf("a transfer of run -o json has no %q", name)
		}
	}
	check := fields["checks"].([]any)[0].(map[string]any)
	for _, name := range []string{"id", "ok", "points", "got", "events"} {
		if _, ok := check[name]; !ok {
			t.Errorf("a check of run -o json has no %q", name)
		}
	}
}
