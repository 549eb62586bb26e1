package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	labv1 "labd.dev/proto/lab/v1"
)

func entries() []*labv1.JournalEntry {
	return []*labv1.JournalEntry{
		{Index: 1, TNs: 0, Input: &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{
			Id: "t1", From: "client", To: "server", Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: 1 << 60},
			Tcp: &labv1.TcpSettings{Isn: proto.Uint32(100), Sack: proto.Bool(false)}, Close: labv1.CloseMode_CLOSE_MODE_ABORT,
		}}}},
		{Index: 2, TNs: 1500000001, Input: &labv1.Input{Kind: &labv1.Input_Fault{Fault: &labv1.Fault{
			Id: "f\"1\"\n\u00e4", Link: "r1--r2", DurationNs: 2e9,
			Effect: &labv1.Fault_Loss{Loss: &labv1.Loss{Model: &labv1.Loss_Random{Random: 0.1}}},
		}}}},
		{Index: 3, TNs: 7, Input: &labv1.Input{Kind: &labv1.Input_Interrupt{Interrupt: &labv1.Interrupt{}}}},
	}
}

// The encoding is written down here byte for byte: journals of older versions must stay comparable.
func TestEncodingIsFixed(t *testing.T) {
	want := []string{
		`{"index":"1","input":{"transfer":{"id":"t1","from":"client","to":"server","generated_bytes":"1152921504606846976",` +
			`"tcp":{"sack":false,"isn":100},"close":"CLOSE_MODE_ABORT"}}}`,
		`{"index":"2","t_ns":"1500000001","input":{"fault":{"id":"f\"1\"\u000aä","link":"r1--r2","duration_ns":"2000000000",` +
			`"loss":{"random":0.1}}}}`,
		`{"index":"3","t_ns":"7","input":{"interrupt":{}}}`,
	}
	for i, e := range entries() {
		line := Encode(e)
		if got := string(line); got != want[i] {
			t.Errorf("entry %d:\n got %s\nwant %s", i+1, got, want[i])
		}
		back, err := Decode(line)
		if err != nil || !proto.Equal(back, e) {
			t.Errorf("entry %d read back: %v, %v", i+1, back, err)
		}
	}
}

func TestAppendReadCompare(t *testing.T) {
	name := filepath.Join(t.TempDir(), "journal.jsonl")
	w, there, err := Open(name, Options{Sync: true})
	if err != nil || len(there) != 0 {
		t.Fatalf("new journal: %d entries, %v", len(there), err)
	}
	for _, e := range entries()[:2] {
		if err := w.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Append(&labv1.JournalEntry{Index: 7}); err == nil {
		t.Error("an entry out of turn was accepted")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w, there, err = Open(name, Options{}); err != nil || len(there) != 2 {
		t.Fatalf("reopened: %d entries, %v", len(there), err)
	}
	if err := errors.Join(w.Append(entries()[2]), w.Close()); err != nil {
		t.Fatal(err)
	}
	got, err := ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if d := Compare(got, entries()); d != nil {
		t.Error(d)
	}
	changed := entries()
	changed[1].TNs++
	if d := Compare(got, changed); d == nil || d.Index != 2 {
		t.Errorf("difference in entry 2 reported as %v", d)
	}
	if d := Compare(got, got[:2]); d == nil || d.Index != 3 || !strings.Contains(d.Text, "second journal ends") {
		t.Errorf("missing entry 3 reported as %v", d)
	}
}

// A machine that dies in the middle of a write leaves a torn line; what was written before it is kept.
func TestTornLastEntry(t *testing.T) {
	var whole bytes.Buffer
	for _, e := range entries() {
		whole.Write(append(Encode(e), '\n'))
	}
	lines := bytes.SplitAfter(whole.Bytes(), []byte("\n"))
	good := len(lines[0]) + len(lines[1])
	for cut := good + 1; cut < whole.Len(); cut++ {
		got, err := Read(bytes.NewReader(whole.Bytes()[:cut]))
		torn, ok := errors.AsType[*TornError](err)
		if !ok || torn.Offset != int64(good) || len(got) != 2 {
			t.Fatalf("cut at %d: %d entries, %v", cut, len(got), err)
		}
	}
	name := filepath.Join(t.TempDir(), "journal.jsonl")
	if err := os.WriteFile(name, append(bytes.Clone(whole.Bytes()[:good]), 0, 0, 0, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	w, there, err := Open(name, Options{})
	if err != nil || len(there) != 2 {
		t.Fatalf("after a torn write: %d entries, %v", len(there), err)
	}
	if err := errors.Join(w.Append(entries()[2]), w.Close()); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(name); !bytes.Equal(b, whole.Bytes()) {
		t.Errorf("the repaired journal reads\n%s", b)
	}
}

func TestBadJournals(t *testing.T) {
	ok := string(Encode(entries()[0])) + "\n"
	for name, text := range map[string]string{
		"gap":           ok + `{"index":"3","input":{"interrupt":{}}}` + "\n" + ok,
		"garbage first": "nonsense\n" + ok,
		"unknown field": `{"index":"1","input":{"interrupt":{}},"colour":1}` + "\n" + ok,
		"long line":     strings.Repeat("x", MaxLine+10) + "\n",
		"no input":      `{"index":"1"}` + "\n" + ok,
		"negative time": `{"index":"1","t_ns":"-1","input":{"interrupt":{}}}` + "\n" + ok,
	} {
		if _, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, e := range entries() {
		f.Add(append(Encode(e), '\n'))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		for _, e := range got {
			back, err := Decode(Encode(e))
			if err != nil || !bytes.Equal(Encode(back), Encode(e)) {
				t.Fatalf("%v: encoded, decoded and encoded again it differs: %v", e, err)
			}
		}
	})
}

// Room for an entry is asked for before it is promised; asking leaves the journal as it is, and a disk that has none says
// so.
func TestReserve(t *testing.T) {
	name := filepath.Join(t.TempDir(), "journal.jsonl")
	w, _, err := Open(name, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries() {
		if err := errors.Join(w.Reserve(e), w.Reserve(e), w.Append(e)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := ReadFile(name)
	if d := Compare(got, entries()); err != nil || d != nil {
		t.Errorf("%v, %v", d, err)
	}
	if err := w.Reserve(entries()[0]); err == nil {
		t.Error("room in a closed file")
	}
}
