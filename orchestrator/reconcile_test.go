package orchestrator

import (
	"reflect"
	"testing"
)

func TestReconcile(t *testing.T) {
	on := func(epoch uint64, workers ...string) []assignment {
		return []assignment{{labID: "a", epoch: epoch, workers: workers}}
	}
	ended := []assignment{{labID: "r-1", epoch: 1, workers: []string{"w"}, ended: true}}
	has := func(labID string, h holding) map[string]siteView {
		return map[string]siteView{"w": {up: true, known: true, held: map[string]holding{labID: h}}}
	}
	idle := siteView{up: true, known: true}
	one := map[string]siteView{"w": idle}
	runs := has("a", holding{epoch: 1, running: true})
	down := map[string]siteView{"w": {}, "v": idle}
	step := func(kind actionKind, epoch uint64) []action { return []action{{kind: kind, labID: "a", epoch: epoch}} }
	for _, c := range []struct {
		name    string
		desired []assignment
		done    standing
		sites   map[string]siteView
		want    []action
	}{
		{"nothing", nil, standing{}, one, nil},
		{"new lab", on(1, "w"), standing{}, one, step(actionStart, 1)},
		{"runs", on(1, "w"), standing{epoch: 1, begun: true, mine: true}, runs, nil},
		{"runs, and was a former leader's", on(1, "w"), standing{epoch: 1, begun: true}, runs, step(actionAdopt, 1)},
		{"does not run, and was a former leader's", on(1, "w"), standing{epoch: 1, begun: true}, one, step(actionAssign, 1)},
		{"its worker has lost it", on(1, "w"), standing{epoch: 1, begun: true, mine: true}, one, step(actionAssign, 1)},
		{"its worker is broken", on(1, "w"), standing{epoch: 1, begun: true, mine: true}, has("a", holding{epoch: 1, running: true, broken: true}), step(actionAssign, 1)},
		{"runs under an old epoch", on(2, "w"), standing{epoch: 1, begun: true, mine: true}, runs, step(actionStart, 2)},
		{"only files of an earlier life", on(2, "w"), standing{}, has("a", holding{}), step(actionStart, 2)},
		{"being started", on(1, "w"), standing{epoch: 1, busy: true}, one, nil},
		{"could not be started", on(1, "w"), standing{epoch: 1, failed: true}, one, nil},
		{"could not be started, and its worker went down", on(1, "w"), standing{epoch: 1, failed: true}, down, step(actionAssign, 1)},
		{"a new epoch after a failure", on(2, "w"), standing{epoch: 1, failed: true}, one, step(actionStart, 2)},
		{"its worker is down", on(1, "w"), standing{epoch: 1, begun: true, mine: true}, down, step(actionAssign, 1)},
		{"its worker is not known", on(1, "w"), standing{}, map[string]siteView{}, step(actionAssign, 1)},
		{"one of its workers is down", on(1, "v", "w"), standing{epoch: 1, begun: true, mine: true}, down, step(actionAssign, 1)},
		{"its worker does not answer", on(1, "w"), standing{epoch: 1, begun: true, mine: true}, map[string]siteView{"w": {up: true}}, nil},
		{"one of its workers does not answer", on(1, "v", "w"), standing{}, map[string]siteView{"v": idle, "w": {up: true}}, nil},
		{"no worker took it", on(1), standing{}, one, step(actionAssign, 1)},
		{"its worker is drained", on(1, "w"), standing{epoch: 1, begun: true, mine: true},
			map[string]siteView{"w": {up: true, known: true, draining: true, held: runs["w"].held}}, step(actionMove, 1)},
		{"deleted", nil, standing{}, has("a", holding{epoch: 3, running: true}), []action{{actionRemove, "a", 3, "w"}}},
		{"deleted while being started", nil, standing{busy: true}, has("a", holding{epoch: 3}), nil},
		{"files of what was deleted", nil, standing{}, has("a", holding{}), []action{{actionRemove, "a", 0, "w"}}},
		{"still at the worker that it was taken from", on(2, "v"), standing{epoch: 2, begun: true, mine: true},
			map[string]siteView{"v": {up: true, known: true, held: map[string]holding{"a": {epoch: 2, running: true}}}, "w": runs["w"]},
			[]action{{actionRemove, "a", 1, "w"}}},
		{"ended run", ended, standing{}, has("r-1", holding{epoch: 1, running: true}), []action{{actionStop, "r-1", 1, "w"}}},
		{"files of an ended run", ended, standing{}, has("r-1", holding{}), nil},
		{"in the order of ids", []assignment{{labID: "c", epoch: 1, workers: []string{"w"}}, {labID: "a", epoch: 1, workers: []string{"w"}}}, standing{},
			has("b", holding{epoch: 1, running: true}),
			[]action{{actionStart, "a", 1, ""}, {actionRemove, "b", 1, "w"}, {actionStart, "c", 1, ""}}},
	} {
		if got := reconcile(c.desired, map[string]standing{"a": c.done}, c.sites); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// A worker is emptied lab by lab: the next one goes when the one before is at its new place.
func TestDrainGoesLabByLab(t *testing.T) {
	full := siteView{up: true, known: true, draining: true, held: map[string]holding{"a": {epoch: 1, running: true}, "b": {epoch: 1, running: true}}}
	sites := map[string]siteView{"w": full, "v": {up: true, known: true}}
	labs := []assignment{{labID: "a", epoch: 1, workers: []string{"w"}}, {labID: "b", epoch: 1, workers: []string{"w"}}}
	runs := standing{epoch: 1, begun: true, mine: true}
	if got := reconcile(labs, map[string]standing{"a": runs, "b": runs}, sites); !reflect.DeepEqual(got, []action{{actionMove, "a", 1, ""}}) {
		t.Errorf("first %v", got)
	}
	busy := runs
	busy.busy = true
	if got := reconcile(labs, map[string]standing{"a": busy, "b": runs}, sites); got != nil {
		t.Errorf("while one moves %v", got)
	}
}
