package port

import (
	"crypto/tls"
	"strings"
)

// Protocol is what a connection to the port speaks; its ALPN name.
type Protocol string

const (
	HTTP2  Protocol = "h2"            // gRPC
	Raft   Protocol = "labd-raft/1"   // the servers' log
	Frames Protocol = "labd-frames/1" // frames of a split lab, between workers
)

// http2Preface is what an HTTP/2 client sends first (RFC 9113 3.4).
const http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

const (
	// frameHeaderBytes is the length of an HTTP/2 frame's header (RFC 9113 4.1), of which the first three are the payload's length
	// and the fourth is the type.
	frameHeaderBytes = 9
	// settingsFrame is the type of SETTINGS, which follows the preface (RFC 9113 3.4).
	settingsFrame = 4
	// maxSettingsBytes bounds the first of them: 170 settings of six bytes, where RFC 9113 6.5.2 has six of them.
	maxSettingsBytes = 1 << 10
)

// opening is what a connection without TLS begins with.
func (p Protocol) opening() string {
	if p == HTTP2 {
		return http2Preface
	}
	return string(p) + "\n"
}

// spoken finds the protocol that first bytes belong to; more says that it takes more of them to tell.
func spoken(first string, served []Protocol) (p Protocol, more bool) {
	for _, p := range served {
		switch opening := p.opening(); {
		case strings.HasPrefix(first, opening):
			return p, false
		case strings.HasPrefix(opening, first):
			more = true
		}
	}
	return "", more
}

// Security gives the TLS configurations of a port and of its dialers. They are asked for at each connection, so that new
// certificates need no restart.
type Security interface {
	// Server is how the next connection is taken.
	Server() (*tls.Config, error)
	// Client is how the next connection to a host is made.
	Client(host string) (*tls.Config, error)
}
