package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"labd.dev/sim"
)

// file is the records as a closed events.bin.
func file(t testing.TB, recs []sim.Record) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := NewWriter(&b, testNames)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(recs); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestEventsFileReadsBack(t *testing.T) {
	want := sorted(lossyTransfer(20).recs)
	rd, err := NewReader(bytes.NewReader(file(t, want)))
	if err != nil {
		t.Fatal(err)
	}
	var got []sim.Record
	for rec, err := range rd.All() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rec)
	}
	if len(got) != len(want) {
		t.Fatalf("%d records, wrote %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("record %d: %+v, wrote %+v", i, got[i], want[i])
		}
	}
	if !rd.Complete() {
		t.Error("a closed file is not complete")
	}
	if rd.Names().Conn(conn1) != "client/1" || rd.Names().Direction(onServer) != "r1->server" {
		t.Errorf("names %+v", rd.Names())
	}
}

func TestEventsFileErrors(t *testing.T) {
	good := file(t, sorted(sixSegments().recs))
	change := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		want error
		text string
	}{
		{"empty", nil, ErrNotTrace, "shorter than a header"},
		{"foreign", []byte("PK\x03\x04 something else"), ErrNotTrace, "it begins with"},
		{"newer", change(8, 2), ErrNewer, "version 2"},
		{"cut in a record", good[:len(good)-RecordSize-10], ErrTruncated, "54 of 64 bytes after record"},
		{"cut in the names", good[:30], ErrTruncated, "names"},
		{"a bit flipped", change(len(good)-RecordSize-5, 0xaa), ErrDamaged, "checksum"},
		{"a record missing", append(bytes.Clone(good[:len(good)-2*RecordSize]), good[len(good)-RecordSize:]...), ErrDamaged, "records and holds"},
		{"something behind", append(bytes.Clone(good), 1), ErrDamaged, "follows its end"},
	} {
		_, err := ReadTrace(bytes.NewReader(c.b), "")
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.want, c.text)
		}
	}
	// What a lab that still runs has written so far can be read; it is only not complete.
	rd, err := NewReader(bytes.NewReader(good[:len(good)-RecordSize]))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range rd.All() {
		if err != nil {
			t.Fatal(err)
		}
	}
	if rd.Complete() {
		t.Error("a file without its end is complete")
	}
}

func TestWriterRefusesDisorder(t *testing.T) {
	w, err := NewWriter(io.Discard, testNames)
	if err != nil {
		t.Fatal(err)
	}
	err = w.Write([]sim.Record{{T: 5, Node: 1, ESeq: 1}, {T: 4, Node: 1, ESeq: 2}})
	if err == nil || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("%v", err)
	}
}

func TestCompareNamesTheFirstDifference(t *testing.T) {
	a := sorted(sixSegments().recs)
	diff := func(recs []sim.Record) string {
		t.Helper()
		d, err := Compare(bytes.NewReader(file(t, a)), bytes.NewReader(file(t, recs)))
		if err != nil {
			t.Fatal(err)
		}
		if d == nil {
			return ""
		}
		return d.String()
	}
	if got := diff(a); got != "" {
		t.Errorf("the same traces differ: %s", got)
	}
	b := append([]sim.Record{}, a...)
	b[4].W[0]++
	b[7].W[3]++
	if got, want := diff(b), "record 5: tcp:segment_received at 0.010000000s (node server, event 1): seq 100 against 101"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := diff(a[:len(a)-1]); !strings.Contains(got, "the second trace ends, the first goes on with tcp:segment_received") {
		t.Errorf("got %q", got)
	}
	b = append([]sim.Record{}, a...)
	b[len(b)-1].T++
	if got := diff(b); !strings.Contains(got, "at 0.055000000s") || !strings.Contains(got, "at 0.055000001s") {
		t.Errorf("got %q", got)
	}
}

// However the records of a lab's nodes are spread over loops, cut into blocks and interleaved, they come out in the one
// order of (t, node, eseq), with what continues a record behind it.
func TestMergeOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loops := rapid.IntRange(1, 4).Draw(t, "loops")
		nodes := rapid.IntRange(1, 6).Draw(t, "nodes")
		var want []sim.Record
		byLoop := make([][]sim.Record, loops)
		eseq := make([]uint32, nodes)
		now := sim.Time(0)
		for range rapid.IntRange(0, 60).Draw(t, "records") {
			now += sim.Time(rapid.IntRange(0, 2).Draw(t, "step"))
			n := rapid.IntRange(0, nodes-1).Draw(t, "node")
			eseq[n]++
			recs := []sim.Record{{T: now, Node: uint32(n), ESeq: eseq[n], Kind: sim.KindTCP}}
			if rapid.Bool().Draw(t, "more") {
				recs = append(recs, sim.Record{T: now, Node: uint32(n), ESeq: eseq[n], Kind: sim.KindMore})
			}
			byLoop[n%loops] = append(byLoop[n%loops], recs...)
			want = append(want, recs...)
		}
		// The model: insertion sort by the whole key.
		for i := range want {
			for j := i; j > 0 && before(&want[j], &want[j-1]); j-- {
				want[j], want[j-1] = want[j-1], want[j]
			}
		}
		var got []sim.Record
		m := NewMerger(loops, func(r []sim.Record) error { got = append(got, r...); return nil })
		for {
			var left []int
			for i, recs := range byLoop {
				if len(recs) > 0 {
					left = append(left, i)
				}
			}
			if len(left) == 0 {
				break
			}
			i := rapid.SampledFrom(left).Draw(t, "loop")
			n := rapid.IntRange(1, len(byLoop[i])).Draw(t, "block")
			m.Source(i).Add(byLoop[i][:n])
			byLoop[i] = byLoop[i][n:]
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d records, want %d", len(got), len(want))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("record %d is %+v, want %+v", i, got[i], want[i])
			}
		}
	})
}

func TestMergeWaitsForTheSlowestLoop(t *testing.T) {
	var got []sim.Record
	m := NewMerger(2, func(r []sim.Record) error { got = append(got, r...); return nil })
	m.Source(0).Add([]sim.Record{{T: 5, Node: 1, ESeq: 1}, {T: 9, Node: 1, ESeq: 2}})
	if len(got) != 0 {
		t.Fatalf("%d records before the second loop was heard", len(got))
	}
	if err := m.Advance(6); err != nil || len(got) != 1 {
		t.Fatalf("%d records after a watermark at 6, %v", len(got), err)
	}
	m.Source(1).Add([]sim.Record{{T: 4, Node: 2, ESeq: 1}})
	if err := m.Advance(7); err == nil || !strings.Contains(err.Error(), "after the loop had said") {
		t.Errorf("a record behind the watermark: %v", err)
	}
}

func TestMergeKeepsTheSinksError(t *testing.T) {
	full := errors.New("no space left on device")
	m := NewMerger(1, func([]sim.Record) error { return full })
	m.Source(0).Add([]sim.Record{{T: 1}, {T: 2}})
	if err := m.Close(); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}

func TestExports(t *testing.T) {
	events := sixSegments().events()
	var jsonl, csv bytes.Buffer
	if err := WriteJSONL(&jsonl, events); err != nil {
		t.Fatal(err)
	}
	if err := WriteCSV(&csv, events); err != nil {
		t.Fatal(err)
	}
	golden(t, "handshake.jsonl", jsonl.String())
	golden(t, "handshake.csv", csv.String())
}

func TestExportReadsBack(t *testing.T) {
	events := lossyTransfer(10).events()
	var b bytes.Buffer
	if err := WriteJSONL(&b, events); err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(b.Bytes()), []byte("\n"))
	if len(lines) != len(events) {
		t.Fatalf("%d lines of %d events", len(lines), len(events))
	}
	for i, line := range lines {
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		if again, _ := e.MarshalJSON(); !bytes.Equal(again, line) {
			t.Fatalf("line %d:\n%s\nread and written again:\n%s", i, line, again)
		}
	}
}

func TestNames(t *testing.T) {
	for _, s := range []string{"client/1", "server/1099511627775"} {
		c, err := testNames.ParseConn(s)
		if err != nil || testNames.Conn(c) != s {
			t.Errorf("%s: %s, %v", s, testNames.Conn(c), err)
		}
	}
	for _, s := range []string{"", "client", "client/0", "client/x", "nobody/1", "client/1099511627776", "client:1"} {
		if _, err := testNames.ParseConn(s); err == nil || !strings.Contains(err.Error(), "written like client/3") {
			t.Errorf("%q: %v", s, err)
		}
	}
	if p, err := testNames.ParsePacket("r1:42"); err != nil || p != sim.MakePacketID(router, 42) {
		t.Errorf("%v %v", p, err)
	}
	if got := testNames.Link(toClient); got != "r1--server" {
		t.Errorf("link %s", got)
	}
}

func FuzzReader(f *testing.F) {
	good := file(f, sorted(lossyTransfer(3).recs))
	f.Add(good)
	f.Add(good[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		tr, err := ReadTrace(bytes.NewReader(b), "")
		if err != nil {
			return
		}
		events := tr.Events()
		Ladder(events, LadderOptions{})
		Ladder(events, LadderOptions{Condensed: true, Absolute: true, Width: 64})
		Conns(events)
		if err := WriteJSONL(io.Discard, events); err != nil {
			t.Fatal(err)
		}
		if err := WriteCSV(io.Discard, events); err != nil {
			t.Fatal(err)
		}
	})
}

// Any records at all can be expanded and drawn: they may come from a damaged file.
func FuzzExpand(f *testing.F) {
	var b []byte
	for _, r := range sorted(lossyTransfer(3).recs) {
		b = AppendRecord(b, &r)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		recs, err := DecodeRecords(b[:len(b)/RecordSize*RecordSize])
		if err != nil {
			t.Fatal(err)
		}
		events := Expand(recs, &testNames)
		Ladder(events, LadderOptions{})
		Ladder(events, LadderOptions{Condensed: true})
		Conns(events)
		if err := WriteJSONL(io.Discard, events); err != nil {
			t.Fatal(err)
		}
	})
}
