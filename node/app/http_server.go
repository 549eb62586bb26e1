package app

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

const (
	// fileBlock is what the server reads of a file, and hands to its connection, at a time.
	fileBlock = 64 << 10
	// httpIdle is how long a connection may rest, and a request take to come, before the server closes it; the default of
	// common servers is of this order.
	httpIdle = 60 * sim.Second
	// httpDate is the format of RFC 9110 5.6.7: "IMF-fixdate".
	httpDate = "Mon, 02 Jan 2006 15:04:05 GMT"
)

// contentTypes by suffix; the host's own table would differ from machine to machine.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".htm": "text/html; charset=utf-8", ".txt": "text/plain; charset=utf-8",
	".md": "text/markdown; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".json": "application/json", ".xml": "application/xml", ".yaml": "application/yaml", ".csv": "text/csv; charset=utf-8",
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".svg": "image/svg+xml",
	".ico": "image/x-icon", ".pdf": "application/pdf", ".gz": "application/gzip", ".zip": "application/zip",
	".mp3": "audio/mpeg", ".mp4": "video/mp4", ".wasm": "application/wasm",
}

// httpServer serves the files it was given over HTTP/1.1, with persistent connections.
type httpServer struct {
	env      Env
	name     string
	files    map[string]*labv1.FileRef
	listener *tcpstack.Listener
	conns    roster[*httpConn]
}

func startHTTPServer(env Env, spec *labv1.HttpServerApp) (App, error) {
	port := portOr(spec.GetPort(), HTTPPort)
	s := &httpServer{env: env, name: fmt.Sprintf("http :%d", port), files: map[string]*labv1.FileRef{}}
	for _, f := range spec.GetFiles() {
		s.files[f.GetPath()] = f
	}
	var err error
	if s.listener, err = env.Stack.Listen(any4(port), tcpstack.TCPConfig{}, s.accept); err != nil {
		return nil, fmt.Errorf("app: %s: %w", s.name, err)
	}
	return s, nil
}

func (s *httpServer) Name() string { return s.name }

// Done: a server has nothing of its own to do; connections that rest are their clients'.
func (s *httpServer) Done() bool { return true }

func (s *httpServer) Stop() {
	s.listener.Close()
	for _, c := range s.conns.all {
		c.stop()
	}
	s.conns.all = nil
}

func (s *httpServer) accept(c *tcpstack.Conn) tcpstack.ConnHandler {
	h := &httpConn{server: s, env: &s.env, conn: c}
	h.idle.H = h
	s.conns.add(h)
	return h
}

// httpConn serves one connection, a request at a time. While a response is being written nothing is read: requests that
// were sent ahead wait in the receive buffer.
type httpConn struct {
	server *httpServer
	env    *Env
	place  int // in server.conns
	conn   *tcpstack.Conn

	in     []byte // what has been read of the next request, at most maxRequestHead
	out    []byte // what is left of the response's head
	body   *source
	buf    []byte // for reads; nil between connections' bursts
	last   bool   // close after the response that is being written
	ended  bool   // all is written and the FIN is queued
	busy   bool   // inside run
	gone   bool   // the connection is no more
	told   progress
	idle   sim.Timer
	waited sim.Time // since when there has been something to write that could not be
}

func (h *httpConn) seat() *int { return &h.place }

func (h *httpConn) Established(c *tcpstack.Conn) { h.rest() }

func (h *httpConn) rest() {
	if !h.gone {
		h.env.arm(&h.idle, h.env.Loop.Now()+httpIdle)
	}
}

// Fire: nothing has been asked for too long. RFC 9110 15.5.9: a server that gives up on an unfinished request says so.
func (h *httpConn) Fire(sim.Time) {
	if len(h.in) > 0 && !h.responding() && !h.ended {
		h.refuse(errTimeout)
		return
	}
	h.env.abortConn(h.conn)
}

func (h *httpConn) responding() bool { return len(h.out) > 0 || h.body != nil }

func (h *httpConn) Readable(c *tcpstack.Conn) { h.run() }
func (h *httpConn) Drained(c *tcpstack.Conn)  { h.reportSent() }

func (h *httpConn) Writable(c *tcpstack.Conn) {
	h.run()
	if !h.gone && h.body != nil && h.told.due(h.env.Loop.Now(), h.body.pos) {
		h.reportSent()
	}
}

// run writes what is to be written and reads what is to be read, until neither goes on.
func (h *httpConn) run() {
	if h.busy {
		return
	}
	h.busy = true
	for !h.gone && h.write() && !h.gone && h.serve() {
	}
	h.busy = false
}

// serve takes the next request and prepares its response; false if there is none yet.
func (h *httpConn) serve() bool {
	if h.ended {
		return h.discard()
	}
	h.in = skipEmptyLines(h.in)
	if n := headEnd(h.in); n >= 0 && n <= maxRequestHead {
		head := h.in[:n]
		h.in = h.in[n:]
		h.respond(head)
		return true
	}
	if len(h.in) >= maxRequestHead {
		h.refuse(tooLarge(h.in))
		return true
	}
	return h.read()
}

// read takes more of the request; false if nothing came, or the peer closed.
func (h *httpConn) read() bool {
	n, err := h.take(maxRequestHead - len(h.in))
	h.in = append(h.in, h.buf[:n]...)
	if n > 0 {
		h.rest()
		return true
	}
	if errors.Is(err, tcpstack.ErrWouldBlock) {
		return false
	}
	// The peer has closed, perhaps in the middle of a request: nobody waits for an answer.
	h.finish()
	return false
}

// take reads at most n bytes into buf.
func (h *httpConn) take(n int) (int, error) {
	if h.buf == nil {
		h.buf = make([]byte, maxRequestHead)
	}
	if there := min(n, h.conn.Buffered()); there > 0 {
		h.env.record(KindRead, h.conn, uint64(there), 0, 0)
	}
	return h.conn.Read(h.buf[:n])
}

// discard reads to the peer's end after the last response, so that no reset overtakes the response.
// RFC 9112 9.6: "the server closes the write side, then continues to read from the connection until it receives a
// corresponding close by the client".
func (h *httpConn) discard() bool {
	n, err := h.take(maxRequestHead)
	if n > 0 {
		return true
	}
	if !errors.Is(err, tcpstack.ErrWouldBlock) {
		h.env.closeConn(h.conn)
	}
	return false
}

// respond prepares the response to a request.
func (h *httpConn) respond(head []byte) {
	r, bad := parseRequest(head)
	if bad != nil {
		h.refuse(bad)
		return
	}
	h.last = !r.keepAlive() || r.hasBody()
	path, ok := r.path()
	if !ok {
		h.refuse(errBadRequest)
		return
	}
	if r.method != "GET" && r.method != "HEAD" {
		h.answer(errMethod, true)
		return
	}
	withBody := r.method == "GET"
	file := h.server.files[path]
	if file == nil {
		h.answer(errNotFound, withBody)
		return
	}
	blob, err := h.env.Blob(file.GetSha256())
	if err != nil {
		h.answer(&httpError{500, "Internal Server Error"}, withBody)
		return
	}
	h.head(&httpError{200, "OK"}, len(blob), contentType(path), "Repr-Digest: sha-256=:"+digest(file.GetSha256())+":\r\n")
	if withBody {
		h.body = newSource(h.env.Loop, content{size: uint64(len(blob)), sha256: file.GetSha256(), blob: blob})
	}
}

// digest is a SHA-256 as RFC 9530 has it: base64.
func digest(hexSum string) string {
	b, err := hex.DecodeString(hexSum)
	if err != nil {
		return ""
	}
	return base64.StdEncoding.EncodeToString(b)
}

func contentType(file string) string {
	if t, ok := contentTypes[strings.ToLower(path.Ext(file))]; ok {
		return t
	}
	return "application/octet-stream"
}

// refuse answers what cannot be understood, or comes too late, and closes: where the next request begins is unknown.
func (h *httpConn) refuse(e *httpError) {
	h.last = true
	h.in = nil
	h.answer(e, true)
	h.run()
}

func (h *httpConn) answer(e *httpError, withBody bool) {
	text := e.Error() + "\n"
	more := ""
	if e == errMethod {
		more = "Allow: GET, HEAD\r\n" // RFC 9110 15.5.6: "The origin server MUST generate an Allow header field"
	}
	h.head(e, len(text), "text/plain; charset=utf-8", more)
	if withBody {
		h.out = append(h.out, text...)
	}
}

func (h *httpConn) head(status *httpError, length int, kind, more string) {
	date := Epoch.Add(h.env.Loop.Now().Duration()).Format(httpDate)
	h.out = fmt.Appendf(h.out, "HTTP/1.1 %v\r\nServer: labd\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s",
		status, date, kind, length, more)
	if h.last {
		h.out = append(h.out, "Connection: close\r\n"...)
	}
	h.out = append(h.out, "\r\n"...)
	h.waited = h.env.Loop.Now()
}

// write goes on with the response; true once it is all with the connection.
func (h *httpConn) write() bool {
	for len(h.out) > 0 {
		h.wrote(len(h.out))
		n, err := h.conn.Write(h.out)
		h.out = h.out[n:]
		if err != nil {
			return false
		}
	}
	for h.body != nil && h.body.left() > 0 {
		if n := h.body.read(fileBlock); n > 0 {
			h.env.record(KindFileRead, h.conn, uint64(n), 0, 0)
		}
		ch, off, n := h.body.block()
		h.wrote(n)
		k, err := h.conn.WriteChunk(ch, off, n)
		if h.body == nil {
			return false // the connection ended within the call
		}
		h.body.advance(k)
		if k > 0 {
			h.rest()
		}
		if err != nil {
			return false
		}
	}
	if h.body != nil {
		h.body.release()
		h.body = nil
		h.rest()
	}
	if h.last && !h.ended {
		h.finish()
	}
	return true
}

// wrote notes a write call with the bytes that are held.
func (h *httpConn) wrote(held int) {
	n := min(held, h.conn.Room())
	if now := h.env.Loop.Now(); n > 0 {
		h.env.recordWrite(h.conn, n, held, now-h.waited)
		h.waited = now
	}
}

// finish writes no more; the connection is closed for good once the peer has closed too.
func (h *httpConn) finish() {
	h.ended = true
	h.env.record(KindShutdown, h.conn, 0, 0, 0)
	h.conn.CloseWrite()
	h.rest()
	if h.conn.State() == tcpstack.StateLastAck {
		h.env.closeConn(h.conn)
	}
}

func (h *httpConn) Closed(c *tcpstack.Conn, err error) {
	h.reportSent()
	h.stop()
	h.server.conns.forget(h)
	c.Release()
}

func (h *httpConn) stop() {
	h.gone = true
	h.in, h.out, h.buf = nil, nil, nil
	if h.body != nil {
		h.body.release()
		h.body = nil
	}
	h.env.Loop.Stop(&h.idle)
}

// reportSent tells what the sender of a download's content knows.
func (h *httpConn) reportSent() {
	get := h.env.input(h.conn.Tag()).GetHttpGet()
	if get == nil {
		return
	}
	info := h.conn.Info()
	h.env.Report.Transfer(get.GetId(), func(s *labv1.TransferStatus) { sent(s, info) })
}
