package port

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"sync"
	"time"
)

// Reason is why a connection was closed: before anybody got it, or given up.
type Reason string

const (
	Timeout           Reason = "timeout"              // it did not say in time what it speaks
	Evicted           Reason = "evicted"              // it had taken longest when too many had not said it
	GoneAway          Reason = "gone_away"            // it ended before it said it
	UnknownProtocol   Reason = "unknown_protocol"     // it speaks nothing that is served here
	NotServed         Reason = "not_served"           // what it speaks ended meanwhile
	TLSNeeded         Reason = "tls_needed"           // it came without TLS to a port with it
	TLSHere           Reason = "tls_here"             // it came with TLS to a port without
	Certificate       Reason = "certificate"          // its certificate is missing, expired or of another CA
	NoDaemon          Reason = "no_daemon"            // its certificate is a person's, and what it speaks is for daemons
	TLSFailed         Reason = "tls_failed"           // TLS failed otherwise
	Backlog           Reason = "backlog"              // too many wait for what it speaks
	TooManyOpen       Reason = "too_many_open"        // too many connections are open
	TooManyFromSource Reason = "too_many_from_source" // too many connections from its address are open
	Failed            Reason = "connection_failed"    // the connection broke
	GivenUp           Reason = "given_up"             // no sign of life came any more, or HTTP/2's rules were broken
)

// Reasons lists all of them.
var Reasons = []Reason{Timeout, Evicted, GoneAway, UnknownProtocol, NotServed, TLSNeeded, TLSHere, Certificate, NoDaemon,
	TLSFailed, Backlog, TooManyOpen, TooManyFromSource, Failed, GivenUp}

var (
	errUnknownProtocol = errors.New("it speaks nothing that is served here")
	errTLSHere         = errors.New("it comes with TLS; this labd has no certificates")
	errNoDaemon        = errors.New("its certificate is not that of a server or a worker")
)

// reasonOf classes the error that a handshake ended with.
func reasonOf(err error) Reason {
	var (
		plain   tls.RecordHeaderError
		invalid *tls.CertificateVerificationError
		alert   tls.AlertError
		unknown x509.UnknownAuthorityError
	)
	switch {
	case errors.Is(err, errUnknownProtocol):
		return UnknownProtocol
	case errors.Is(err, errTLSHere):
		return TLSHere
	case errors.Is(err, errNoDaemon):
		return NoDaemon
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.As(err, &plain):
		return TLSNeeded
	case errors.As(err, &invalid), errors.As(err, &unknown), noCertificate(err):
		return Certificate
	case errors.As(err, &alert):
		return TLSFailed
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return GoneAway
	}
	var broken *net.OpError
	if errors.As(err, &broken) {
		return Failed
	}
	return TLSFailed
}

// noCertificate recognises crypto/tls's error for a client that shows none, which has no type.
func noCertificate(err error) bool { return err.Error() == "tls: client didn't provide a certificate" }

// refusals counts refused connections and tells of them, once a second at most: who opens thousands shall not fill a log.
type refusals struct {
	mu     sync.Mutex // guards what is below
	count  map[Reason]uint64
	told   time.Time // when a line was last written
	untold uint64    // refused since
}

func (r *refusals) counts() map[Reason]uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.count)
}

// tellEvery is the least time between two lines about refused connections.
const tellEvery = time.Second

// add counts a refusal; tell says whether it is time for a line, and how many had none.
func (r *refusals) add(reason Reason, now time.Time) (tell bool, untold uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == nil {
		r.count = make(map[Reason]uint64)
	}
	r.count[reason]++
	if now.Sub(r.told) < tellEvery {
		r.untold++
		return false, 0
	}
	untold, r.told, r.untold = r.untold, now, 0
	return true, untold
}

func (p *Port) refuse(conn net.Conn, reason Reason, err error) {
	tell, untold := p.refused.add(reason, time.Now())
	if !tell || reason == GoneAway {
		return
	}
	attrs := []any{"reason", string(reason), "from", conn.RemoteAddr().String()}
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	if untold > 0 {
		attrs = append(attrs, "others", untold)
	}
	p.conf.Logger.Warn("connection refused", attrs...)
}
