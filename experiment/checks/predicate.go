package checks

import (
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"labd.dev/trace"
)

const (
	// maxSteps bounds one evaluation of a predicate: an honest one takes a few dozen steps.
	maxSteps = 10_000
	// maxPredicate bounds the text of a predicate, bytes.
	maxPredicate = 4096
)

// predicate is a Starlark expression over an event's fields. Each name in it is a field of the event's data, else node,
// t_ns, eseq, conn, side, cause or name of the event itself, else None.
type predicate struct {
	fn    *starlark.Function
	names []string
	args  starlark.Tuple
}

var dialect = &syntax.FileOptions{}

// builtins and methods that a predicate may use: none can make much out of little. All other names are fields, len too.
var (
	builtins = []string{"True", "False", "None", "int", "float", "str", "bool", "min", "max", "abs", "any", "all"}
	methods  = []string{"startswith", "endswith", "lower", "upper", "find", "get", "strip"}
)

// compile checks an expression and makes it a function of the names that it uses.
func compile(src string) (*predicate, error) {
	if len(src) > maxPredicate {
		return nil, fmt.Errorf("the predicate is longer than %d bytes", maxPredicate)
	}
	expr, err := dialect.ParseExpr("where", src, 0)
	if err != nil {
		return nil, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "where:"))
	}
	if err := bounded(expr); err != nil {
		return nil, err
	}
	var names []string
	seen := map[string]bool{}
	isField := func(name string) bool {
		if slices.Contains(builtins, name) {
			return false
		}
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
		return true
	}
	if _, err := resolve.ExprOptions(dialect, expr, isField, starlark.Universe.Has); err != nil {
		return nil, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "where:"))
	}
	// The newline ends a comment that the expression may end with.
	fn, err := starlark.EvalOptions(dialect, &starlark.Thread{Name: "compile"}, "where", "lambda "+strings.Join(names, ", ")+": (\n"+src+"\n)", nil)
	if err != nil {
		return nil, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "where:"))
	}
	return &predicate{fn: fn.(*starlark.Function), names: names, args: make(starlark.Tuple, len(names))}, nil
}

// bounded refuses what could use much memory in few steps.
func bounded(expr syntax.Expr) (err error) {
	syntax.Walk(expr, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.BinaryExpr:
			if n.Op == syntax.STAR || n.Op == syntax.LTLT || n.Op == syntax.PERCENT {
				err = fmt.Errorf("%s is not for predicates", n.Op)
			}
		case *syntax.DotExpr:
			if !slices.Contains(methods, n.Name.Name) {
				err = fmt.Errorf(".%s is not for predicates; there are %s", n.Name.Name, strings.Join(methods, ", "))
			}
		case *syntax.Comprehension, *syntax.LambdaExpr:
			err = fmt.Errorf("comprehensions and lambdas are not for predicates")
		}
		return err == nil
	})
	return err
}

// holds evaluates the predicate for one event, and tells how many steps that took. What cannot be computed because the event
// lacks a field does not hold.
func (p *predicate) holds(thread *starlark.Thread, e *trace.Event) (bool, uint64, error) {
	lacks := false
	for i, name := range p.names {
		p.args[i] = fieldOf(e, name)
		lacks = lacks || p.args[i] == starlark.None
	}
	thread.Steps = 0
	thread.SetMaxExecutionSteps(maxSteps)
	v, err := starlark.Call(thread, p.fn, p.args, nil)
	if err != nil && !lacks {
		return false, thread.Steps, fmt.Errorf("event %s of %s at %d ns: %w", e.Name, e.Node, e.TNs, err)
	}
	return err == nil && bool(v.Truth()), thread.Steps, nil
}

func fieldOf(e *trace.Event, name string) starlark.Value {
	if v, ok := e.Get(name); ok {
		return toStarlark(v)
	}
	switch name {
	case "node":
		return starlark.String(e.Node)
	case "t_ns":
		return starlark.MakeInt64(e.TNs)
	case "eseq":
		return starlark.MakeUint64(e.ESeq)
	case "conn":
		return starlark.String(e.Conn)
	case "side":
		return starlark.String(e.Side)
	case "cause":
		return starlark.MakeUint64(e.Cause)
	case "name":
		return starlark.String(e.Name)
	}
	return starlark.None
}

func toStarlark(v any) starlark.Value {
	switch v := v.(type) {
	case string:
		return starlark.String(v)
	case trace.JSON:
		return starlark.String(v)
	case bool:
		return starlark.Bool(v)
	case int64:
		return starlark.MakeInt64(v)
	case uint64:
		return starlark.MakeUint64(v)
	case float64:
		return starlark.Float(v)
	case []string:
		list := make([]starlark.Value, len(v))
		for i, s := range v {
			list[i] = starlark.String(s)
		}
		return starlark.NewList(list)
	case []trace.Field:
		d := starlark.NewDict(len(v))
		for _, f := range v {
			// A new dict takes any string key.
			_ = d.SetKey(starlark.String(f.Name), toStarlark(f.Value))
		}
		return d
	}
	return starlark.None
}
