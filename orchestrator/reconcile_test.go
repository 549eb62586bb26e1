package orchestrator

import (
	"reflect"
	"testing"
)

func TestReconcile(t *testing.T) {
	for _, c := range []struct {
		name    string
		desired []assignment
		actual  []holding
		want    []action
	}{
		{"nothing", nil, nil, nil},
		{"new lab", []assignment{{labID: "a", epoch: 1}}, nil, []action{{actionStart, "a", 1}}},
		{"runs", []assignment{{labID: "a", epoch: 1}}, []holding{{labID: "a", epoch: 1, running: true}}, nil},
		{"runs under an old epoch", []assignment{{labID: "a", epoch: 2}}, []holding{{labID: "a", epoch: 1, running: true}},
			[]action{{actionStart, "a", 2}}},
		{"only files of an earlier life", []assignment{{labID: "a", epoch: 2}}, []holding{{labID: "a"}},
			[]action{{actionStart, "a", 2}}},
		{"being started", []assignment{{labID: "a", epoch: 1}}, []holding{{labID: "a", epoch: 1, busy: true}}, nil},
		{"could not be started", []assignment{{labID: "a", epoch: 1}}, []holding{{labID: "a", epoch: 1, failed: true}}, nil},
		{"a new epoch after a failure", []assignment{{labID: "a", epoch: 2}}, []holding{{labID: "a", epoch: 1, failed: true}},
			[]action{{actionStart, "a", 2}}},
		{"deleted", nil, []holding{{labID: "a", epoch: 3, running: true}}, []action{{actionRemove, "a", 3}}},
		{"deleted while being started", nil, []holding{{labID: "a", epoch: 3, busy: true}}, nil},
		{"files of what was deleted", nil, []holding{{labID: "a"}}, []action{{actionRemove, "a", 0}}},
		{"ended run", []assignment{{labID: "r-1", epoch: 1, ended: true}}, []holding{{labID: "r-1", epoch: 1, running: true}},
			[]action{{actionStop, "r-1", 1}}},
		{"files of an ended run", []assignment{{labID: "r-1", epoch: 1, ended: true}}, []holding{{labID: "r-1"}}, nil},
		{"in the order of ids", []assignment{{labID: "c", epoch: 1}, {labID: "a", epoch: 1}}, []holding{{labID: "b", epoch: 1, running: true}},
			[]action{{actionStart, "a", 1}, {actionRemove, "b", 1}, {actionStart, "c", 1}}},
	} {
		if got := reconcile(c.desired, c.actual); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
