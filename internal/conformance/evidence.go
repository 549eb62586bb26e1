package conformance

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	ids  = regexp.MustCompile(`\b(?:MUST|SHLD|MAY|REC)-[0-9]+\b`)
	rfcs = regexp.MustCompile(`\bRFCs? ?([0-9]{3,4})\b`)
)

// Evidence is a test and what it says that it shows.
type Evidence struct {
	Name string // "TestPAWS (tcpstack)"; of a script its path
	IDs  []string
	RFCs []string
	Text string // its comments and strings; all of a script
}

// Collect reads the tests and packetdrill scripts of the source tree at root, in the order of their paths. A Go test shows
// the requirements and RFCs that the comments on it and in it name; a script those that its comments and its folder name.
func Collect(root string) ([]Evidence, error) {
	var all []Evidence
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != root || d.Name() == "bench" || d.Name() == "tools"):
			return fs.SkipDir
		case strings.HasSuffix(path, "_test.go"):
			found, err := testsOf(root, path)
			all = append(all, found...)
			return err
		case strings.HasSuffix(path, ".pkt"):
			e, err := scriptOf(root, path)
			all = append(all, e)
			return err
		}
		return nil
	})
	return all, err
}

func testsOf(root, path string) ([]Evidence, error) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Rel(root, filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	var found []Evidence
	for _, decl := range f.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") && !strings.HasPrefix(fn.Name.Name, "Fuzz") {
			continue
		}
		var text strings.Builder
		for _, c := range f.Comments {
			if c == fn.Doc || c.Pos() > fn.Pos() && c.End() < fn.End() {
				text.WriteString(c.Text())
			}
		}
		ast.Inspect(fn, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text.WriteString(lit.Value + "\n")
			}
			return true
		})
		found = append(found, evidence(fmt.Sprintf("%s (%s)", fn.Name.Name, filepath.ToSlash(dir)), text.String()))
	}
	return found, nil
}

func scriptOf(root, path string) (Evidence, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Evidence{}, err
	}
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return Evidence{}, err
	}
	folder := strings.TrimPrefix(filepath.Base(filepath.Dir(path)), "rfc")
	return evidence(filepath.ToSlash(rel), string(text)+"\nRFC "+folder), nil
}

func evidence(name, text string) Evidence {
	e := Evidence{Name: name, Text: text, IDs: unique(ids.FindAllString(text, -1))}
	for _, m := range rfcs.FindAllStringSubmatch(text, -1) {
		e.RFCs = append(e.RFCs, m[1])
	}
	e.RFCs = unique(e.RFCs)
	return e
}

func unique(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}
