package metrics

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"labd.dev/internal/port"
)

const (
	// headerTimeout bounds the wait for a request, and answerTimeout that for its answer's being taken.
	headerTimeout = 5 * time.Second
	answerTimeout = 30 * time.Second
	// maxHeader bounds a request: its headers are all that is read of it.
	maxHeader = 16 << 10
	// scrapesAtOnce bounds the scrapes under way.
	scrapesAtOnce = 4
)

// Health says how a labd is.
type Health struct {
	// Alive is why it cannot go on; nil: it can.
	Alive func() error
	// Ready is why it cannot take calls just now; nil: it can.
	Ready func() error
}

// Server serves metrics and health: /metrics, /healthz and /readyz.
type Server struct {
	listener net.Listener
	http     *http.Server
	done     sync.WaitGroup
	err      error // of serving; read after done
}

// Listen begins to serve at an address, with TLS if there is any.
func Listen(address string, security port.Security, from Sources, health Health) (*Server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot serve metrics: %w", err)
	}
	s := &Server{listener: l, http: &http.Server{Handler: handler(from, health), ReadHeaderTimeout: headerTimeout,
		ReadTimeout: headerTimeout, WriteTimeout: answerTimeout, IdleTimeout: answerTimeout, MaxHeaderBytes: maxHeader}}
	serve := l
	if security != nil {
		serve = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS13,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return security.Server() }})
	}
	s.done.Go(func() { s.err = s.http.Serve(serve) })
	return s, nil
}

// Addr is where metrics are.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Close ends the port with what is under way.
func (s *Server) Close() error {
	err := s.http.Close()
	s.done.Wait()
	if !errors.Is(s.err, http.ErrServerClosed) {
		err = errors.Join(err, s.err)
	}
	return err
}

func handler(from Sources, health Health) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{from: from}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: scrapesAtOnce, Timeout: answerTimeout}))
	mux.HandleFunc("GET /healthz", answer(health.Alive))
	mux.HandleFunc("GET /readyz", answer(health.Ready))
	return mux
}

// answer says ok, or why not.
func answer(how func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := how(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintln(w, err)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}
