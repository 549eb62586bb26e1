package house

import (
	"fmt"
	"go/ast"
	"go/types"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// outsideStateMachine are packages of which applying a command uses nothing, besides what no lab may use: files, streams
// and the wall clock.
var outsideStateMachine = append([]string{"io", "io/fs", "bufio", "time", "runtime", "path/filepath"}, bannedImports...)

// pureOfTime writes out a time that a command holds: in UTC it reads the same on every server.
var pureOfTime = []string{"time.Unix", "(time.Time).UTC", "(time.Time).Format"}

// Every server applies the same log and must come to the same state: what Apply reaches in the orchestrator uses no clock,
// no chance, no order of a map, no input or output, no goroutine and no configuration of the server's own.
func TestApplyIsPure(t *testing.T) {
	pkgs, err := packages.Load(&packages.Config{
		Dir:  "../..",
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports | packages.NeedDeps,
	}, "./orchestrator")
	if err != nil {
		t.Fatal(err)
	}
	p := pkgs[0]
	bodies := make(map[*types.Func]*ast.FuncDecl)
	var next []*types.Func
	for _, f := range p.Syntax {
		for _, d := range f.Decls {
			if fd, ok := d.(*ast.FuncDecl); ok {
				fn := p.TypesInfo.Defs[fd.Name].(*types.Func)
				bodies[fn] = fd
				if fd.Name.Name == "apply" && fd.Recv == nil {
					next = append(next, fn)
				}
			}
		}
	}
	seen := make(map[*types.Func]bool)
	for len(next) > 0 {
		fn := next[len(next)-1]
		next = next[:len(next)-1]
		if seen[fn] {
			continue
		}
		seen[fn] = true
		body := bodies[fn]
		for _, v := range applyImpurities(p, body) {
			t.Errorf("%s: %s", fn.FullName(), v)
		}
		ast.Inspect(body, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok {
				if callee, ok := p.TypesInfo.Uses[id].(*types.Func); ok && bodies[callee.Origin()] != nil {
					next = append(next, callee.Origin())
				}
			}
			return true
		})
	}
	if len(seen) < 25 {
		t.Fatalf("only %d functions reached from apply", len(seen))
	}
}

func applyImpurities(p *packages.Package, body *ast.FuncDecl) []string {
	var found []string
	report := func(n ast.Node, format string, args ...any) {
		found = append(found, fmt.Sprintf("%s: %s", p.Fset.Position(n.Pos()), fmt.Sprintf(format, args...)))
	}
	inspectPurity(p.TypesInfo, body, report)
	ast.Inspect(body, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if !ok {
			return true
		}
		switch used := p.TypesInfo.Uses[id].(type) {
		case *types.Func:
			if used.Pkg() != nil && slices.Contains(outsideStateMachine, used.Pkg().Path()) && !slices.Contains(pureOfTime, used.FullName()) {
				report(id, "uses %s", used.FullName())
			}
		case *types.Var:
			if used.Parent() == p.Types.Scope() && !strings.HasPrefix(used.Name(), "err") {
				report(id, "reads the package's variable %s", used.Name())
			}
		}
		return true
	})
	return found
}
