// Package orchestrator is the replicated controller: it keeps what labs, runs, inputs and files there shall be in Raft,
// has workers carry it out through proto/worker/v1, and serves the public API of proto/lab/v1.
//
// The way of a mutation: a service validates the request; the worker stamps the input with its lab time; the stamped
// input is committed in Raft; then the worker lets it take effect. State is changed nowhere but in applying a committed
// command (apply.go), which is a pure function of the state and the command.
package orchestrator
