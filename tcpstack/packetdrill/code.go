package packetdrill

import (
	"errors"
	"fmt"
	"math/big"
	"strings"

	"go.starlark.net/resolve"
	"go.starlark.net/starlark"
	"go.starlark.net/syntax"
)

const (
	// maxCodeSteps bounds one block: an honest one takes a few hundred steps.
	maxCodeSteps = 100_000
	// maxCodeText bounds the text of one block, bytes.
	maxCodeText = 64 << 10
	// maxCodeBits and maxCodeBytes bound what an operator may be given: without them a few lines of doubling would fill the
	// memory within the steps.
	maxCodeBits  = 4096
	maxCodeBytes = 64 << 10
)

// interpreter runs a script's %{ }% blocks. What one of them assigns the later ones see, as in the one Python program
// that the original makes of them.
type interpreter struct {
	globals starlark.StringDict
	printed []string
}

// codeDialect is as much of Python as Starlark can be made to take.
var codeDialect = &syntax.FileOptions{Set: true, While: true, TopLevelControl: true, GlobalReassign: true}

// assertion is an assert that does not hold.
type assertion struct{ text string }

func (a *assertion) Error() string { return a.text }

// Code runs a block over the tcp_info of the socket that the script uses.
func (m *machine) Code(c *Code) error {
	if m.current == nil {
		return fmt.Errorf("there is no socket whose tcp_info the code could look at")
	}
	if m.current.datagram != nil {
		return skipf("code over a socket of UDP")
	}
	return m.code.run(c.Text, m.codeNames())
}

// codeNames are the variables that a block sees: tcp_info, the algorithm's own state, SO_MEMINFO, and the constants.
func (m *machine) codeNames() starlark.StringDict {
	d := starlark.StringDict{}
	s := m.current
	info := s.tcpInfo()
	for _, f := range tcpInfoFields {
		d[f.name] = starlark.MakeUint64(f.value(info))
	}
	for _, v := range s.ccInfo() {
		d[v.Name] = starlark.MakeInt64(v.Value)
	}
	for i, n := range s.memory() {
		d[meminfoNames[i]] = starlark.MakeInt64(n)
	}
	for _, list := range [][]symbol{tcpStates, tcpiOptions} {
		for _, v := range list {
			d[v.name] = starlark.MakeInt64(v.value)
		}
	}
	for _, v := range caStates {
		d[v.symbol.name] = starlark.MakeInt64(v.symbol.value)
	}
	return d
}

var meminfoNames = [...]string{"SK_MEMINFO_RMEM_ALLOC", "SK_MEMINFO_RCVBUF", "SK_MEMINFO_WMEM_ALLOC", "SK_MEMINFO_SNDBUF",
	"SK_MEMINFO_FWD_ALLOC", "SK_MEMINFO_WMEM_QUEUED", "SK_MEMINFO_OPTMEM", "SK_MEMINFO_BACKLOG", "SK_MEMINFO_DROPS"}

var tcpiOptions = []symbol{{"TCPI_OPT_TIMESTAMPS", tcpiTimestamps}, {"TCPI_OPT_SACK", tcpiSACK}, {"TCPI_OPT_WSCALE", tcpiWscale},
	{"TCPI_OPT_ECN", tcpiECN}, {"TCPI_OPT_ECN_SEEN", tcpiECNSeen}, {"TCPI_OPT_SYN_DATA", tcpiSYNData}}

// run runs one block. What cannot be translated or computed is a skip; an assert that does not hold is a failure.
func (in *interpreter) run(text string, names starlark.StringDict) error {
	if len(text) > maxCodeText {
		return skipf("a code block of more than %d bytes", maxCodeText)
	}
	src, err := pythonToStarlark(text)
	if err != nil {
		return skipf("code: %v", err)
	}
	file, err := codeDialect.Parse("code", src, 0)
	if err != nil {
		return skipf("code: %s", strings.TrimPrefix(err.Error(), "code:"))
	}
	if err := restrain(file); err != nil {
		return skipf("code: %v", err)
	}
	for name, v := range in.globals {
		if _, ours := names[name]; !ours {
			names[name] = v
		}
	}
	in.builtins(names)
	prog, err := starlark.FileProgram(file, names.Has)
	if err != nil {
		var list resolve.ErrorList
		if errors.As(err, &list) && len(list) > 0 {
			return skipf("code: %s", list[0].Msg)
		}
		return skipf("code: %v", err)
	}
	thread := &starlark.Thread{Name: "code"}
	thread.SetMaxExecutionSteps(maxCodeSteps)
	globals, err := prog.Init(thread, names)
	var failed *assertion
	switch {
	case errors.As(err, &failed):
		return errors.New(failed.text)
	case err != nil:
		return skipf("code: %v", err)
	}
	if in.globals == nil {
		in.globals = starlark.StringDict{}
	}
	for name, v := range globals {
		in.globals[name] = v
	}
	return nil
}

// builtins are the functions that a block may call.
func (in *interpreter) builtins(d starlark.StringDict) {
	d["_assert"] = starlark.NewBuiltin("assert", in.assert)
	d["_print"] = starlark.NewBuiltin("print", in.print)
	for _, op := range boundedOperators {
		d[operatorName(op)] = starlark.NewBuiltin(operatorName(op), func(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
			return boundedBinary(op, args[0], args[1])
		})
	}
	for _, name := range []string{"range", "list", "tuple", "dict", "set", "sorted", "zip", "enumerate", "reversed", "dir", "getattr", "hasattr", "fail"} {
		d[name] = starlark.NewBuiltin(name, func(_ *starlark.Thread, b *starlark.Builtin, _ starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
			return nil, fmt.Errorf("%s is not for code blocks", b.Name())
		})
	}
}

// assert is _assert(condition, lambda: message, text): the message is made only if it is needed, as Python does.
func (in *interpreter) assert(t *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	if args[0].Truth() {
		return starlark.None, nil
	}
	text, _ := starlark.AsString(args[2])
	text = "assert " + text
	if v, err := starlark.Call(t, args[1], nil, nil); err == nil && v != starlark.None {
		text += ": " + strings.Trim(v.String(), `"`)
	}
	if len(in.printed) > 0 {
		text += "\nprinted: " + strings.Join(in.printed, "\nprinted: ")
	}
	return nil, &assertion{text}
}

// maxPrinted bounds the lines that are kept for a failure's message.
const maxPrinted = 100

// print keeps what is printed: it is told with an assertion that fails.
func (in *interpreter) print(_ *starlark.Thread, _ *starlark.Builtin, args starlark.Tuple, _ []starlark.Tuple) (starlark.Value, error) {
	var words []string
	for _, a := range args {
		if s, ok := starlark.AsString(a); ok {
			words = append(words, s)
		} else {
			words = append(words, a.String())
		}
	}
	if len(in.printed) < maxPrinted {
		in.printed = append(in.printed, strings.Join(words, " "))
	}
	return starlark.None, nil
}

// boundedOperators can make much out of little.
var boundedOperators = []syntax.Token{syntax.STAR, syntax.PLUS, syntax.PERCENT, syntax.LTLT}

func operatorName(op syntax.Token) string {
	switch op {
	case syntax.STAR:
		return "_times"
	case syntax.PLUS:
		return "_plus"
	case syntax.PERCENT:
		return "_percent"
	}
	return "_shift"
}

// boundedBinary is an operator on operands of a bounded size.
func boundedBinary(op syntax.Token, x, y starlark.Value) (starlark.Value, error) {
	for _, v := range []starlark.Value{x, y} {
		switch v := v.(type) {
		case starlark.Int:
			if v.BigInt().BitLen() > maxCodeBits {
				return nil, fmt.Errorf("a number of more than %d bits", maxCodeBits)
			}
		case starlark.Float, starlark.Bool:
		case starlark.String:
			if len(v) > maxCodeBytes || op == syntax.STAR {
				return nil, fmt.Errorf("%s on a string that may become long", op)
			}
		case starlark.Tuple:
			if op != syntax.PERCENT || v.Len() > 100 {
				return nil, fmt.Errorf("%s on a tuple", op)
			}
		default:
			return nil, fmt.Errorf("%s on a %s", op, v.Type())
		}
	}
	if n, ok := y.(starlark.Int); ok && op == syntax.LTLT && n.BigInt().Cmp(big.NewInt(maxCodeBits)) > 0 {
		return nil, fmt.Errorf("a shift by more than %d bits", maxCodeBits)
	}
	return starlark.Binary(op, x, y)
}

// restrain refuses what could take much memory in few steps, and puts bounded functions in the place of operators.
func restrain(file *syntax.File) (err error) {
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.DotExpr:
			err = fmt.Errorf("attributes are not for code blocks")
		case *syntax.Comprehension, *syntax.DefStmt, *syntax.LoadStmt:
			err = fmt.Errorf("neither comprehensions nor functions are for code blocks")
		case *syntax.AssignStmt:
			if n.Op != syntax.EQ && n.Op != syntax.MINUS_EQ {
				id, ok := n.LHS.(*syntax.Ident)
				if !ok {
					err = fmt.Errorf("%s is for variables", n.Op)
					return false
				}
				op := n.Op - syntax.PLUS_EQ + syntax.PLUS
				n.RHS = &syntax.BinaryExpr{X: &syntax.Ident{NamePos: id.NamePos, Name: id.Name}, OpPos: n.OpPos, Op: op, Y: &syntax.ParenExpr{X: n.RHS}}
				n.Op = syntax.EQ
			}
		}
		return err == nil
	})
	if err == nil {
		for _, s := range file.Stmts {
			boundStatement(s)
		}
	}
	return err
}
