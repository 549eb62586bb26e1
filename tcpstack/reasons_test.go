package tcpstack

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"

	"labd.dev/sim"
)

// Each value of each enumeration of the trace is produced by some test of this package: watch notes what its stacks
// record, and TestMain compares that with what has a name.
func TestMain(m *testing.M) {
	code := m.Run()
	filtered := false
	for _, name := range []string{"test.run", "test.skip", "test.fuzz", "test.list", "test.bench"} {
		filtered = filtered || flag.Lookup(name).Value.String() != ""
	}
	if missing := seen.missing(); code == 0 && !filtered && !testing.Short() && len(missing) > 0 {
		for _, value := range missing {
			fmt.Println("no test produced", value)
		}
		code = 1
	}
	os.Exit(code)
}

var seen = sightings{values: map[string]bool{}}

// sightings are the values of enumerations that came up in records.
type sightings struct {
	mu     sync.Mutex // of values: fuzzing and parallel tests run stacks at once
	values map[string]bool
}

// enumerations of the trace, each with the records that hold it.
var enumerations = []struct {
	name  string
	value func(uint8) string
	in    func(*sim.Record) (uint8, bool)
}{
	{"SendReason", func(v uint8) string { return SendReason(v).String() }, reasonOf(KindTCPSegmentSent)},
	{"Verdict", func(v uint8) string { return Verdict(v).String() }, reasonOf(KindTCPSegmentReceived)},
	{"DropReason", func(v uint8) string { return DropReason(v).String() }, reasonOf(KindTCPSegmentDropped)},
	{"LossTrigger", func(v uint8) string { return LossTrigger(v).String() }, reasonOf(KindTCPSegmentLost)},
	{"RecoveryKind", func(v uint8) string { return RecoveryKind(v).String() }, reasonOf(KindTCPRecoveryEntered)},
	{"RecoveryTrigger", func(v uint8) string { return RecoveryTrigger(v).String() }, func(r *sim.Record) (uint8, bool) {
		return r.Aux, r.Kind == KindTCPRecoveryEntered
	}},
	{"UndoReason", func(v uint8) string { return UndoReason(v).String() }, reasonOf(KindTCPRecoveryUndone)},
	{"UrgentChange", func(v uint8) string { return UrgentChange(v).String() }, reasonOf(KindTCPUrgentUpdated)},
	{"MTUChange", func(v uint8) string { return MTUChange(v).String() }, reasonOf(KindTCPPathMTUUpdated)},
	{"RecoveryKind exited", func(v uint8) string { return RecoveryKind(v).String() }, reasonOf(KindTCPRecoveryExited)},
	{"CCTrigger", func(v uint8) string { return CCTrigger(v).String() }, reasonOf(KindTCPCCStateUpdated)},
	{"CCState", func(v uint8) string { return CCState(v).String() }, func(r *sim.Record) (uint8, bool) {
		return r.Aux, r.Kind == KindTCPCCStateUpdated
	}},
	{"Limit", func(v uint8) string { return Limit(v).String() }, reasonOf(KindTCPMetricsUpdated)},
	{"TimerKind set", func(v uint8) string { return TimerKind(v).String() }, reasonOf(KindTCPTimerSet)},
	{"TimerKind fired", func(v uint8) string { return TimerKind(v).String() }, reasonOf(KindTCPTimerFired)},
	{"TimerKind cancelled", func(v uint8) string { return TimerKind(v).String() }, reasonOf(KindTCPTimerCancelled)},
	{"CloseReason", func(v uint8) string { return CloseReason(v).String() }, reasonOf(KindTCPConnectionClosed)},
	{"StateTrigger", func(v uint8) string { return StateTrigger(v).String() }, reasonOf(KindTCPStateUpdated)},
	{"State", func(v uint8) string { return State(v).String() }, func(r *sim.Record) (uint8, bool) {
		return r.Aux, r.Kind == KindTCPStateUpdated
	}},
	{"ECN", func(v uint8) string { return ECN(v).String() }, func(r *sim.Record) (uint8, bool) {
		return uint8(r.W[5] >> segECNShift & 3), r.Kind == KindTCPSegmentReceived
	}},
	{"IPDropReason", IPDropReason, reasonOf(KindIPDropped)},
	{"AddressState", func(v uint8) string { return AddressState(v).String() }, reasonOf(KindAddress)},
	{"NeighbourState", func(v uint8) string { return NeighbourState(v).String() }, reasonOf(KindNeighbour)},
}

func reasonOf(kind sim.Kind) func(*sim.Record) (uint8, bool) {
	return func(r *sim.Record) (uint8, bool) {
		if kind < KindIP {
			return r.Reason &^ sideBit, r.Kind == kind
		}
		return r.Reason, r.Kind == kind
	}
}

func (s *sightings) note(recs []sim.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range recs {
		for _, e := range enumerations {
			if v, ok := e.in(&recs[i]); ok {
				s.values[e.name+" "+e.value(v)] = true
			}
		}
	}
}

func (s *sightings) missing() []string {
	var names []string
	for _, e := range enumerations {
		for v := uint8(0); e.value(v) != "unknown"; v++ {
			if name := e.name + " " + e.value(v); !s.values[name] {
				names = append(names, name)
			}
		}
	}
	return names
}

// watch notes what a loop's stacks record, beside any recorder that a test puts in later.
func watch(t testing.TB, loop *sim.Loop) {
	rec := sim.NewRecorder(64, seen.note)
	loop.Rec = rec
	t.Cleanup(rec.Flush)
}
