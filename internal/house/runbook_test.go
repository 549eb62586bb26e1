package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"labd.dev/internal/runbook"
)

// Each failure that docs/operations.md tells of is provoked by the tests that it names, which hold it to the page's words; and
// no test holds a failure to the page that does not name the test.
func TestFailuresOfTheRunbookAreShown(t *testing.T) {
	failures, err := runbook.Failures()
	if err != nil {
		t.Fatal(err)
	}
	held := map[[3]string]bool{} // failure, test, package
	files, err := filepath.Glob("../../*/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	deeper, err := filepath.Glob("../../*/*/*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(files, deeper...) {
		dir, err := filepath.Rel("../..", filepath.Dir(name))
		if err != nil {
			t.Fatal(err)
		}
		for _, says := range saidIn(t, name) {
			held[[3]string{says[0], says[1], filepath.ToSlash(dir)}] = true
		}
	}
	for _, f := range failures {
		for _, test := range f.Tests {
			key := [3]string{f.Name, test[0], test[1]}
			if !held[key] {
				t.Errorf("docs/operations.md says that %s (%s) shows %q, and it does not ask runbook.Says for it", test[0], test[1], f.Name)
			}
			delete(held, key)
		}
	}
	for key := range held {
		t.Errorf("%s (%s) shows %q, and docs/operations.md does not name it there", key[1], key[2], key[0])
	}
}

// saidIn lists the failures that a file's tests hold to the page, each with the test.
func saidIn(t *testing.T, name string) [][2]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var list [][2]string
	for _, d := range file.Decls {
		test, ok := d.(*ast.FuncDecl)
		if !ok || !strings.HasPrefix(test.Name.Name, "Test") {
			continue
		}
		ast.Inspect(test, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 3 {
				return true
			}
			of, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || of.Sel.Name != "Says" {
				return true
			}
			if pkg, ok := of.X.(*ast.Ident); !ok || pkg.Name != "runbook" {
				return true
			}
			text, ok := call.Args[1].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: runbook.Says is asked for a failure that is not named on the spot", name)
				return true
			}
			failure, err := strconv.Unquote(text.Value)
			if err != nil {
				t.Error(err)
			}
			list = append(list, [2]string{failure, test.Name.Name})
			return true
		})
	}
	return list
}
