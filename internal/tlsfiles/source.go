// Package tlsfiles keeps the certificates of mutual TLS in files: it makes a CA and what it signs, and gives TLS
// configurations that follow the files as they change.
package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Files names the PEM files of one end.
type Files struct {
	CA   string // whose certificates are trusted
	Cert string // the own certificate, and those between it and the CA; empty, as Key: a client's that shows none
	Key  string // its key
}

// Source gives TLS configurations from files. It looks at the files whenever it is asked, and reads them again when they
// have changed; what cannot be read then is told of, and the old ones stay.
type Source struct {
	files Files
	log   *slog.Logger

	mu    sync.Mutex // guards what is below
	seen  [3]stamp   // of the files when they were read last
	pool  *x509.CertPool
	own   tls.Certificate
	until time.Time // when own expires
}

// stamp tells whether a file has changed.
type stamp struct {
	size    int64
	changed time.Time
}

// ExpiredError is a certificate that is too old.
type ExpiredError struct {
	File  string
	Until time.Time
}

func (e *ExpiredError) Error() string {
	return fmt.Sprintf("the certificate in %s expired at %s", e.File, e.Until.UTC().Format(time.RFC3339))
}

// Open reads the files. A certificate that has expired, or is not of the CA, is refused here already.
func Open(files Files, log *slog.Logger) (*Source, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Source{files: files, log: log}
	s.seen = s.stamps()
	if err := s.read(); err != nil {
		return nil, err
	}
	if files.Cert != "" && time.Now().After(s.until) {
		return nil, &ExpiredError{File: files.Cert, Until: s.until}
	}
	return s, nil
}

func (s *Source) stamps() [3]stamp {
	var all [3]stamp
	for i, name := range []string{s.files.CA, s.files.Cert, s.files.Key} {
		if info, err := os.Stat(name); err == nil {
			all[i] = stamp{size: info.Size(), changed: info.ModTime()}
		}
	}
	return all
}

func (s *Source) read() error {
	authority, err := os.ReadFile(s.files.CA)
	if err != nil {
		return fmt.Errorf("certificate of the CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return fmt.Errorf("%s holds no certificate in PEM", s.files.CA)
	}
	if s.files.Cert == "" && s.files.Key == "" {
		s.pool = pool
		return nil
	}
	own, err := tls.LoadX509KeyPair(s.files.Cert, s.files.Key)
	if err != nil {
		return fmt.Errorf("%s and %s: %w", s.files.Cert, s.files.Key, err)
	}
	between := x509.NewCertPool()
	for _, der := range own.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			between.AddCert(c)
		}
	}
	// Whether it is too old is looked at apart: it may well be so already, or become so.
	_, err = own.Leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, CurrentTime: own.Leaf.NotAfter,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return fmt.Errorf("the certificate in %s is not of the CA in %s", s.files.Cert, s.files.CA)
	}
	s.pool, s.own, s.until = pool, own, own.Leaf.NotAfter
	return nil
}

// current reads the files again if they have changed.
func (s *Source) current() (*x509.CertPool, tls.Certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seen := s.stamps(); seen != s.seen {
		s.seen = seen
		if err := s.read(); err != nil {
			s.log.Error("new certificates cannot be used; the old ones stay", "error", err)
		} else {
			s.log.Info("new certificates", "until", s.until.UTC().Format(time.RFC3339))
		}
	}
	return s.pool, s.own
}

// Server is the configuration of the next connection taken: whoever calls shows a certificate of the CA.
func (s *Source) Server() (*tls.Config, error) {
	pool, own := s.current()
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{own}, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert}, nil
}

// Client is the configuration of the next connection to a host.
func (s *Source) Client(host string) (*tls.Config, error) {
	pool, own := s.current()
	conf := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: host}
	if own.Certificate != nil {
		conf.Certificates = []tls.Certificate{own}
	}
	return conf, nil
}

// Until is when the own certificate expires.
func (s *Source) Until() time.Time {
	s.current()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.until
}
