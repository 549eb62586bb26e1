package app

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// Bounds of HTTP messages. RFC 9110 5.4: "A server that receives a request header field line, field value, or set of fields
// larger than it wishes to process MUST respond with an appropriate 4xx".
const (
	maxRequestHead  = 8 << 10  // request line and fields together; what common servers allow
	maxResponseHead = 64 << 10 // a client is kinder
	maxInterim      = 16       // 1xx responses before the final one; nobody sends so many
	maxChunkLine    = 256      // a chunk's size with its extensions
	maxTrailers     = 8 << 10  // bytes of trailer fields
)

var errMalformed = errors.New("malformed HTTP message")

// field is a header field; the name is in lower case.
type field struct{ name, value string }

type fields []field

// get is the value of the first field of that name, which must be in lower case.
func (f fields) get(name string) (value string, count int) {
	for _, x := range f {
		if x.name == name {
			if count++; count == 1 {
				value = x.value
			}
		}
	}
	return value, count
}

// has says whether a list-valued field contains a token, in any case.
func (f fields) has(name, token string) bool {
	for _, x := range f {
		if x.name != name {
			continue
		}
		for item := range strings.SplitSeq(x.value, ",") {
			if strings.EqualFold(trimOWS(item), token) {
				return true
			}
		}
	}
	return false
}

// headEnd is the length of a message's head with its empty line, or -1 while that has not come.
//
// RFC 9112 2.2: "a recipient MAY recognize a single LF as a line terminator and ignore any preceding CR."
func headEnd(b []byte) int {
	for at := 0; ; {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return -1
		}
		at += i + 1
		if rest := b[at:]; len(rest) > 0 && rest[0] == '\n' {
			return at + 1
		} else if len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n' {
			return at + 2
		}
	}
}

// cutLine takes the first line off b, without its terminator.
func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'}), rest
}

// parseFields reads the field lines up to the empty line.
func parseFields(b []byte) (fields, error) {
	var all fields
	for {
		var line []byte
		if line, b = cutLine(b); len(line) == 0 {
			return all, nil
		}
		name, value, ok := bytes.Cut(line, []byte{':'})
		// RFC 9112 5.1: "No whitespace is allowed between the field name and colon." 5.2 forbids line folding: both fail
		// as a name that is no token.
		if !ok || !isToken(string(name)) {
			return nil, errMalformed
		}
		v := trimOWS(string(value))
		// RFC 9110 5.5: "Field values containing CR, LF, or NUL characters are invalid and dangerous"
		if strings.ContainsAny(v, "\r\n\x00") {
			return nil, errMalformed
		}
		all = append(all, field{name: strings.ToLower(string(name)), value: v})
	}
}

func trimOWS(s string) string { return strings.Trim(s, " \t") }

// isToken: RFC 9110 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}

// contentLength reads Content-Length. RFC 9110 8.6: 1*DIGIT; RFC 9112 6.3: several values that differ are an
// unrecoverable error; the same value repeated is taken once.
func (f fields) contentLength() (n uint64, present bool, err error) {
	for _, x := range f {
		if x.name != "content-length" {
			continue
		}
		for item := range strings.SplitSeq(x.value, ",") {
			v, err := parseDigits(trimOWS(item), 10)
			if err != nil || present && v != n {
				return 0, true, errMalformed
			}
			n, present = v, true
		}
	}
	return n, present, nil
}

// parseDigits reads an unsigned number that consists of digits only, at most 2^62.
func parseDigits(s string, base int) (uint64, error) {
	if s == "" || strings.ContainsAny(s, "+-_") {
		return 0, errMalformed
	}
	v, err := strconv.ParseUint(s, base, 62)
	if err != nil {
		return 0, errMalformed
	}
	return v, nil
}
