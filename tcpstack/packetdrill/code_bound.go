package packetdrill

import (
	"slices"

	"go.starlark.net/syntax"
)

// boundStatement puts calls of the bounded functions in the place of operators, in a statement and what it holds.
func boundStatement(s syntax.Stmt) {
	switch s := s.(type) {
	case *syntax.AssignStmt:
		s.LHS, s.RHS = boundExpr(s.LHS), boundExpr(s.RHS)
	case *syntax.ExprStmt:
		s.X = boundExpr(s.X)
	case *syntax.IfStmt:
		s.Cond = boundExpr(s.Cond)
		boundStatements(s.True)
		boundStatements(s.False)
	case *syntax.ForStmt:
		s.X = boundExpr(s.X)
		boundStatements(s.Body)
	case *syntax.WhileStmt:
		s.Cond = boundExpr(s.Cond)
		boundStatements(s.Body)
	}
}

func boundStatements(list []syntax.Stmt) {
	for _, s := range list {
		boundStatement(s)
	}
}

// boundExpr is the same for an expression.
func boundExpr(e syntax.Expr) syntax.Expr {
	switch e := e.(type) {
	case *syntax.BinaryExpr:
		e.X, e.Y = boundExpr(e.X), boundExpr(e.Y)
		if slices.Contains(boundedOperators, e.Op) {
			start, _ := e.X.Span()
			_, end := e.Y.Span()
			return &syntax.CallExpr{Fn: &syntax.Ident{NamePos: start, Name: operatorName(e.Op)}, Lparen: start, Args: []syntax.Expr{e.X, e.Y}, Rparen: end}
		}
	case *syntax.CallExpr:
		e.Fn = boundExpr(e.Fn)
		boundExprs(e.Args)
	case *syntax.CondExpr:
		e.Cond, e.True, e.False = boundExpr(e.Cond), boundExpr(e.True), boundExpr(e.False)
	case *syntax.DictExpr:
		boundExprs(e.List)
	case *syntax.DictEntry:
		e.Key, e.Value = boundExpr(e.Key), boundExpr(e.Value)
	case *syntax.IndexExpr:
		e.X, e.Y = boundExpr(e.X), boundExpr(e.Y)
	case *syntax.LambdaExpr:
		e.Body = boundExpr(e.Body)
	case *syntax.ListExpr:
		boundExprs(e.List)
	case *syntax.ParenExpr:
		e.X = boundExpr(e.X)
	case *syntax.SliceExpr:
		e.X = boundExpr(e.X)
	case *syntax.TupleExpr:
		boundExprs(e.List)
	case *syntax.UnaryExpr:
		e.X = boundExpr(e.X)
	}
	return e
}

func boundExprs(list []syntax.Expr) {
	for i := range list {
		list[i] = boundExpr(list[i])
	}
}
