// Package packetdrill runs .pkt scripts, in the language of google/packetdrill,
// against the stack on the virtual clock: no root, no interfaces, no waiting.
//
// A script is a list of timed events: packets that come from the peer ("<"),
// packets that the stack must send (">"), system calls with their results,
// shell lines and code over tcp_info. Parse (parse.go) makes an ast (ast.go,
// expr.go) of it; Run (run.go) plays it: it holds the clock, injects the peer's
// packets, compares what the stack sends (compare*.go) and hands system calls,
// shell lines and code to the system layer (system.go).
//
// A script passes, fails, or is skipped: what cannot be parsed, or needs
// something that this host has not, is a skip with its reason, never a pass.
package packetdrill
