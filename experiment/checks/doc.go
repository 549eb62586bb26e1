// Package checks judges a run by its events: what a check asks for, and where to look when it is not so. Experiments and a
// class's marks use it. It reads events one by one and keeps a bounded number of them, whatever the run.
package checks
