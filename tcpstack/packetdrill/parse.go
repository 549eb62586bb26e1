package packetdrill

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"labd.dev/sim"
)

// Bounds of a script.
const (
	maxScript  = 4 << 20 // bytes; the longest scripts in use have some tens of kilobytes
	maxNesting = 32      // depth of an expression; structs in lists in structs go to 4
)

// parser reads a script by recursive descent, with two tokens in view.
type parser struct {
	lex     lexer
	defines map[string]string
	tok     token // the token at hand
	ahead   token // the one after it
	depth   int   // of the expression being read
}

// Parse reads a script. defines are symbols with their values (--define, -D); a
// value in quotes stands for a string, one in backticks for a shell line.
// The error is a *ParseError.
func Parse(name string, src []byte, defines map[string]string) (*Script, error) {
	s, err := parse(name, src, defines)
	if err == nil {
		return s, nil
	}
	var e *syntaxError
	if errors.As(err, &e) {
		return nil, &ParseError{File: name, Line: e.line, Text: e.text}
	}
	return nil, &ParseError{File: name, Line: 1, Text: err.Error()}
}

// ParseError says what of a script is not understood.
type ParseError struct {
	File string
	Line int
	Text string
}

func (e *ParseError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text) }

func parse(name string, src []byte, defines map[string]string) (*Script, error) {
	if len(src) > maxScript {
		return nil, &syntaxError{1, fmt.Sprintf("a script of more than %d bytes", maxScript)}
	}
	s := &Script{Name: name}
	p := &parser{lex: lexer{src: string(src), line: 1}, defines: make(map[string]string)}
	if err := p.options(s); err != nil {
		return nil, err
	}
	// The command line's definitions win over the script's, as with the original.
	for k, v := range defines {
		p.defines[k] = v
	}
	if err := p.fill(); err != nil {
		return nil, err
	}
	if p.tok.kind == tokBacktick {
		s.Init = &Command{Line: p.tok.line, Text: p.tok.text}
		if err := p.next(); err != nil {
			return nil, err
		}
	}
	for p.tok.kind != tokEOF && p.tok.kind != tokBacktick {
		e, err := p.event()
		if err != nil {
			return nil, err
		}
		s.Events = append(s.Events, e)
	}
	if p.tok.kind == tokBacktick {
		s.Cleanup = &Command{Line: p.tok.line, Text: p.tok.text}
		if err := p.next(); err != nil {
			return nil, err
		}
		if p.tok.kind != tokEOF {
			return nil, p.unexpected("nothing after the clean-up command")
		}
	}
	if len(s.Events) == 0 {
		return nil, &syntaxError{p.tok.line, "a script without events"}
	}
	return s, nil
}

// options reads the --name=value lines before the script. Their values are read
// as text, up to a blank or the end of a quotation: an address is no expression.
func (p *parser) options(s *Script) error {
	for {
		if err := p.lex.skipBlank(); err != nil {
			return err
		}
		if !strings.HasPrefix(p.lex.src[p.lex.pos:], "--") {
			return nil
		}
		t, err := p.lex.next()
		if err != nil {
			return err
		}
		if t.kind != tokOption {
			return &syntaxError{t.line, "-- without the name of an option"}
		}
		o := Option{Line: t.line, Name: t.text}
		if rest := p.lex.src[p.lex.pos:]; strings.HasPrefix(rest, "=") {
			o.HasValue = true
			p.lex.pos++
			if o.Value, err = p.optionValue(); err != nil {
				return err
			}
		}
		s.Options = append(s.Options, o)
		if o.Name == "define" {
			k, v, ok := strings.Cut(o.Value, "=")
			if !ok || k == "" {
				return &syntaxError{t.line, "--define without symbol=value"}
			}
			p.defines[k] = v
		}
	}
}

// optionValue is an option's value: text without blanks, in which quotations keep
// their quotes, but for one that is the whole value.
func (p *parser) optionValue() (string, error) {
	start := p.lex.pos
	for p.lex.pos < len(p.lex.src) {
		c := p.lex.src[p.lex.pos]
		if strings.IndexByte(" \t\r\n", c) >= 0 {
			break
		}
		if c != '"' && c != '`' {
			p.lex.pos++
		} else if _, err := p.lex.quoted(c); err != nil {
			return "", err
		}
	}
	v := p.lex.src[start:p.lex.pos]
	if len(v) > 1 && v[0] == '"' && v[len(v)-1] == '"' {
		v = v[1 : len(v)-1]
	}
	return v, nil
}

// fill reads the first two tokens.
func (p *parser) fill() error {
	if err := p.next(); err != nil {
		return err
	}
	return p.next()
}

// next goes on by one token. Words that are defined stand for their values.
func (p *parser) next() error {
	t, err := p.lex.next()
	if err != nil {
		return err
	}
	if v, ok := p.defines[t.text]; ok && t.kind == tokWord {
		t = define(t.line, v)
	}
	p.tok, p.ahead = p.ahead, t
	return nil
}

// define is the token that a defined symbol stands for.
func define(line int, v string) token {
	if len(v) > 1 && (v[0] == '"' || v[0] == '`') && v[len(v)-1] == v[0] {
		kind := tokString
		if v[0] == '`' {
			kind = tokBacktick
		}
		return token{kind, line, v[1 : len(v)-1]}
	}
	if v != "" {
		if kind, n := number(v); n == len(v) && (kind == tokInt || kind == tokHex) {
			return token{kind, line, v}
		}
	}
	return token{tokWord, line, v}
}

// unexpected says that something else than the token at hand was due.
func (p *parser) unexpected(want string) error {
	return &syntaxError{p.tok.line, fmt.Sprintf("parse error at %v: expected %s", p.tok, want)}
}

func (p *parser) errorf(format string, a ...any) error {
	return &syntaxError{p.tok.line, fmt.Sprintf(format, a...)}
}

// accept passes over the token if it is s.
func (p *parser) accept(s string) (bool, error) {
	if !p.tok.is(s) {
		return false, nil
	}
	return true, p.next()
}

// expect passes over the token, which must be one of those named, and says which
// it was.
func (p *parser) expect(one ...string) (string, error) {
	if (p.tok.kind == tokWord || p.tok.kind == tokPunct) && slices.Contains(one, p.tok.text) {
		t := p.tok.text
		return t, p.next()
	}
	return "", p.unexpected(strings.Join(one, " or "))
}

// event reads a time and what happens then.
func (p *parser) event() (*Event, error) {
	e := &Event{Line: p.tok.line}
	var err error
	if e.Time, err = p.time(); err != nil {
		return nil, err
	}
	switch {
	case p.tok.is("<") || p.tok.is(">"):
		e.Packet, err = p.packet()
	case p.tok.kind == tokBacktick:
		e.Command = &Command{Line: p.tok.line, Text: p.tok.text}
		err = p.next()
	case p.tok.kind == tokCode:
		e.Code = &Code{Line: p.tok.line, Text: p.tok.text}
		err = p.next()
	case p.tok.kind == tokWord || p.tok.kind == tokEllipsis:
		e.Call, err = p.call()
	default:
		err = p.unexpected("a packet, a system call, a shell line or a code block")
	}
	if err != nil {
		return nil, err
	}
	outbound := e.Packet != nil && e.Packet.Outbound
	if k := e.Time.Kind; !outbound && k != TimeAbsolute && k != TimeRelative {
		return nil, &syntaxError{e.Line, "only an outbound packet may come at any time or in a range of times"}
	}
	if e.Call != nil && e.Call.Blocking && e.Call.End < e.Time.At {
		return nil, &syntaxError{e.Line, "a system call that ends before it begins"}
	}
	return e, nil
}

// time reads an event's time: 1, +1, *, 1~2 or +1~+2.
func (p *parser) time() (Time, error) {
	var t Time
	if any, err := p.accept("*"); any || err != nil {
		t.Kind = TimeAny
		return t, err
	}
	relative, err := p.accept("+")
	if err != nil {
		return t, err
	}
	if t.At, err = p.seconds(); err != nil {
		return t, err
	}
	if relative {
		t.Kind = TimeRelative
	}
	if ranged, err := p.accept("~"); !ranged || err != nil {
		return t, err
	}
	t.Kind = TimeAbsoluteRange
	if relative {
		t.Kind = TimeRelativeRange
		if _, err := p.expect("+"); err != nil {
			return t, err
		}
	}
	if t.Until, err = p.seconds(); err == nil && t.Until < t.At {
		err = p.errorf("a range of times that runs backwards")
	}
	return t, err
}

// seconds reads a number of seconds.
func (p *parser) seconds() (sim.Time, error) {
	if p.tok.kind != tokInt && p.tok.kind != tokFloat {
		return 0, p.unexpected("a time in seconds")
	}
	at, err := parseSeconds(p.tok.text)
	if err != nil {
		return 0, p.errorf("%v", err)
	}
	return at, p.next()
}

// maxSeconds bounds the times of a script: longer than any timer of TCP, and
// sums of a script's times stay far from overflow.
const maxSeconds = 1_000_000

// parseSeconds reads decimal seconds without going through floating point, which
// the original does and so takes 0.001 for 0.000999.
func parseSeconds(s string) (sim.Time, error) {
	whole, frac, _ := strings.Cut(s, ".")
	if strings.HasPrefix(s, "-") {
		return 0, errors.New("a negative time")
	}
	var t sim.Time
	for _, c := range whole {
		if t = t*10 + sim.Time(c-'0'); t > maxSeconds {
			return 0, fmt.Errorf("a time of more than %d seconds", maxSeconds)
		}
	}
	for i := range 9 {
		t *= 10
		if i < len(frac) {
			t += sim.Time(frac[i] - '0')
		}
	}
	return t, nil
}
