package app

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// responseParser reads one response as its bytes come: status line, fields, and a body whose end is marked by its length,
// by chunks or by the connection's close. It keeps at most a head, never the body.
type responseParser struct {
	body func([]byte) // is given the body's pieces; the slice is valid within the call

	status   int
	phrase   string
	fields   fields
	complete bool

	step    func(*responseParser, []byte) (used int, err error)
	buf     []byte // of a head, chunk line or trailer that is not whole yet
	interim int    // 1xx responses seen
	left    uint64 // of a body of known length, or of a chunk
	known   bool   // the body's length is known
	length  uint64
	toClose bool // the body ends with the connection
}

var errCutShort = errors.New("the connection closed in the middle of the response")

func newResponseParser(body func([]byte)) *responseParser {
	return &responseParser{body: body, step: (*responseParser).head}
}

// write takes the next bytes; what follows a complete response is an error, as nothing else was asked for.
func (p *responseParser) write(b []byte) error {
	for len(b) > 0 {
		if p.complete {
			return fmt.Errorf("%w: bytes after its end", errMalformed)
		}
		n, err := p.step(p, b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// end says that no more bytes come.
func (p *responseParser) end() error {
	if p.toClose {
		p.complete = true
	}
	if !p.complete {
		return errCutShort
	}
	return nil
}

// gather collects bytes into buf until done says how long what was gathered is; beyond limit it gives up. used counts the
// bytes of b that belong to it.
func (p *responseParser) gather(b []byte, limit int, done func([]byte) int) (whole []byte, used int, err error) {
	before := len(p.buf)
	p.buf = append(p.buf, b[:min(len(b), limit-before+1)]...)
	n := done(p.buf)
	switch {
	case n >= 0 && n <= limit:
		whole, p.buf = p.buf[:n], nil
		return whole, n - before, nil
	case len(p.buf) > limit:
		return nil, 0, fmt.Errorf("%w: more than %d bytes", errMalformed, limit)
	}
	return nil, len(b), nil
}

func (p *responseParser) head(b []byte) (int, error) {
	head, used, err := p.gather(b, maxResponseHead, headEnd)
	if head == nil {
		return used, err
	}
	line, rest := cutLine(head)
	if err := p.statusLine(string(line)); err != nil {
		return 0, err
	}
	if p.fields, err = parseFields(rest); err != nil {
		return 0, err
	}
	// RFC 9110 15.2: "A client MUST be able to parse one or more 1xx responses received prior to a final response". 101 would
	// change the protocol, which was not asked for.
	if p.status < 200 {
		if p.interim++; p.interim > maxInterim || p.status == 101 {
			return 0, fmt.Errorf("%w: interim response %d", errMalformed, p.status)
		}
		return used, nil
	}
	return used, p.frame()
}

// statusLine: RFC 9112 4: HTTP-version SP status-code SP [ reason-phrase ].
func (p *responseParser) statusLine(line string) error {
	version, rest, _ := strings.Cut(line, " ")
	code, phrase, _ := strings.Cut(rest, " ")
	if len(version) != 8 || !strings.HasPrefix(version, "HTTP/1.") || !digit(version[7]) || len(code) != 3 {
		return fmt.Errorf("%w: not a status line of HTTP/1", errMalformed)
	}
	n, err := parseDigits(code, 10)
	if err != nil || n < 100 || n > 599 {
		return fmt.Errorf("%w: status code", errMalformed)
	}
	p.status, p.phrase = int(n), printable(phrase)
	return nil
}

// printable keeps of a text what a terminal may show, as it comes from the peer.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 100)] // longer than any phrase in use
}

// frame finds where the body ends: RFC 9112 6.3, in its order.
func (p *responseParser) frame() error {
	length, present, err := p.fields.contentLength()
	if err != nil {
		return fmt.Errorf("%w: Content-Length", err)
	}
	coding, codings := p.fields.get("transfer-encoding")
	switch {
	case p.status == 204 || p.status == 304:
		p.complete = true
	case codings > 0:
		// "If a message is received with both a Transfer-Encoding and a Content-Length header field, the Transfer-Encoding
		// overrides the Content-Length."
		if codings == 1 && strings.EqualFold(coding, "chunked") {
			p.step = (*responseParser).chunkLine
		} else {
			return fmt.Errorf("%w: transfer coding %s", errMalformed, printable(coding))
		}
	case present:
		p.known, p.length, p.left = true, length, length
		p.complete = length == 0
		p.step = (*responseParser).counted
	default:
		p.toClose = true
		p.step = (*responseParser).untilClose
	}
	return nil
}

func (p *responseParser) untilClose(b []byte) (int, error) {
	p.body(b)
	return len(b), nil
}

func (p *responseParser) counted(b []byte) (int, error) {
	n := p.take(b)
	p.complete = p.left == 0
	return n, nil
}

func (p *responseParser) take(b []byte) int {
	n := int(min(uint64(len(b)), p.left))
	p.body(b[:n])
	p.left -= uint64(n)
	return n
}

// lineEnd is the length of the first line with its terminator, or -1 while that has not come.
func lineEnd(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return -1
}

// chunkLine: RFC 9112 7.1: chunk-size [ chunk-ext ] CRLF. Extensions mean nothing here.
func (p *responseParser) chunkLine(b []byte) (int, error) {
	whole, used, err := p.gather(b, maxChunkLine, lineEnd)
	if whole == nil {
		return used, err
	}
	line, _ := cutLine(whole)
	size, _, _ := strings.Cut(string(line), ";")
	if p.left, err = parseDigits(trimOWS(size), 16); err != nil {
		return 0, fmt.Errorf("%w: chunk size", err)
	}
	p.step = (*responseParser).chunk
	if p.left == 0 {
		p.buf = append(p.buf, '\n') // as after a line, so that an empty trailer section is an empty line
		p.step = (*responseParser).trailers
	}
	return used, nil
}

func (p *responseParser) chunk(b []byte) (int, error) {
	n := p.take(b)
	if p.left == 0 {
		p.step = (*responseParser).chunkEnd
	}
	return n, nil
}

func (p *responseParser) chunkEnd(b []byte) (int, error) {
	whole, used, err := p.gather(b, len("\r\n"), lineEnd)
	if whole == nil {
		return used, err
	}
	if line, _ := cutLine(whole); len(line) > 0 {
		return 0, fmt.Errorf("%w: chunk longer than its size", errMalformed)
	}
	p.step = (*responseParser).chunkLine
	return used, nil
}

// trailers are read over: nothing they could say is of use.
func (p *responseParser) trailers(b []byte) (int, error) {
	whole, used, err := p.gather(b, maxTrailers, headEnd)
	if whole == nil {
		return used, err
	}
	p.complete = true
	return used, nil
}

// digest is the SHA-256 of the body that the server announced (RFC 9530), in hex; empty if it did not.
func (p *responseParser) digest() string {
	value, _ := p.fields.get("repr-digest")
	for item := range strings.SplitSeq(value, ",") {
		if v, ok := strings.CutPrefix(trimOWS(item), "sha-256=:"); ok {
			b, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(v, ":"))
			if err == nil && len(b) == 32 {
				return hex.EncodeToString(b)
			}
		}
	}
	return ""
}
