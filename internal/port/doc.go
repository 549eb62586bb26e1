// Package port is the one port that labd is reached at: Raft, gRPC and frames between workers share it. Under TLS the
// protocol is settled by ALPN (RFC 7301). Without certificates, which labd allows on loopback only, a connection's first
// bytes say what it speaks: the preface of HTTP/2 (RFC 9113 3.4), or the protocol's name and a line feed.
//
// A Port takes connections and hands each to the listener of its protocol; a Dialer makes them. What does not say in
// time what it speaks, or speaks what nobody here listens to, is closed and counted under a named reason.
package port
