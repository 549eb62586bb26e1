package experiment_test

import (
	"path/filepath"
	"strings"
	"testing"

	"labd.dev/experiment"
	labv1 "labd.dev/proto/lab/v1"
)

const head = `experiment: x
lab: {name: x, topology: {nodes: {a: {}, b: {}}, links: [{endpoints: [a, b]}]}}
`

func parse(t *testing.T, src string) *experiment.Experiment {
	t.Helper()
	x, err := experiment.Parse("e.yaml", []byte(head+src))
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestExamplesLoad(t *testing.T) {
	files, err := filepath.Glob("../examples/*/experiment*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d examples found, %v", len(files), err)
	}
	for _, path := range files {
		x, err := experiment.Load(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if len(x.Checks) == 0 || len(x.Inputs) == 0 {
			t.Errorf("%s: %d checks, %d inputs: an example asserts its outcome", path, len(x.Checks), len(x.Inputs))
		}
	}
}

func TestBadFiles(t *testing.T) {
	for name, c := range map[string]struct{ src, want string }{
		"unknown key":           {"matrx: 1\n", `e.yaml:3:1: unknown key "matrx" in experiment; its keys are experiment, lab, duration, clock, pace, seed, workload, faults, expect, checks`},
		"no such node":          {"workload: [{transfer: {from: a, to: bb, bytes: 1B}}]\n", `e.yaml:3:37: to: no node "bb"; did you mean "b"?`},
		"no such link":          {"faults: [{on: a--c, down: {}}]\n", `e.yaml:3:15: on: no link "a--c"; did you mean "a--b"?`},
		"crash of a link":       {"faults: [{on: a--b, crash: {}}]\n", `no node "a--b"`},
		"two effects":           {"faults: [{on: a--b, down: {}, loss: 1%}]\n", `e.yaml:3:31: fault: "down" and "loss" exclude each other`},
		"no effect":             {"faults: [{on: a--b}]\n", `e.yaml:3:10: fault: one of down, loss, delay, jitter, rate, duplicate, corrupt, mtu, queue, crash, reboot is missing`},
		"loss of a fault":       {"faults: [{on: a--b, loss: 101%}]\n", `e.yaml:3:27: loss: must not be above 100%, got 101%`},
		"same id twice":         {"workload: [{ping: {id: p, from: a, to: b}}, {ping: {id: p, from: a, to: b}}]\n", `the id "p" is taken`},
		"nobody to expect":      {"workload: [{transfer: {id: t1, from: a, to: b, bytes: 1B}}]\nexpect: {t2: mismatch}\n", `e.yaml:4:10: expect: no transfer has the id "t2"; did you mean "t1"?`},
		"input after the end":   {"duration: 1s\nworkload: [{at: 2s, ping: {from: a, to: b}}]\n", `e.yaml:4:17: at: the run has ended by then: see duration`},
		"apply of no file":      {"workload: [{apply: nothing.yaml}]\n", "e.yaml:3:20: apply: open nothing.yaml: no such file"},
		"apply of another lab":  {"workload: [{apply: ../examples/two-hosts/lab.yaml}]\n", "e.yaml:3:20: apply: name: it does not change while the lab runs"},
		"link to nowhere":       {"workload: [{link: {on: a--c, delay: 1ms}}]\n", `e.yaml:3:24: on: no link "a--c"; did you mean "a--b"?`},
		"link without a change": {"workload: [{link: {on: a--b, for: 1s}}]\n", "link: what to change is missing: delay, loss, rate, ..."},
		"no such link setting":  {"workload: [{link: {on: a--b, speed: 1mbit}}]\n", `e.yaml:3:30: unknown key "speed" in link`},
		"two things at once":    {"workload: [{apply: x.yaml, link: {on: a--b, delay: 1ms}}]\n", `"apply" and "link" exclude each other`},
		"no such event":         {"checks: [{id: c, never: {event: tcp:segment_sendt}}]\n", `did you mean "tcp:segment_sent"?`},
		"bad predicate":         {"checks: [{id: c, never: {where: 'a =='}}]\n", "e.yaml:3:33: where: "},
		"predicate is no value": {"checks: [{id: c, never: {where: 'x = 1'}}]\n", "e.yaml:3:33: where: "},
		"too mighty":            {"checks: [{id: c, never: {where: '\"a\" * 1000000000'}}]\n", "* is not for predicates"},
		"unbounded list":        {"checks: [{id: c, never: {where: '[x for x in y]'}}]\n", "comprehensions and lambdas are not for predicates"},
		"no file":               {"workload: [{transfer: {from: a, to: b, file: nothing.bin}}]\n", "e.yaml:3:46: file: open nothing.bin: no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := experiment.Parse("e.yaml", []byte(head+c.src))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
}

// An error in an inline lab is told at its place in the experiment, one in a lab file at its place in that.
func TestErrorInTheLab(t *testing.T) {
	_, err := experiment.Parse("e.yaml", []byte("experiment: x\nlab:\n  name: x\n  topology:\n    nodes: {a: {}, b: {}}\n    links: [{endpoints: [a, b], delay: -1s}]\n"))
	if err == nil || err.Error() != "e.yaml:6:40: delay: must not be negative" {
		t.Errorf("inline: %v", err)
	}
	_, err = experiment.Parse("e.yaml", []byte("name: x\ntopology: {nodes: {a: {}}}\n"))
	if want := "e.yaml:2:1: this is a lab's file, not an experiment's; start it: labctl apply -f e.yaml"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = experiment.Parse("e.yaml", []byte("experiment: x\nlab: nowhere.yaml\n"))
	if err == nil || !strings.HasPrefix(err.Error(), "e.yaml:2:6: lab: open nowhere.yaml: ") {
		t.Errorf("no lab file: %v", err)
	}
}

func TestRequest(t *testing.T) {
	x := parse(t, `seed: 9
duration: 3s
workload:
  - {at: 1s, transfer: {id: t1, from: a, to: b, bytes: 2kB, congestion: reno, tcp: {sack: off}}}
faults:
  - {at: 1s, for: 500ms, on: b->a, loss: {every: 3}}
  - {at: 2s, on: a, crash: {}}
`)
	r, err := x.Request(true)
	if err != nil {
		t.Fatal(err)
	}
	if r.Spec.Seed != 9 || r.EndNs != 3e9 || r.Spec.Clock != labv1.Clock_CLOCK_VIRTUAL || !r.Capture || r.Name != "x" {
		t.Errorf("request %v", r)
	}
	if len(r.Inputs) != 3 || r.Inputs[0].Input.GetFault() == nil {
		t.Fatalf("inputs %v: want faults before the workload", r.Inputs)
	}
	if f := r.Inputs[0].Input.GetFault(); f.Link != "b->a" || f.DurationNs != 5e8 || f.GetLoss().GetEvery() != 3 {
		t.Errorf("fault %v", f)
	}
	if f := r.Inputs[1].Input.GetFault(); f.Node != "a" || f.Link != "" || f.GetCrash() == nil {
		t.Errorf("fault %v", f)
	}
	if tr := r.Inputs[2].Input.GetTransfer(); tr.Tcp.GetCongestion() != "reno" || tr.Tcp.Sack == nil || tr.GetGeneratedBytes() != 2000 {
		t.Errorf("transfer %v", tr)
	}
}

// Each change of the lab is one input, and what comes later is held against the lab as it is by then.
func TestChangesOfTheLab(t *testing.T) {
	x, err := experiment.Load("../examples/live-change/experiment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	set, apply := x.Inputs[1], x.Inputs[2]
	if s := set.Input.GetLinkSet(); set.AtNs != 2e9 || s.GetLink() != "r1--server" || s.GetDurationNs() != 3e9 || s.GetPatch().GetDelayNs() != 45e6 ||
		s.Patch.RateBps != nil || s.Patch.Loss != nil || s.Patch.Down != nil {
		t.Errorf("%v", set)
	}
	if spec := apply.Input.GetApply().GetSpec(); apply.AtNs != 6e9 || len(spec.GetNodes()) != 4 || len(x.Spec.Nodes) != 3 {
		t.Errorf("%v", apply)
	}
	for _, c := range []struct{ workload, want string }{
		{"{at: 2s, apply: wider.yaml}, {at: 1s, ping: {from: guest, to: r1}}", `from: no node "guest"`},
		{"{at: 2s, apply: wider.yaml}, {at: 3s, apply: lab.yaml}, {at: 4s, link: {on: guest--r1, loss: 1%}}", `on: no link "guest--r1"`},
		{"{at: 2s, apply: wider.yaml}, {at: 2s, ping: {from: guest, to: r1}}", ""},
	} {
		_, err := experiment.Parse("../examples/live-change/e.yaml", []byte("experiment: x\nlab: lab.yaml\nseed: 3\nworkload: ["+c.workload+"]\n"))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.workload, err, c.want)
		}
	}
}

func TestHowTransfersMustEnd(t *testing.T) {
	x := parse(t, "workload: [{transfer: {id: t1, from: a, to: b, bytes: 1B}}, {transfer: {id: t2, from: a, to: b, bytes: 1B}}]\nexpect: {t2: mismatch}\n")
	done := func(id string, match bool) *labv1.TransferStatus {
		return &labv1.TransferStatus{Id: id, State: labv1.TransferState_TRANSFER_STATE_DONE, Match: match}
	}
	for _, c := range []struct {
		one, two bool
		want     bool
	}{{true, false, true}, {true, true, false}, {false, false, false}} {
		run := &labv1.Run{Transfers: []*labv1.TransferStatus{done("t1", c.one), done("t2", c.two)}}
		s := x.Summary(run, x.Spec, "dir", nil)
		if got := x.Passed(run, s); got != c.want {
			t.Errorf("t1 matches %v, t2 %v: passed %v, want %v", c.one, c.two, got, c.want)
		}
	}
}
