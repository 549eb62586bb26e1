package app

import (
	"bytes"
	"fmt"
	"strings"
)

// request is what a client asks for.
type request struct {
	method string
	target string // as sent
	minor  int    // of HTTP/1.x
	fields fields
}

// httpError is a response's status that says what is wrong with the request.
type httpError struct {
	status int
	text   string
}

func (e *httpError) Error() string { return fmt.Sprintf("%d %s", e.status, e.text) }

var (
	errBadRequest    = &httpError{400, "Bad Request"}
	errNotFound      = &httpError{404, "Not Found"}
	errMethod        = &httpError{405, "Method Not Allowed"}
	errTimeout       = &httpError{408, "Request Timeout"}
	errURITooLong    = &httpError{414, "URI Too Long"}
	errFieldsTooMany = &httpError{431, "Request Header Fields Too Large"}
	errVersion       = &httpError{505, "HTTP Version Not Supported"}
)

// skipEmptyLines: RFC 9112 2.2: "a server that is expecting to receive and parse a request-line SHOULD ignore at least one
// empty line (CRLF) received prior to the request-line."
func skipEmptyLines(b []byte) []byte {
	for {
		switch {
		case bytes.HasPrefix(b, []byte("\r\n")):
			b = b[2:]
		case bytes.HasPrefix(b, []byte("\n")):
			b = b[1:]
		default:
			return b
		}
	}
}

// tooLarge says what an incomplete head of the greatest size has too much of.
func tooLarge(head []byte) *httpError {
	if bytes.IndexByte(head, '\n') < 0 {
		return errURITooLong
	}
	return errFieldsTooMany
}

// parseRequest reads a request's head, its empty line included.
func parseRequest(head []byte) (request, *httpError) {
	line, rest := cutLine(head)
	var r request
	// RFC 9112 3: request-line = method SP request-target SP HTTP-version
	parts := strings.Split(string(line), " ")
	if len(parts) != 3 || !isToken(parts[0]) || parts[1] == "" || !visible(parts[1]) {
		return r, errBadRequest
	}
	r.method, r.target = parts[0], parts[1]
	switch v := parts[2]; {
	case len(v) != 8 || !strings.HasPrefix(v, "HTTP/") || v[6] != '.' || !digit(v[5]) || !digit(v[7]):
		return r, errBadRequest
	case v[5] != '1':
		return r, errVersion
	default:
		r.minor = int(v[7] - '0')
	}
	var err error
	if r.fields, err = parseFields(rest); err != nil {
		return r, errBadRequest
	}
	// RFC 9112 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that lacks a
	// Host header field and to any request message that contains more than one Host header field line".
	if _, hosts := r.fields.get("host"); hosts > 1 || hosts == 0 && r.minor >= 1 {
		return r, errBadRequest
	}
	if _, _, err := r.fields.contentLength(); err != nil {
		return r, errBadRequest
	}
	return r, nil
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// visible says that a string has neither spaces nor control characters.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// keepAlive: RFC 9112 9.3.
func (r *request) keepAlive() bool {
	if r.fields.has("connection", "close") {
		return false
	}
	return r.minor >= 1 || r.fields.has("connection", "keep-alive")
}

// hasBody says whether content follows the head. This server has no use for it.
func (r *request) hasBody() bool {
	n, _, _ := r.fields.contentLength() // checked by parseRequest
	_, encoded := r.fields.get("transfer-encoding")
	return n > 0 || encoded > 0
}

// path is the file that the target names, in the form that FileRef.path has: relative, decoded, without dot segments. A
// path that climbs above the root stays at the root (RFC 3986 5.2.4), so that nothing outside can be named.
func (r *request) path() (string, bool) {
	target := r.target
	// RFC 9112 3.2.2: "a server MUST accept the absolute-form in requests even though most HTTP/1.1 clients will only send
	// the absolute-form to a proxy."
	if i := strings.Index(target, "://"); i > 0 && target[0] != '/' {
		rest := target[i+3:]
		j := strings.IndexByte(rest, '/')
		if j < 0 {
			rest, j = "/", 0
		}
		target = rest[j:]
	}
	target, _, _ = strings.Cut(target, "?")
	if target == "" || target[0] != '/' {
		return "", false
	}
	decoded, ok := percentDecode(target)
	if !ok {
		return "", false
	}
	var segments []string
	for s := range strings.SplitSeq(decoded, "/") {
		switch s {
		case "", ".":
		case "..":
			segments = segments[:max(0, len(segments)-1)]
		default:
			segments = append(segments, s)
		}
	}
	if len(segments) == 0 || strings.HasSuffix(decoded, "/") {
		segments = append(segments, "index.html")
	}
	return strings.Join(segments, "/"), true
}

// percentDecode: RFC 3986 2.1. A NUL is refused: no file is named so.
func percentDecode(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return "", false
			}
			v, err := parseDigits(s[i+1:i+3], 16)
			if err != nil || v == 0 {
				return "", false
			}
			c, i = byte(v), i+2
		}
		b.WriteByte(c)
	}
	return b.String(), true
}
