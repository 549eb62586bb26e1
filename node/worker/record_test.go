package worker

import (
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"labd.dev/link"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
	"labd.dev/trace"
)

// recordsOf are the raw records of a run.
func recordsOf(t *testing.T, dir string) (out []sim.Record) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, trace.EventsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := trace.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for rec, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rec)
	}
	return out
}

// "Observers change nothing", and what is recorded is one of them: every frame arrives at each interface at the same
// time under the same packet id, and every transfer and ping ends alike.
func TestWhatIsRecordedChangesNothing(t *testing.T) {
	b := newBench(t)
	req := func(id string, r labv1.Record) *workerv1.StartLabRequest {
		q := busyRun(2)
		q.LabId, q.Spec.Record = id, r
		return q
	}
	all, dir := b.run(req("all", labv1.Record_RECORD_ALL))
	records := map[string][]sim.Record{"all": recordsOf(t, dir)}
	for id, r := range map[string]labv1.Record{"conns": labv1.Record_RECORD_CONNS, "none": labv1.Record_RECORD_NONE} {
		got, other := b.run(req(id, r))
		if got.Progress.Events != all.Progress.Events || got.Progress.NowNs != all.Progress.NowNs || got.Progress.Error != "" {
			t.Errorf("%s: %v, all: %v", id, got.Progress, all.Progress)
		}
		for i, x := range all.Transfers {
			if !proto.Equal(x, got.Transfers[i]) {
				t.Errorf("%s: %v, all: %v", id, got.Transfers[i], x)
			}
		}
		for i, x := range all.Links {
			if !proto.Equal(x, got.Links[i]) {
				t.Errorf("%s: %v, all: %v", id, got.Links[i], x)
			}
		}
		for i, x := range all.Execs {
			if !proto.Equal(x, got.Execs[i]) {
				t.Errorf("%s: %v, all: %v", id, got.Execs[i], x)
			}
		}
		if d, err := compareCaptures(dir, other); d != nil || err != nil {
			t.Errorf("%s: %v, %v", id, d, err)
		}
		records[id] = recordsOf(t, other)
	}
	if n := len(records["none"]); n != 0 {
		t.Errorf("%d records of a lab that is to record nothing", n)
	}
	var rest []sim.Record
	for _, r := range records["all"] {
		if r.Kind != link.KindHop {
			rest = append(rest, unnumbered(r))
		}
	}
	if len(rest) == 0 || len(rest) == len(records["all"]) || len(rest) != len(records["conns"]) {
		t.Fatalf("%d records, %d of them not of links, and %d where links record nothing", len(records["all"]), len(rest), len(records["conns"]))
	}
	for i, r := range records["conns"] {
		if unnumbered(r) != rest[i] {
			t.Fatalf("record %d: %+v, with links %+v", i, r, rest[i])
		}
	}
}

// unnumbered is the record without what counts records: docs/labfile.md says that only these depend on the key.
func unnumbered(r sim.Record) sim.Record {
	r.ESeq = 0
	if r.Kind != sim.KindMore {
		r.Cause = 0
	}
	return r
}
