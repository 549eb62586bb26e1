package main

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"labd.dev/bench/cluster"
	"labd.dev/client"
	labv1 "labd.dev/proto/lab/v1"
)

// kinds are those of calls. A check replays the lab before it answers; the others are commands, which do not wait for what they
// begin.
var (
	commands = []string{"start", "transfer", "ping", "submit"}
	kinds    = append(slices.Clone(commands), "check")
)

// aim is what 99 of 100 commands shall take at most.
const aim = 150 * time.Millisecond

// results are gathered by all students.
type results struct {
	took    map[string]*cluster.Latencies // by the call's kind
	command cluster.Latencies             // all commands

	mu        sync.Mutex // guards all below
	repeated  map[string]int
	slow      int // commands that took longer than the aim
	submitted map[string]bool
	failed    []error
}

func newResults() *results {
	r := &results{took: map[string]*cluster.Latencies{}, repeated: map[string]int{}, submitted: map[string]bool{}}
	for _, kind := range kinds {
		r.took[kind] = &cluster.Latencies{}
	}
	return r
}

func (r *results) called(kind string, began time.Time, err error) {
	took := time.Since(began)
	r.took[kind].Add(took, err)
	if !slices.Contains(commands, kind) {
		return
	}
	r.command.Add(took, err)
	if took > aim {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.slow++
	}
}

// again counts a call that is made again, by why.
func (r *results) again(kind string, why *client.Error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reason := why.Reason
	if reason == "" {
		reason = "connection lost"
	}
	r.repeated[kind+", "+reason]++
}

func (r *results) acknowledged(student string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.submitted[student] = true
}

func (r *results) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed = append(r.failed, err)
}

func (r *results) tellCalls() {
	r.mu.Lock()
	defer r.mu.Unlock()
	tell := func(kind string, l *cluster.Latencies) {
		fmt.Printf("  %-12s %5d  p50 %8v  p99 %8v  worst %8v\n", kind, l.Len(), l.Quantile(0.5), l.Quantile(0.99), l.Quantile(1))
	}
	for _, kind := range kinds {
		tell(kind, r.took[kind])
	}
	tell("all but check", &r.command)
	fmt.Printf("  %d of %d commands took longer than %v\n", r.slow, r.command.Len(), aim)
	for _, kind := range slices.Sorted(maps.Keys(r.repeated)) {
		fmt.Printf("  made again by the student: %s, %d times\n", kind, r.repeated[kind])
	}
	for _, err := range r.failed {
		fmt.Println("  failed:", err)
	}
}

// tellMarks is an error if a submission is lost, counted twice or not worth all points.
func (r *results) tellMarks(marks []*labv1.Submission, after time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var graded, lost, twice, late, short int
	for _, m := range marks {
		switch {
		case m.GetAttempt() == 0 && r.submitted[m.GetPerson()]:
			lost++
		case m.GetAttempt() > 1:
			twice++
		case m.GetAttempt() == 1 && m.GetState() == labv1.Submission_STATE_GRADED:
			graded++
			if m.GetPoints() != m.GetMaxPoints() {
				short++
			}
		}
		if m.GetDaysLate() > 0 {
			late++
		}
	}
	fmt.Printf("  submissions: %d made, %d graded, %d lost, %d counted twice, %d late, %d not worth all points; all graded %v after the deadline\n",
		len(r.submitted), graded, lost, twice, late, short, after.Round(100*time.Millisecond))
	if len(r.failed) > 0 || len(r.submitted) != *students || graded != *students || short > 0 {
		return fmt.Errorf("of %d students %d failed, %d submitted, and %d are graded", *students, len(r.failed), len(r.submitted), graded)
	}
	return nil
}
