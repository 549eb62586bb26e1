package app

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"labd.dev/link"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

func (l *lab) serveHTTP(files ...*labv1.FileRef) {
	l.t.Helper()
	l.server.serve(&labv1.AppSpec{App: &labv1.AppSpec_Http{Http: &labv1.HttpServerApp{Files: files}}})
}

func TestHTTPDownload(t *testing.T) {
	l := newLab(t, quick)
	file := l.blob("pub/a.bin", 1_400_000)
	l.serveHTTP(file)
	a := l.client.start(getInput(&labv1.HttpGet{Id: "g1", From: "client", Url: "http://server/pub/a.bin", Save: true}))
	l.finish(a, 10*sim.Second)
	l.settle()
	s := l.wantDone("g1", 1_400_000)
	if !bytes.Equal(l.saved["g1"], l.blobs[file.Sha256]) || s.Sha256 != file.Sha256 {
		t.Errorf("what was saved differs: %v", s)
	}
	if s.Conn != "client/1" || s.To != "server" || s.BytesExpected != 1_400_000 || s.SrttUs < 10_000 {
		t.Errorf("status %v", s)
	}
	if n := len(l.server.stack.Conns()); n > 0 {
		t.Errorf("the server still has %d connections", n)
	}
}

// A server reads its file 64 KiB at a time and reads no more before all of a block is written: after each write it holds
// what is left of the block.
func TestHTTPServerHoldsABlockUntilItIsWritten(t *testing.T) {
	const size = 1_400_000
	l := newLab(t, quick)
	l.serveHTTP(l.blob("a.bin", size))
	l.finish(l.client.start(getInput(&labv1.HttpGet{Id: "g1", From: "client", Url: "http://server/a.bin"})), 10*sim.Second)
	l.loop.Rec.Flush()
	var read, held, partial uint64
	for i := range l.records {
		e, ok := DecodeRecord(&l.records[i])
		if !ok || l.records[i].Node != uint32(l.server.id.Src.ID) {
			continue
		}
		switch e.Name {
		case "app:file_read":
			if want := min(fileBlock, size-read); held != 0 || e.Bytes != want {
				t.Fatalf("%d bytes read after %d, while %d were held; want %d after all was written", e.Bytes, read, held, want)
			}
			read, held = read+e.Bytes, e.Bytes
		case "app:write":
			if read == 0 {
				continue // the response's head
			}
			if held -= e.Bytes; e.Buffered != held {
				t.Fatalf("%d bytes written, %d buffered, want %d", e.Bytes, e.Buffered, held)
			}
			if held > 0 {
				partial++
			}
		}
	}
	if read != size || held != 0 || partial < 5 {
		t.Errorf("%d of %d bytes read, %d held at the end, %d writes of a part of a block", read, size, held, partial)
	}
}

func TestHTTPGetThatFails(t *testing.T) {
	for _, c := range []struct{ url, why string }{
		{"http://server/b.txt", "404 Not Found"},
		{"http://server:8080/a.txt", "connection refused"},
		{"http://nowhere/a.txt", "nowhere: name or address not known"},
		{"http://server:0/a.txt", "0 is not a port"},
		{"ftp://server/a.txt", "http://NODE[:PORT]/PATH"},
		{"http://[::1", "not a URL"},
		{"", "http://NODE[:PORT]/PATH"},
	} {
		l := newLab(t, quick)
		l.serveHTTP(l.blob("a.txt", 100))
		a := l.client.start(getInput(&labv1.HttpGet{Id: "g1", From: "client", Url: c.url}))
		l.finish(a, 10*sim.Second)
		l.wantFailed("g1", c.why)
	}
}

// What a client sends, and what comes back: status lines and the bytes that matter, in order.
func TestHTTPServerAnswers(t *testing.T) {
	long := strings.Repeat("x", maxRequestHead)
	const host = "Host: server\r\n"
	for _, c := range []struct {
		name, sent string
		want       []string // in this order
		closes     bool     // the server closes by itself
	}{
		{"GET", "GET /a.txt HTTP/1.1\r\n" + host + "\r\n",
			[]string{"HTTP/1.1 200 OK\r\n", "Date: Sat, 01 Jan 2000 00:00:00 GMT\r\n", "Content-Type: text/plain; charset=utf-8\r\n", "Content-Length: 5\r\n", "Repr-Digest: sha-256=:", "\r\n\r\nhello"}, false},
		{"HEAD", "HEAD /a.txt HTTP/1.1\r\n" + host + "\r\nGET /none HTTP/1.1\r\n" + host + "\r\n",
			[]string{"200 OK", "Content-Length: 5\r\n", "\r\n\r\nHTTP/1.1 404 Not Found"}, false},
		{"persistent, requests sent ahead", strings.Repeat("GET /a.txt HTTP/1.1\r\n"+host+"\r\n", 3),
			[]string{"200 OK", "hello", "200 OK", "hello", "200 OK", "hello"}, false},
		{"HTTP/1.0", "GET /a.txt HTTP/1.0\r\n\r\n", []string{"200 OK", "Connection: close\r\n", "hello"}, true},
		{"asked to close", "GET /a.txt HTTP/1.1\r\n" + host + "Connection: foo, Close\r\n\r\n", []string{"200 OK", "hello"}, true},
		{"index", "GET / HTTP/1.1\r\n" + host + "\r\n", []string{"200 OK", "text/html", "index"}, false},
		{"a query", "GET /a.txt?x=/../y HTTP/1.1\r\n" + host + "\r\n", []string{"200 OK", "hello"}, false},
		{"absolute form", "GET http://server/a.txt HTTP/1.1\r\n" + host + "\r\n", []string{"200 OK", "hello"}, false},
		{"bare LF and empty lines before", "\r\n\nGET /a%2etxt HTTP/1.1\nHost: server\n\n", []string{"200 OK", "hello"}, false},
		{"climbing out", "GET /../../%2e%2e/etc/passwd HTTP/1.1\r\n" + host + "\r\n", []string{"404 Not Found"}, false},
		{"climbing stays at the root", "GET /x/../../a.txt HTTP/1.1\r\n" + host + "\r\n", []string{"200 OK", "hello"}, false},
		{"a NUL", "GET /a%00.txt HTTP/1.1\r\n" + host + "\r\n", []string{"400 Bad Request"}, true},
		{"half an escape", "GET /a%2 HTTP/1.1\r\n" + host + "\r\n", []string{"400 Bad Request"}, true},
		{"another method", "POST /a.txt HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n", []string{"405 Method Not Allowed", "Allow: GET, HEAD\r\n"}, false},
		{"a body", "GET /a.txt HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nabc", []string{"200 OK", "Connection: close", "hello"}, true},
		{"no host", "GET /a.txt HTTP/1.1\r\n\r\n", []string{"400 Bad Request"}, true},
		{"two hosts", "GET /a.txt HTTP/1.1\r\n" + host + host + "\r\n", []string{"400 Bad Request"}, true},
		{"a space before the colon", "GET /a.txt HTTP/1.1\r\nHost : server\r\n\r\n", []string{"400 Bad Request"}, true},
		{"a folded field", "GET /a.txt HTTP/1.1\r\n" + host + "A: b\r\n c\r\n\r\n", []string{"400 Bad Request"}, true},
		{"two lengths", "GET /a.txt HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", []string{"400 Bad Request"}, true},
		{"garbage", "\x16\x03\x01\x02\x00\r\n\r\n", []string{"400 Bad Request"}, true},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\n", []string{"505 HTTP Version Not Supported"}, true},
		{"a long line", "GET /" + long, []string{"414 URI Too Long"}, true},
		{"long fields", "GET / HTTP/1.1\r\nA: " + long, []string{"431 Request Header Fields Too Large"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, link.Config{})
			l.serveHTTP(l.file("a.txt", "hello"), l.file("index.html", "index"))
			r := l.dial("server", HTTPPort, c.sent, false)
			l.advance(sim.Second)
			rest := string(r.got)
			for _, w := range c.want {
				_, after, ok := strings.Cut(rest, w)
				if !ok {
					t.Fatalf("no %q in what is left of the answer, %q of %q", w, rest, r.got)
				}
				rest = after
			}
			if r.eof != c.closes {
				t.Errorf("closed: %v, want %v", r.eof, c.closes)
			}
		})
	}
}

// file gives the lab a file with this text.
func (l *lab) file(path, text string) *labv1.FileRef {
	ref := l.blob(path, len(text))
	l.blobs[ref.Sha256] = []byte(text)
	return ref
}

// RFC 9110 15.5.9: who starts a request and does not end it is told so; who only stays connected is dropped.
func TestHTTPServerDoesNotWaitForEver(t *testing.T) {
	l := newLab(t, link.Config{})
	l.serveHTTP(l.file("a.txt", "hello"))
	slow, idle := l.dial("server", HTTPPort, "GET /a.txt HTTP/1.1\r\nHost:", false), l.dial("server", HTTPPort, "", false)
	l.advance(httpIdle - sim.Second)
	if len(slow.got) > 0 || idle.err != nil {
		t.Fatalf("given up too early: %q, %v", slow.got, idle.err)
	}
	l.advance(httpIdle + sim.Second)
	if !strings.HasPrefix(string(slow.got), "HTTP/1.1 408 Request Timeout") || !slow.eof {
		t.Errorf("the slow client got %q", slow.got)
	}
	if idle.err == nil {
		t.Error("the idle connection is still open")
	}
	l.advance(3 * httpIdle)
	if n := len(l.server.stack.Conns()); n > 0 {
		t.Errorf("%d connections are left", n)
	}
}

// A client that stops in the middle of a file costs the server nothing that lasts.
func TestHTTPClientThatVanishes(t *testing.T) {
	l := newLab(t, quick)
	l.serveHTTP(l.blob("a.bin", 5_000_000))
	r := l.dial("server", HTTPPort, "GET /a.bin HTTP/1.1\r\nHost: x\r\n\r\n", false)
	l.advance(100 * sim.Millisecond)
	r.conn.Abort()
	l.advance(sim.Second)
	if n := len(l.server.stack.Conns()); n > 0 || len(r.got) == 0 {
		t.Errorf("%d connections are left, %d bytes came", n, len(r.got))
	}
}

// The client against servers that send what they should not.
func TestHTTPGetFromStrangeServers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, c := range []struct {
		name, sent, got, why string
	}{
		{"length", ok + "Content-Length: 5\r\n\r\nhello", "hello", ""},
		{"until close", "HTTP/1.0 200\r\n\r\nhello", "hello", ""},
		{"chunks", ok + "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nT: v\r\n\r\n", "hello", ""},
		{"chunks without trailers", ok + "Transfer-Encoding: Chunked\r\nContent-Length: 2\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello", ""},
		{"interim responses", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "Content-Length: 5\r\n\r\nhello", "hello", ""},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", "", ""},
		{"a redirect", "HTTP/1.1 301 Moved\r\nContent-Length: 0\r\n\r\n", "", "301 Moved"},
		{"cut short", ok + "Content-Length: 6\r\n\r\nhello", "hello", "closed in the middle"},
		{"a chunk cut short", ok + "Transfer-Encoding: chunked\r\n\r\n6\r\nhello", "hello", "closed in the middle"},
		{"no response", "", "", "closed in the middle"},
		{"too much", ok + "Content-Length: 5\r\n\r\nhello, world", "hello", "bytes after its end"},
		{"garbage", "SSH-2.0-OpenSSH\r\n\r\n", "", "not a status line"},
		{"no end of the head", ok + "A: " + strings.Repeat("x", maxResponseHead), "", "more than 65536 bytes"},
		{"a negative length", ok + "Content-Length: -1\r\n\r\n", "", "Content-Length"},
		{"a huge length", ok + "Content-Length: 99999999999999999999\r\n\r\n", "", "Content-Length"},
		{"a huge chunk", ok + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "", "chunk size"},
		{"a chunk that is longer", ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n", "hel", "malformed"},
		{"another coding", ok + "Transfer-Encoding: gzip\r\n\r\n", "", "transfer coding gzip"},
		{"interim for ever", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxInterim+1), "", "interim response 100"},
		{"switching protocols", "HTTP/1.1 101 Switching\r\n\r\n", "", "interim response 101"},
		{"a phrase for a terminal", "HTTP/1.1 500 \x1b[31mred\r\nContent-Length: 0\r\n\r\n", "", "500 ?[31mred"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, link.Config{})
			_, err := l.server.stack.Listen(any4(80), tcpstack.TCPConfig{}, func(*tcpstack.Conn) tcpstack.ConnHandler {
				return &rawConn{send: []byte(c.sent), close: true}
			})
			l.must(err)
			a := l.client.start(getInput(&labv1.HttpGet{Id: "g1", From: "client", Url: "http://server/", Save: true}))
			l.finish(a, 10*sim.Second)
			if got := string(l.saved["g1"]); got != c.got {
				t.Errorf("%q came, want %q", got, c.got)
			}
			s := l.transfer("g1")
			if c.why == "" && s.State != labv1.TransferState_TRANSFER_STATE_DONE || !strings.Contains(s.Error, c.why) || (c.why == "") != (s.Error == "") {
				t.Errorf("status %v, want %q", s, c.why)
			}
		})
	}
}

// RFC 9112 9.3: a server may keep its side open; the client ends all the same.
func TestHTTPGetFromAServerThatStaysConnected(t *testing.T) {
	l := newLab(t, link.Config{})
	_, err := l.server.stack.Listen(any4(80), tcpstack.TCPConfig{}, func(*tcpstack.Conn) tcpstack.ConnHandler {
		return &rawConn{send: []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")}
	})
	l.must(err)
	a := l.client.start(getInput(&labv1.HttpGet{Id: "g1", From: "client", Url: "http://server/"}))
	l.finish(a, 100*sim.Second)
	if s := l.transfer("g1"); s.State != labv1.TransferState_TRANSFER_STATE_DONE || s.Bytes != 5 || s.DurationNs > int64(sim.Second) {
		t.Errorf("status %v", s)
	}
}

// The server resets in the middle of its response.
func TestHTTPGetReset(t *testing.T) {
	l := newLab(t, quick)
	l.serveHTTP(l.blob("a.bin", 5_000_000))
	a := l.client.start(getInput(&labv1.HttpGet{Id: "g1", From: "client", Url: "http://server/a.bin"}))
	l.advance(100 * sim.Millisecond)
	l.server.stack.Conns()[0].Abort()
	l.finish(a, 10*sim.Second)
	l.wantFailed("g1", "reset by peer")
}

// Whatever bytes come, in whatever pieces, the parsers neither panic nor keep more than their bounds.
func FuzzHTTP(f *testing.F) {
	for _, s := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD /%41/../x?y HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "\r\nGET http://a HTTP/1.1\nHost:\n\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
		"HTTP/1.0 404 x\nRepr-Digest: sha-256=:AAAA:\n\nbody",
	} {
		f.Add([]byte(s), 1)
		f.Add([]byte(s), 1000)
	}
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		if n := headEnd(b); n >= 0 {
			if r, bad := parseRequest(skipEmptyLines(b[:n])); bad == nil {
				if p, ok := r.path(); ok && (p == "" || p[0] == '/' || strings.Contains("/"+p+"/", "/../")) {
					t.Errorf("path %q of %q", p, r.target)
				}
				r.keepAlive()
				r.hasBody()
			}
		}
		step = max(1, step)
		var pieces, whole bytes.Buffer
		p, q := newResponseParser(func(b []byte) { pieces.Write(b) }), newResponseParser(func(b []byte) { whole.Write(b) })
		var err error
		for off := 0; off < len(b) && err == nil; off += min(step, len(b)) {
			err = p.write(b[off:min(off+min(step, len(b)), len(b))])
			if len(p.buf) > maxResponseHead+1 {
				t.Fatalf("it keeps %d bytes", len(p.buf))
			}
		}
		errWhole := q.write(b)
		if fmt.Sprint(err) != fmt.Sprint(errWhole) || pieces.String() != whole.String() || p.complete != q.complete || p.digest() != q.digest() {
			t.Errorf("in pieces of %d: %v %q %v, whole: %v %q %v", step, err, pieces.String(), p.complete, errWhole, whole.String(), q.complete)
		}
	})
}
