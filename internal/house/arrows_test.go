// Package house holds the tests that keep the building plan of docs/architecture.md true: which package may import
// which, and what the deterministic core may not use.
package house

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

const module = "labd.dev"

// mayImport lists, for each room, the rooms of ours that its packages may import. A room covers the packages below it
// unless they have a line of their own.
var mayImport = map[string][]string{
	"sim":                  {"sim"},
	"sim/dmath":            {},
	"tcpstack/snmp":        {},
	"tcpstack/wire":        {},
	"tcpstack/congestion":  {"sim"},
	"tcpstack":             {"sim", "tcpstack"},
	"tcpstack/packetdrill": {"sim", "tcpstack"},
	"link":                 {"sim", "tcpstack/wire"},
	"journal":              {"proto"},
	"proto":                {"proto"},
	"node/app":             {"sim", "tcpstack", "proto", "node/app", "trace/capfilter"},
	"node/app/craft":       {"tcpstack/wire"},
	"trace/capfilter":      {"tcpstack/wire"},
	"node/cut":             {"sim", "link", "proto"},
	"node":                 {"sim", "tcpstack", "link", "proto", "node/app", "node/cut"},
	"node/exchange":        {"sim"},
	"node/worker":          {"sim", "tcpstack", "link", "node", "journal", "trace", "proto", "internal/validate", "experiment/checks"},
	"internal/shards":      {"sim", "trace", "proto"},
	"internal/sight":       {"sim", "node", "trace", "proto", "internal/validate"},
	"trace":                {"sim", "tcpstack", "link", "node", "journal", "proto", "trace"},
	"orchestrator":         {"proto", "journal", "experiment/checks", "internal/auth", "internal/validate", "orchestrator", "node/cut", "internal/shards", "internal/sight"},
	"orchestrator/raftnet": {},
	"client":               {"proto", "internal/port", "internal/tlsfiles"},
	"labfile":              {"proto", "internal/validate", "labfile"},
	"experiment":           {"proto", "labfile", "trace", "internal/validate", "node/app/craft", "experiment"},
	"experiment/checks":    {"proto", "trace", "internal/validate"},
	"internal/validate":    {"proto", "node/app/craft", "trace/capfilter"},
	"internal/output":      {"proto"},
	"internal/config":      {},
	"internal/roster":      {"internal/auth", "labfile/schema", "proto"},
	"internal/auth":        {"proto"},
	"internal/version":     {},
	"internal/port":        {},
	"internal/metrics":     {"internal/port", "orchestrator", "proto"},
	"internal/tlsfiles":    {},
	"internal/randomlab":   {"sim", "node", "proto", "trace"},
	"internal/daemon":      {"orchestrator", "node/worker", "proto", "client", "internal"},
	"internal/house":       {},
	"internal/runbook":     {},
	"internal/conformance": {},
	"internal/laws":        {},
	"cmd/labd":             {"internal", "orchestrator", "proto"},
	"cmd/labctl":           {"client", "proto", "labfile", "experiment", "trace", "tcpstack/wire", "tcpstack/snmp", "tcpstack/packetdrill", "internal", "cmd/labctl"},
	"examples":             {"client", "proto", "trace", "internal/output"},
	"labtest":              {"client", "proto", "labfile", "experiment", "trace", "internal/daemon", "internal/validate"},
}

func TestImportArrows(t *testing.T) {
	for _, p := range list(t, "./...") {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		room, allowed := roomOf(path)
		if room == "" {
			t.Errorf("%s: no line for it in mayImport; which rooms may it import?", path)
			continue
		}
		for _, imp := range p.Imports {
			dep, ours := strings.CutPrefix(imp, module+"/")
			if ours && !covered(dep, allowed) {
				t.Errorf("%s imports %s, which is against the arrows: %s may import %v", path, dep, room, allowed)
			}
		}
	}
}

// The core knows neither gRPC nor a logger nor Raft, directly or through others.
func TestCoreDependsOnNoService(t *testing.T) {
	banned := []string{"google.golang.org/grpc", "log", "log/slog", "net/http", "github.com/hashicorp", "os/exec"}
	for _, p := range list(t, "./sim/...", "./tcpstack/...", "./link/...") {
		interpreter := p.ImportPath == module+"/tcpstack/packetdrill" // Starlark's imports log
		for _, dep := range p.Deps {
			if covered(dep, banned) && !(interpreter && covered(dep, []string{"log"})) {
				t.Errorf("%s depends on %s", p.ImportPath, dep)
			}
		}
	}
}

// labctl drives labs through the client only; what embeds a daemon is internal/daemon.
func TestCommandLineUsesClientOnly(t *testing.T) {
	for _, p := range list(t, "./cmd/labctl/...") {
		for _, imp := range p.Imports {
			if dep, ours := strings.CutPrefix(imp, module+"/"); ours && covered(dep, []string{"node", "sim", "link", "orchestrator"}) {
				t.Errorf("%s imports %s", p.ImportPath, dep)
			}
		}
	}
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, patterns ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, patterns...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p goPackage
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatal("go list found no package")
	}
	return all
}

func roomOf(path string) (string, []string) {
	for room := path; room != "."; {
		if allowed, ok := mayImport[room]; ok {
			return room, allowed
		}
		i := strings.LastIndexByte(room, '/')
		if i < 0 {
			break
		}
		room = room[:i]
	}
	return "", nil
}

func covered(dep string, rooms []string) bool {
	for _, r := range rooms {
		if dep == r || strings.HasPrefix(dep, r+"/") {
			return true
		}
	}
	return false
}
