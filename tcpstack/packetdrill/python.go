package packetdrill

import (
	"fmt"
	"strings"
)

// Code blocks are Python; Starlark lacks of it what blocks use most: assert, print as a statement, comparisons in a
// chain, "is" and "<>". pythonToStarlark rewrites these and leaves the rest as it stands: what Starlark does not parse is
// then refused with its reason.

// pyToken is a token of Python's: its text, and the blanks before it.
type pyToken struct {
	blank, text string
	word        bool
}

// pythonToStarlark rewrites a block, logical line by logical line.
func pythonToStarlark(text string) (string, error) {
	tokens, err := pyTokens(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for len(tokens) > 0 {
		n := logicalLine(tokens)
		line, end := tokens[:n], "\n"
		if n < len(tokens) {
			end = tokens[n].text
			n++
		}
		b.WriteString(pyStatement(line))
		b.WriteString(end)
		tokens = tokens[n:]
	}
	return b.String(), nil
}

// logicalLine is how many tokens come before the newline or semicolon that ends a statement.
func logicalLine(tokens []pyToken) int {
	depth := 0
	for i, t := range tokens {
		switch t.text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		case "\n", ";":
			if depth <= 0 {
				return i
			}
		}
	}
	return len(tokens)
}

// pyStatement rewrites one statement, with "if x:" and its like before it on the line.
func pyStatement(t []pyToken) string {
	if len(t) == 0 {
		return ""
	}
	if i := afterHeader(t); i > 0 && i < len(t) {
		return pyExpr(t[:i]) + pyStatement(t[i:])
	}
	switch t[0].text {
	case "assert":
		cond, message := t[1:], []pyToken(nil)
		if i := topLevel(cond, ","); i >= 0 {
			cond, message = cond[:i], cond[i+1:]
		}
		text := plain(cond)
		made := "None"
		if len(message) > 0 {
			made = pyExpr(message)
		}
		return t[0].blank + "_assert(" + pyExpr(cond) + ", lambda: (" + made + "), " + quote(text) + ")"
	case "print":
		return t[0].blank + "_print(" + pyExpr(t[1:]) + ")"
	}
	return pyExpr(t)
}

// afterHeader is where the statement begins that stands behind a compound statement's colon, on its line; 0: none does.
func afterHeader(t []pyToken) int {
	switch t[0].text {
	case "if", "elif", "else", "while", "for":
		if i := topLevel(t, ":"); i >= 0 {
			return i + 1
		}
	}
	return 0
}

// topLevel finds a token outside of brackets; -1: there is none.
func topLevel(t []pyToken, text string) int {
	depth := 0
	for i, x := range t {
		switch x.text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		}
		if depth == 0 && x.text == text {
			return i
		}
	}
	return -1
}

// plain is the text of tokens on one line.
func plain(t []pyToken) string {
	var b strings.Builder
	for _, x := range t {
		if x.text != "\n" {
			b.WriteString(x.blank + x.text)
		}
	}
	return strings.TrimSpace(b.String())
}

// quote makes a string literal.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", " ").Replace(s) + `"`
}

// pyExpr rewrites an expression: groups in brackets first, then chains of comparisons between the words and commas that
// bind looser.
func pyExpr(t []pyToken) string {
	var b strings.Builder
	var segment []string // operands and operators by turns
	operators := 0
	flush := func() {
		b.WriteString(chained(segment, operators))
		segment, operators = nil, 0
	}
	for i := 0; i < len(t); i++ {
		x := t[i]
		switch {
		case x.text == "(" || x.text == "[" || x.text == "{":
			end := i + closing(t[i:])
			inner := x.blank + x.text + pyExpr(t[i+1:end])
			if end < len(t) {
				inner += t[end].blank + t[end].text
			}
			segment = appendOperand(segment, inner)
			i = end
		case x.text == "\n": // inside brackets
			segment = appendOperand(segment, " ")
		case comparison1(t, i) != "":
			op := comparison1(t, i)
			if op == "not in" || op == "is not" {
				i++
			}
			operators++
			segment = append(segment, " "+pyOperator(op)+" ")
		case looser(x):
			flush()
			b.WriteString(x.blank + x.text)
		default:
			segment = appendOperand(segment, x.blank+x.text)
		}
	}
	flush()
	return b.String()
}

// closing is the offset of the bracket that closes the first token; the end if none does.
func closing(t []pyToken) int {
	depth := 0
	for i, x := range t {
		switch x.text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(t)
}

// appendOperand adds text to the operand at the end of a segment; operands are the elements with even indexes.
func appendOperand(segment []string, text string) []string {
	if n := len(segment); n%2 == 1 {
		segment[n-1] += text
		return segment
	}
	return append(segment, text)
}

// chained joins a segment: "a < b < c" becomes "(a < b and b < c)".
func chained(segment []string, operators int) string {
	if operators < 2 || len(segment) != 2*operators+1 {
		return strings.Join(segment, "")
	}
	var parts []string
	for i := 0; i+2 < len(segment); i += 2 {
		parts = append(parts, strings.TrimSpace(segment[i])+segment[i+1]+strings.TrimSpace(segment[i+2]))
	}
	return " (" + strings.Join(parts, " and ") + ")"
}

// looser says whether a token ends a chain of comparisons.
func looser(x pyToken) bool {
	switch x.text {
	case "and", "or", "not", "if", "elif", "else", "lambda", "while", "for", "return":
		return x.word
	case ",", ":", "=", "+=", "-=", "*=", "//=", "%=":
		return true
	}
	return false
}

// comparison1 is the comparison that begins at a token; empty: none does.
func comparison1(t []pyToken, i int) string {
	next := ""
	if i+1 < len(t) {
		next = t[i+1].text
	}
	switch t[i].text {
	case "<", ">", "<=", ">=", "==", "!=", "<>", "in":
		return t[i].text
	case "is":
		if next == "not" {
			return "is not"
		}
		return "is"
	case "not":
		if next == "in" {
			return "not in"
		}
	}
	return ""
}

// pyOperator is Starlark's for one of Python's.
func pyOperator(op string) string {
	switch op {
	case "<>", "is not":
		return "!="
	case "is":
		return "=="
	}
	return op
}

// pyTokens cuts a block into tokens. Comments vanish; a backslash joins lines.
func pyTokens(text string) ([]pyToken, error) {
	var list []pyToken
	blank := ""
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == ' ' || c == '\t' || c == '\r':
			blank += string(c)
			i++
			continue
		case c == '\\' && i+1 < len(text) && text[i+1] == '\n':
			i += 2
			continue
		case c == '#':
			for i < len(text) && text[i] != '\n' {
				i++
			}
			continue
		}
		n, err := pyTokenLen(text[i:])
		if err != nil {
			return nil, err
		}
		t := pyToken{blank: blank, text: text[i : i+n], word: pyWordByte(c)}
		if t.word && c >= '0' && c <= '9' {
			t.text = strings.TrimRight(t.text, "lLuU") // Python 2's long integers
		}
		list, blank = append(list, t), ""
		i += n
	}
	return list, nil
}

func pyWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// pyTokenLen is the length of the token that s begins with.
func pyTokenLen(s string) (int, error) {
	c := s[0]
	switch {
	case c == '"' || c == '\'':
		return pyStringLen(s)
	case pyWordByte(c):
		n := 1
		for n < len(s) && (pyWordByte(s[n]) || s[n] == '.' && c >= '0' && c <= '9') {
			n++
		}
		return n, nil
	}
	for _, op := range []string{"//=", "**", "<=", ">=", "==", "!=", "<>", "+=", "-=", "*=", "/=", "%=", "//", "<<", ">>"} {
		if strings.HasPrefix(s, op) {
			return len(op), nil
		}
	}
	return 1, nil
}

// pyStringLen is the length of a string literal.
func pyStringLen(s string) (int, error) {
	q := s[:1]
	if strings.HasPrefix(s, q+q+q) {
		q = s[:3]
	}
	for i := len(q); i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case strings.HasPrefix(s[i:], q):
			return i + len(q), nil
		case s[i] == '\n' && len(q) == 1:
			return 0, fmt.Errorf("a string does not end on its line")
		}
	}
	return 0, fmt.Errorf("a string does not end")
}
