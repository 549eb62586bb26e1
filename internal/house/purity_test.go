package house

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// purePackages run inside a lab: the same inputs must give the same bytes on every machine.
var purePackages = []string{
	"./sim", "./sim/dmath", "./tcpstack", "./tcpstack/wire", "./tcpstack/congestion", "./link", "./node", "./node/app", "./node/app/craft", "./node/cut", "./trace/capfilter",
}

// edgeFiles lie in pure packages and are allowed to touch the outside; each with its reason.
var edgeFiles = map[string]string{
	"sim/pacer":        "holds events until their wall time: the one place where lab time meets wall time",
	"tcpstack/netconn": "the blocking net.Conn face, called by the outside's goroutines",
}

// bannedCalls are functions that read the world, or whose result differs from CPU to CPU.
var bannedCalls = map[string][]string{
	"time": {"Now", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Since", "Until"},
	"math": {"Exp", "Exp2", "Expm1", "Log", "Log2", "Log10", "Log1p", "Pow", "Cbrt", "Sin", "Cos", "Tan", "Sinh", "Cosh",
		"Tanh", "Asin", "Acos", "Atan", "Atan2", "Hypot", "Gamma", "Lgamma", "Erf", "Erfc", "Erfinv", "FMA", "Sincos"},
	"maps":    {"Keys", "Values", "All", "Collect"},
	"runtime": {"NumCPU", "GOMAXPROCS", "NumGoroutine", "GC"},
}

// bannedImports bring clocks, chance, locks, the host or other goroutines in.
var bannedImports = []string{
	"math/rand", "math/rand/v2", "crypto/rand", "sync", "sync/atomic", "os", "os/exec", "os/signal", "net", "net/http",
	"log", "log/slog", "context", "hash/maphash", "unique", "google.golang.org/grpc", "reflect",
}

func TestPurity(t *testing.T) {
	pkgs, err := packages.Load(&packages.Config{
		Dir:  "../..",
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports | packages.NeedDeps,
	}, purePackages...)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, p := range pkgs {
		for _, e := range p.Errors {
			t.Fatalf("%s: %v", p.PkgPath, e)
		}
		for _, f := range p.Syntax {
			if name := fileName(p, f); !isEdge(p, name) {
				checked++
				for _, v := range impurities(p.Fset, p.TypesInfo, f) {
					t.Error(v)
				}
			}
		}
	}
	if checked < 20 {
		t.Fatalf("only %d files checked: the package patterns are wrong", checked)
	}
}

func fileName(p *packages.Package, f *ast.File) string { return p.Fset.Position(f.Package).Filename }

func isEdge(p *packages.Package, file string) bool {
	dir := strings.TrimPrefix(p.PkgPath, module+"/")
	for prefix := range edgeFiles {
		if strings.HasPrefix(dir+"/"+filepath.Base(file), prefix) {
			return true
		}
	}
	return false
}

// impurities lists what a file does that code inside a lab may not, as file:line:column messages.
func impurities(fset *token.FileSet, info *types.Info, f *ast.File) []string {
	var found []string
	report := func(n ast.Node, format string, args ...any) {
		found = append(found, fmt.Sprintf("%s: %s", fset.Position(n.Pos()), fmt.Sprintf(format, args...)))
	}
	for _, imp := range f.Imports {
		if path := strings.Trim(imp.Path.Value, `"`); slices.Contains(bannedImports, path) {
			report(imp, "imports %s", path)
		}
	}
	inspectPurity(info, f, report)
	return found
}

// inspectPurity reports what a piece of code does that code inside a lab may not.
func inspectPurity(info *types.Info, code ast.Node, report func(n ast.Node, format string, args ...any)) {
	ast.Inspect(code, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			report(n, "starts a goroutine")
		case *ast.SelectStmt:
			report(n, "selects over channels")
		case *ast.ChanType:
			report(n, "uses a channel")
		case *ast.RangeStmt:
			if _, isMap := info.TypeOf(n.X).Underlying().(*types.Map); isMap {
				report(n, "ranges over a map: its order is random")
			}
		case *ast.SelectorExpr:
			fn, ok := info.Uses[n.Sel].(*types.Func)
			if ok && fn.Pkg() != nil && fn.Signature().Recv() == nil && slices.Contains(bannedCalls[fn.Pkg().Path()], fn.Name()) {
				report(n, "uses %s.%s", fn.Pkg().Path(), fn.Name())
			}
		}
		return true
	})
}

// The checker itself must catch each kind of impurity.
func TestPurityCheckerCatches(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`import "time"; func f() { _ = time.Now() }`, "uses time.Now"},
		{`import "time"; var now = time.Now`, "uses time.Now"},
		{`import "math"; func f(x float64) float64 { return math.Log(x) }`, "uses math.Log"},
		{`import "math/rand"; func f() int { return rand.Int() }`, "imports math/rand"},
		{`import "sync"; var mu sync.Mutex`, "imports sync"},
		{`func f(m map[int]int) { for range m {} }`, "ranges over a map"},
		{`func f() { go f() }`, "starts a goroutine"},
		{`func f() { select {} }`, "selects over channels"},
		{`var c chan int`, "uses a channel"},
		{`import "time"; func f(d time.Duration) time.Duration { return d * time.Second }`, ""},
		{`func f(m map[int]int) int { return m[1] }`, ""},
	} {
		got := impuritiesOf(t, "package x; "+c.body)
		if c.want == "" && len(got) > 0 || c.want != "" && !strings.Contains(strings.Join(got, "\n"), c.want) {
			t.Errorf("%s: got %q, want %q", c.body, got, c.want)
		}
	}
}
