package packetdrill

import (
	"fmt"
	"strconv"
	"strings"
)

// shellLexer cuts a shell line into simple commands: quotes, comments, continued lines, redirections, $((...)) and
// $(sysctl -n ...) and pipes are understood; variables, loops and whatever else are a skip.
type shellLexer struct {
	m       *machine
	s       string
	at      int
	word    strings.Builder
	inWord  bool
	current shellCommand
	begin   int
	list    []shellCommand
}

// maxShellCommands bounds the commands of one line.
const maxShellCommands = 1000

func (m *machine) shellCommands(text string) ([]shellCommand, error) {
	l := &shellLexer{m: m, s: strings.ReplaceAll(text, "\\\n", " ")}
	l.current.after = ";"
	for l.at < len(l.s) {
		if err := l.next(); err != nil {
			return nil, err
		}
		if len(l.list) > maxShellCommands {
			return nil, skipf("a shell line of more than %d commands", maxShellCommands)
		}
	}
	l.endCommand(";")
	return l.list, nil
}

// next takes one character, or what it begins.
func (l *shellLexer) next() error {
	c := l.s[l.at]
	rest := l.s[l.at:]
	switch {
	case c == ' ' || c == '\t' || c == '\r':
		l.endWord()
		l.at++
	case c == '\n' || c == ';':
		l.endCommand(";")
		l.at++
	case strings.HasPrefix(rest, "&&") || strings.HasPrefix(rest, "||"):
		l.endCommand(rest[:2])
		l.at += 2
	case c == '#' && !l.inWord:
		if n := strings.IndexByte(rest, '\n'); n >= 0 {
			l.at += n
		} else {
			l.at = len(l.s)
		}
	case c == '>' || strings.HasPrefix(rest, "2>") && !l.inWord || strings.HasPrefix(rest, "&>") || strings.HasPrefix(rest, "1>") && !l.inWord:
		return l.redirect()
	case c == '\'':
		end := strings.IndexByte(rest[1:], '\'')
		if end < 0 {
			return l.refuse()
		}
		l.add(rest[1 : 1+end])
		l.at += end + 2
	case c == '"':
		return l.quoted()
	case c == '\\' && len(rest) > 1:
		l.add(rest[1:2])
		l.at += 2
	case c == '$':
		return l.substitute()
	case c == '|':
		l.endCommand("|")
		l.at++
	case strings.IndexByte("&<`*?(){}", c) >= 0:
		return l.refuse()
	default:
		l.add(rest[:1])
		l.at++
	}
	return nil
}

func (l *shellLexer) refuse() error { return skipf("shell line `%s`", strings.TrimSpace(l.s)) }

func (l *shellLexer) add(s string) {
	l.word.WriteString(s)
	l.inWord = true
}

func (l *shellLexer) endWord() {
	if l.inWord {
		l.current.words = append(l.current.words, l.word.String())
		l.word.Reset()
		l.inWord = false
	}
}

// endCommand ends a command; after is what stands between it and the next.
func (l *shellLexer) endCommand(after string) {
	l.endWord()
	if len(l.current.words) > 0 {
		l.current.text = strings.TrimSpace(l.s[l.begin:l.at])
		l.list = append(l.list, l.current)
		l.current = shellCommand{after: after}
	}
	l.begin = min(l.at+len(after), len(l.s))
}

// quoted takes "...", with substitutions.
func (l *shellLexer) quoted() error {
	l.inWord = true
	for l.at++; l.at < len(l.s); {
		switch c := l.s[l.at]; c {
		case '"':
			l.at++
			return nil
		case '$':
			if err := l.substitute(); err != nil {
				return err
			}
		case '\\':
			if l.at+1 < len(l.s) && strings.IndexByte("$`\"\\", l.s[l.at+1]) >= 0 {
				l.at++ // before others it stays
			}
			l.add(l.s[l.at : l.at+1])
			l.at++
		case '`':
			return l.refuse()
		default:
			l.add(l.s[l.at : l.at+1])
			l.at++
		}
	}
	return l.refuse()
}

// redirect takes "> file", "2> file", "2>&1" and "&> file": only where the output goes to a file of /proc/sys does it
// count.
func (l *shellLexer) redirect() error {
	l.endWord()
	rest := l.s[l.at:]
	errors := strings.HasPrefix(rest, "2>")
	n := strings.IndexByte(rest, '>') + 1
	if n < len(rest) && rest[n] == '>' {
		n++
	}
	l.at += n
	rest = strings.TrimLeft(l.s[l.at:], " \t")
	l.at = len(l.s) - len(rest)
	if strings.HasPrefix(rest, "&1") || strings.HasPrefix(rest, "&2") {
		l.at += 2
		return nil
	}
	end := strings.IndexAny(rest, " \t\n;&|")
	if end < 0 {
		end = len(rest)
	}
	target := strings.Trim(rest[:end], `"'`)
	if target == "" || strings.ContainsAny(target, "$`") {
		return l.refuse()
	}
	l.at += end
	if !errors {
		l.current.into = target
	} else if target != "/dev/null" {
		return l.refuse()
	}
	return nil
}

// substitute takes $((expression)) and $(sysctl -n name) or $(cat /proc/sys/name). $PPID and its like, which only name
// files that scripts write for themselves, stand for a number.
func (l *shellLexer) substitute() error {
	rest := l.s[l.at:]
	for _, v := range []string{"$PPID", "${PPID}", "$$", "$PACKETDRILL_PID", "${PACKETDRILL_PID}"} {
		if strings.HasPrefix(rest, v) {
			l.add("1")
			l.at += len(v)
			return nil
		}
	}
	if strings.HasPrefix(rest, "$((") {
		end := strings.Index(rest, "))")
		if end < 0 {
			return l.refuse()
		}
		n, err := arithmetic(rest[3:end])
		if err != nil {
			return l.refuse()
		}
		l.add(strconv.FormatInt(n, 10))
		l.at += end + 2
		return nil
	}
	end := strings.IndexByte(rest, ')')
	if !strings.HasPrefix(rest, "$(") || end < 0 {
		return l.refuse()
	}
	words := strings.Fields(rest[2:end])
	if len(words) < 2 {
		return l.refuse()
	}
	value, ok := l.m.sysctls.get(words[len(words)-1])
	reads := len(words) == 3 && words[0] == "sysctl" && words[1] == "-n" || len(words) == 2 && words[0] == "cat"
	if !ok || !reads {
		return l.refuse()
	}
	l.add(value)
	l.at += end + 1
	return nil
}

// arithmetic evaluates + - * / over numbers, products first.
func arithmetic(s string) (int64, error) {
	var total, product int64
	sign, op := int64(1), byte('+')
	s = strings.Join(strings.Fields(s), "")
	for i := 0; i < len(s); {
		n := i
		for n < len(s) && strings.IndexByte("+-*/", s[n]) < 0 {
			n++
		}
		v, err := strconv.ParseInt(s[i:n], 0, 64)
		if err != nil {
			return 0, err
		}
		switch op {
		case '*':
			product *= v
		case '/':
			if v == 0 {
				return 0, fmt.Errorf("division by zero")
			}
			product /= v
		default:
			total += sign * product
			product = v
			if sign = 1; op == '-' {
				sign = -1
			}
		}
		if n < len(s) {
			op = s[n]
		}
		i = n + 1
	}
	return total + sign*product, nil
}
