package experiment

import (
	"slices"

	"labd.dev/trace"
)

// eventNames are the events that a trace may hold.
var eventNames = func() map[string]bool {
	m := map[string]bool{}
	for _, s := range trace.EventNames() {
		m[s] = true
	}
	return m
}()

func sortedEventNames() []string { return slices.Sorted(slices.Values(trace.EventNames())) }
