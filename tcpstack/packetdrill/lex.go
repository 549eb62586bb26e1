package packetdrill

import (
	"fmt"
	"strings"
)

// tokenKind is a kind of token. Punctuation is a token of its own byte.
type tokenKind uint8

const (
	tokEOF      tokenKind = iota
	tokInt                // 10, -1
	tokHex                // 0x1f
	tokFloat              // 1.5, .5, -0.1
	tokWord               // anything of letters, digits and underscores
	tokString             // "...", quotes taken off, escapes as they stand
	tokBacktick           // `...`
	tokCode               // %{ ... }%
	tokOption             // --name, dashes taken off
	tokEllipsis           // ...
	tokPunct              // one other byte
)

// token is one token with the line on which it begins.
type token struct {
	kind tokenKind
	line int
	text string
}

// is says whether the token is the given word or punctuation.
func (t token) is(s string) bool { return (t.kind == tokWord || t.kind == tokPunct) && t.text == s }

// String is the token as an error message shows it.
func (t token) String() string {
	const longest = 40 // a page of shell in an error message helps nobody
	if t.kind == tokEOF {
		return "the end of the file"
	}
	if len(t.text) > longest {
		return fmt.Sprintf("%q...", t.text[:longest])
	}
	return fmt.Sprintf("%q", t.text)
}

// syntaxError is what is wrong with a script's text.
type syntaxError struct {
	line int
	text string
}

func (e *syntaxError) Error() string { return e.text }

// lexer cuts a script into tokens. The longest match wins, as in the original's
// scanner: 1001 is a number, 1001ab a word.
type lexer struct {
	src  string
	pos  int
	line int
}

// next is the token at the lexer's place.
func (l *lexer) next() (token, error) {
	if err := l.skipBlank(); err != nil {
		return token{}, err
	}
	t := token{line: l.line}
	if l.pos == len(l.src) {
		return t, nil
	}
	rest := l.src[l.pos:]
	switch c := rest[0]; {
	case c == '"' || c == '`':
		return l.quoted(c)
	case strings.HasPrefix(rest, "%{"):
		return l.code()
	case strings.HasPrefix(rest, "..."):
		return l.take(tokEllipsis, 3), nil
	case strings.HasPrefix(rest, "--") && len(rest) > 2 && wordByte(rest[2]):
		t := l.take(tokOption, 2+wordLen(rest[2:]))
		t.text = t.text[2:]
		return t, nil
	}
	kind, n := number(rest)
	if w := wordLen(rest); w > n {
		kind, n = tokWord, w
	}
	if n == 0 {
		kind, n = tokPunct, 1
	}
	return l.take(kind, n), nil
}

// take makes a token of the next n bytes.
func (l *lexer) take(kind tokenKind, n int) token {
	t := token{kind: kind, line: l.line, text: l.src[l.pos : l.pos+n]}
	l.pos += n
	l.line += strings.Count(t.text, "\n")
	return t
}

// skipBlank passes over blanks and comments: // and /* */ anywhere, # at the
// beginning of a line.
func (l *lexer) skipBlank() error {
	for l.pos < len(l.src) {
		rest := l.src[l.pos:]
		switch {
		case rest[0] == '\n':
			l.line++
			l.pos++
		case strings.IndexByte(" \t\r\f\v", rest[0]) >= 0:
			l.pos++
		case strings.HasPrefix(rest, "//"), rest[0] == '#' && (l.pos == 0 || l.src[l.pos-1] == '\n'):
			n := strings.IndexByte(rest, '\n')
			if n < 0 {
				n = len(rest)
			}
			l.pos += n
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return &syntaxError{l.line, "a comment that does not end"}
			}
			l.line += strings.Count(rest[:n+4], "\n")
			l.pos += n + 4
		default:
			return nil
		}
	}
	return nil
}

// quoted reads a string or a shell line: a backslash keeps the next byte from
// ending it, and stays.
func (l *lexer) quoted(quote byte) (token, error) {
	for i := l.pos + 1; i < len(l.src); i++ {
		switch l.src[i] {
		case '\\':
			i++
		case quote:
			kind := tokString
			if quote == '`' {
				kind = tokBacktick
			}
			t := l.take(kind, i+1-l.pos)
			t.text = t.text[1 : len(t.text)-1]
			return t, nil
		}
	}
	return token{}, &syntaxError{l.line, fmt.Sprintf("a quotation (%c) that does not end", quote)}
}

// code reads a block of code. The blanks at its very ends go, since the block is
// Python's and blanks before its first line would be indentation.
func (l *lexer) code() (token, error) {
	n := strings.Index(l.src[l.pos:], "}%")
	if n < 0 {
		return token{}, &syntaxError{l.line, "a code block that does not end"}
	}
	t := l.take(tokCode, n+2)
	t.text = strings.Trim(t.text[2:len(t.text)-2], " \t")
	return t, nil
}

// number is the longest number that s begins with.
func number(s string) (tokenKind, int) {
	i := 0
	if s[0] == '-' {
		i++
	} else if strings.HasPrefix(s, "0x") {
		if n := spanOf(s[2:], hexDigits); n > 0 {
			return tokHex, n + 2
		}
	}
	whole := spanOf(s[i:], digits)
	if i+whole < len(s) && s[i+whole] == '.' {
		if frac := spanOf(s[i+whole+1:], digits); frac > 0 {
			return tokFloat, i + whole + 1 + frac
		}
	}
	if whole == 0 {
		return tokPunct, 0
	}
	return tokInt, i + whole
}

const (
	digits    = "0123456789"
	hexDigits = digits + "abcdefABCDEF"
)

// spanOf is how many bytes at the beginning of s are of the set.
func spanOf(s, set string) int {
	n := 0
	for n < len(s) && strings.IndexByte(set, s[n]) >= 0 {
		n++
	}
	return n
}

func wordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func wordLen(s string) int {
	n := 0
	for n < len(s) && wordByte(s[n]) {
		n++
	}
	return n
}
