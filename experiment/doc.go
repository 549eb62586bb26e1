// Package experiment reads experiment files (a lab, what happens in it, what must come of it), turns them into the request
// that starts a run, and judges the trace that the run leaves.
package experiment
