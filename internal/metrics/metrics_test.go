package metrics

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"labd.dev/orchestrator"
	workerv1 "labd.dev/proto/worker/v1"
)

var update = flag.Bool("update", false, "rewrite docs/metrics.md")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// everything has a value for every metric.
func everything() Sources {
	calls := &Calls{}
	_, _ = calls.Unary(context.Background(), nil, &grpc.UnaryServerInfo{FullMethod: "/x/Y"}, func(context.Context, any) (any, error) {
		return nil, status.Error(codes.NotFound, "no")
	})
	return Sources{Version: "v1", Calls: calls,
		Refused:          func() map[string]uint64 { return map[string]uint64{"timeout": 3} },
		Denied:           func() map[string]uint64 { return map[string]uint64{"TOKEN_MISSING": 2} },
		CertificateUntil: func() time.Time { return time.Unix(1_700_000_000, 0) },
		Server: func() orchestrator.Vitals {
			return orchestrator.Vitals{Leads: true, Term: 7, Voters: 3, Objects: map[string]int{"labs": 2}, WorkersUp: 4}
		},
		Worker: func() *workerv1.WorkerReport {
			return &workerv1.WorkerReport{EventsPerS: 5, Labs: []*workerv1.LabReport{{}}}
		},
		Lease: func() time.Duration { return 9 * time.Second }}
}

func fetch(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + s.Addr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func listen(t *testing.T, from Sources, health Health) *Server {
	t.Helper()
	s, err := Listen("127.0.0.1:0", nil, from, health)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestEveryMetricIsTold(t *testing.T) {
	code, body := fetch(t, listen(t, everything(), Health{}), "/metrics")
	if code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	for _, m := range Catalog {
		if !strings.Contains(body, "\n"+m.Name) {
			t.Errorf("%s is not told", m.Name)
		}
		if !strings.Contains(body, fmt.Sprintf("# TYPE %s %s\n", m.Name, m.Kind)) {
			t.Errorf("%s is no %s", m.Name, m.Kind)
		}
	}
	for line := range strings.Lines(body) {
		if name, found := strings.CutPrefix(line, "labd_"); found && !known("labd_"+strings.FieldsFunc(name, func(r rune) bool { return r == '{' || r == ' ' })[0]) {
			t.Errorf("not in the catalog: %s", line)
		}
	}
	for _, want := range []string{`labd_calls_total{code="NotFound",method="/x/Y"} 1`, `labd_port_refused_total{reason="timeout"} 3`,
		`labd_objects{kind="labs"} 2`, "labd_raft_term 7", "labd_worker_labs 1"} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("%s is not there", want)
		}
	}
}

func known(name string) bool {
	for _, m := range Catalog {
		if m.Name == name {
			return true
		}
	}
	return false
}

func TestHealth(t *testing.T) {
	s := listen(t, Sources{}, Health{Alive: func() error { return nil }, Ready: func() error { return errors.New("no leader") }})
	if code, body := fetch(t, s, "/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("health: %d %s", code, body)
	}
	if code, body := fetch(t, s, "/readyz"); code != http.StatusServiceUnavailable || body != "no leader\n" {
		t.Errorf("ready: %d %s", code, body)
	}
	if code, _ := fetch(t, s, "/"); code != http.StatusNotFound {
		t.Errorf("another path: %d", code)
	}
}

const page = "../../docs/metrics.md"

// The page lists what is told, no more and no less.
func TestMetricsPage(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Metrics and health\n\nWith `--metrics HOST:PORT` labd serves, beside its port, `/metrics` for Prometheus, `/healthz`\n" +
		"(503 with the reason when it cannot go on) and `/readyz` (503 with the reason while it cannot take calls: a server that\nknows no leader). " +
		"Off loopback it takes certificates, as the port does. Beside the figures below there\nare those of Go's runtime and of the process (`go_*`, `process_*`).\n\n" +
		"This page is made from internal/metrics/catalog.go: `go test ./internal/metrics -update`.\n\n| metric | kind | labels | what it tells |\n| --- | --- | --- | --- |\n")
	for _, m := range Catalog {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.Kind, strings.Join(m.Labels, ", "), m.Help)
	}
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil || string(got) != b.String() {
		t.Errorf("docs/metrics.md is stale (%v): go test ./internal/metrics -update", err)
	}
}
