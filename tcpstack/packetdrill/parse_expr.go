package packetdrill

import (
	"net/netip"
	"strconv"
	"strings"
)

// call reads a system call with its result, after its beginning's time.
func (p *parser) call() (*Call, error) {
	c := &Call{Line: p.tok.line}
	var err error
	if p.tok.kind == tokEllipsis {
		if err = p.next(); err != nil {
			return nil, err
		}
		c.Blocking = true
		if c.End, err = p.seconds(); err != nil {
			return nil, err
		}
	}
	if p.tok.kind != tokWord {
		return nil, p.unexpected("the name of a system call")
	}
	c.Name, c.Line = p.tok.text, p.tok.line
	if err = p.next(); err != nil {
		return nil, err
	}
	if _, err = p.expect("("); err != nil {
		return nil, err
	}
	if c.Args, err = p.list(")"); err != nil {
		return nil, err
	}
	if _, err = p.expect("="); err != nil {
		return nil, err
	}
	if c.Result, err = p.expr(); err != nil {
		return nil, err
	}
	// A word after the result is an errno: the next event begins with its time.
	if p.tok.kind == tokWord {
		c.Errno = p.tok.text
		if err = p.next(); err != nil {
			return nil, err
		}
	}
	if p.tok.is("(") {
		c.Note, err = p.note()
	}
	return c, err
}

// note reads the words in parentheses behind a result.
func (p *parser) note() (string, error) {
	var words []string
	for {
		if err := p.next(); err != nil {
			return "", err
		}
		if p.tok.is(")") {
			return strings.Join(words, " "), p.next()
		}
		if p.tok.kind == tokEOF {
			return "", p.unexpected(")")
		}
		words = append(words, p.tok.text)
	}
}

// list reads expressions separated by commas, up to the closing bracket.
func (p *parser) list(end string) ([]*Expr, error) {
	var l []*Expr
	for {
		if done, err := p.accept(end); done || err != nil {
			return l, err
		}
		if len(l) > 0 {
			if _, err := p.expect(","); err != nil {
				return nil, err
			}
		}
		e, err := p.expr()
		if err != nil {
			return nil, err
		}
		l = append(l, e)
	}
}

// expr reads an expression: operands joined by |.
func (p *parser) expr() (*Expr, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, p.errorf("expressions nested more than %d deep", maxNesting)
	}
	defer func() { p.depth-- }()
	e, err := p.operand()
	if err != nil || !p.tok.is("|") {
		return e, err
	}
	or := &Expr{Line: e.Line, Kind: ExprOr, List: []*Expr{e}}
	for {
		if more, err := p.accept("|"); !more || err != nil {
			return or, err
		}
		if e, err = p.operand(); err != nil {
			return nil, err
		}
		or.List = append(or.List, e)
	}
}

// operand reads an expression without |.
func (p *parser) operand() (*Expr, error) {
	e := &Expr{Line: p.tok.line}
	var err error
	switch p.tok.kind {
	case tokEllipsis:
		e.Kind = ExprEllipsis
		return e, p.next()
	case tokInt, tokHex:
		e.Kind, e.Hex = ExprInt, p.tok.kind == tokHex
		e.Int, err = p.integer()
		return e, err
	case tokString:
		return p.str()
	case tokWord:
		return p.word()
	}
	switch {
	case p.tok.is("["):
		if err = p.next(); err != nil {
			return nil, err
		}
		e.Kind = ExprList
		e.List, err = p.list("]")
		return e, err
	case p.tok.is("{"):
		return p.structure()
	}
	return nil, p.unexpected("an expression")
}

// integer reads a number of 64 bits; 0xffffffffffffffff is -1.
func (p *parser) integer() (int64, error) {
	text := p.tok.text
	v, err := strconv.ParseInt(text, 0, 64)
	if p.tok.kind == tokInt {
		v, err = strconv.ParseInt(text, 10, 64) // 010 is ten
	}
	if err != nil {
		u, uerr := strconv.ParseUint(strings.TrimPrefix(text, "0x"), base(p.tok.kind), 64)
		if uerr != nil {
			return 0, p.errorf("the number %v does not fit 64 bits", p.tok)
		}
		v = int64(u)
	}
	return v, p.next()
}

func base(k tokenKind) int {
	if k == tokHex {
		return 16
	}
	return 10
}

// str reads strings, which join if they follow one another.
func (p *parser) str() (*Expr, error) {
	e := &Expr{Line: p.tok.line, Kind: ExprString}
	for p.tok.kind == tokString {
		s, err := unescape(p.tok.text)
		if err != nil {
			return nil, p.errorf("%v in a string", err)
		}
		e.Text += s
		if err = p.next(); err != nil {
			return nil, err
		}
	}
	if p.tok.kind == tokEllipsis {
		e.More = true
		return e, p.next()
	}
	return e, nil
}

// unescape resolves C's escapes.
func unescape(s string) (string, error) {
	var b strings.Builder
	for s != "" {
		if s[0] != '\\' {
			b.WriteByte(s[0])
			s = s[1:]
			continue
		}
		if strings.HasPrefix(s, `\0`) && (len(s) == 2 || strings.IndexByte(digits, s[2]) < 0) {
			b.WriteByte(0)
			s = s[2:]
			continue
		}
		r, _, tail, err := strconv.UnquoteChar(s, '"')
		if err != nil {
			return "", err
		}
		if r > 0xff {
			b.WriteRune(r)
		} else {
			b.WriteByte(byte(r))
		}
		s = tail
	}
	return b.String(), nil
}

// word reads a symbol, symbol = value, or a function of arguments.
func (p *parser) word() (*Expr, error) {
	e := &Expr{Line: p.tok.line, Kind: ExprWord, Text: p.tok.text}
	if err := p.next(); err != nil {
		return nil, err
	}
	if p.tok.is("=") {
		if err := p.next(); err != nil {
			return nil, err
		}
		v, err := p.expr()
		e.Kind, e.List = ExprAssign, []*Expr{v}
		return e, err
	}
	// "= -1 EAGAIN (text)" has a word before a parenthesis too; that one is read
	// by call, and functions are these.
	if p.tok.is("(") && (e.Text == "htons" || e.Text == "htonl" || e.Text == "inet_addr" || e.Text == "inet6_addr") {
		if err := p.next(); err != nil {
			return nil, err
		}
		var err error
		e.Kind = ExprFunc
		if e.List, err = p.list(")"); err != nil {
			return nil, err
		}
		return e, p.address(e)
	}
	return e, nil
}

// address reads the argument of inet_addr and inet6_addr.
func (p *parser) address(e *Expr) error {
	if e.Text != "inet_addr" && e.Text != "inet6_addr" {
		return nil
	}
	if len(e.List) != 1 || e.List[0].Kind != ExprString {
		return &syntaxError{e.Line, e.Text + " wants one string"}
	}
	a, err := netip.ParseAddr(e.List[0].Text)
	if err != nil {
		return &syntaxError{e.Line, "invalid address " + strconv.Quote(e.List[0].Text)}
	}
	e.Addr = a
	return nil
}

// structure reads {a=1, b=2}, {..., 1000} or {msg_iov(1)=[...]}.
func (p *parser) structure() (*Expr, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, p.errorf("expressions nested more than %d deep", maxNesting)
	}
	defer func() { p.depth-- }()
	e := &Expr{Line: p.tok.line, Kind: ExprStruct}
	if err := p.next(); err != nil {
		return nil, err
	}
	for {
		if done, err := p.accept("}"); done || err != nil {
			return e, err
		}
		if len(e.Fields) > 0 {
			if _, err := p.expect(","); err != nil {
				return nil, err
			}
		}
		f, err := p.field()
		if err != nil {
			return nil, err
		}
		e.Fields = append(e.Fields, f)
	}
}

// field reads one member of a struct.
func (p *parser) field() (Field, error) {
	var f Field
	var err error
	named := p.tok.kind == tokWord && (p.ahead.is("=") || p.ahead.is("(") && strings.HasPrefix(p.tok.text, "msg_"))
	if !named {
		f.Value, err = p.expr()
		return f, err
	}
	f.Name = p.tok.text
	if err = p.next(); err != nil {
		return f, err
	}
	if p.tok.is("(") {
		if err = p.next(); err != nil {
			return f, err
		}
		if f.Arg, err = p.expr(); err != nil {
			return f, err
		}
		if _, err = p.expect(")"); err != nil {
			return f, err
		}
	}
	if _, err = p.expect("="); err != nil {
		return f, err
	}
	f.Value, err = p.expr()
	return f, err
}
