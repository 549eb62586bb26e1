package daemon

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"labd.dev/client"
	labv1 "labd.dev/proto/lab/v1"
)

// rawHTTP2 is a client that keeps to no rule that it is not told to.
type rawHTTP2 struct {
	t      *testing.T
	conn   net.Conn
	framer *http2.Framer
	next   uint32 // stream

	widened int // updates of a call's window, while its outcome was waited for
}

func dialRawHTTP2(t *testing.T, d *Daemon) *rawHTTP2 { return dialRawHTTP2At(t, d.Addr()) }

func dialRawHTTP2At(t *testing.T, address string) *rawHTTP2 {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return rawHTTP2On(t, conn)
}

// rawHTTP2On speaks HTTP/2 on a connection.
func rawHTTP2On(t *testing.T, conn net.Conn) *rawHTTP2 {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	r := &rawHTTP2{t: t, conn: conn, framer: http2.NewFramer(conn, conn), next: 1}
	r.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil) // RFC 7541 6.5.2: the table's size to begin with
	if err := r.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return r
}

// call begins a call of a method, with more headers, and sends nothing of its request.
func (r *rawHTTP2) call(method string, more ...hpack.HeaderField) (uint32, error) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, h := range append([]hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"},
		{Name: ":path", Value: method}, {Name: ":authority", Value: "labd"}, {Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"}}, more...) {
		if err := enc.WriteField(h); err != nil {
			return 0, err
		}
	}
	id := r.next
	r.next += 2
	const most = 16 << 10 // RFC 9113 4.2: the frame that everybody takes
	first := block.Next(most)
	err := r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndHeaders: block.Len() == 0})
	for err == nil && block.Len() > 0 {
		rest := block.Next(most)
		err = r.framer.WriteContinuation(id, block.Len() == 0, rest)
	}
	return id, err
}

// data sends some of a call's request; a message begins with a zero and its length in four bytes.
func (r *rawHTTP2) data(id uint32, b []byte) {
	r.t.Helper()
	if err := r.framer.WriteData(id, false, b); err != nil {
		r.t.Fatal(err)
	}
}

// outcome is the reason that a call is answered with; OK: it was carried out.
func (r *rawHTTP2) outcome(id uint32) (reason string) {
	r.t.Helper()
	r.until("the answer of a call", func(f http2.Frame) bool {
		switch f := f.(type) {
		case *http2.WindowUpdateFrame:
			if f.StreamID == id {
				r.widened++
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID == id && f.StreamEnded() {
				reason = reasonInTrailers(r.t, f.Fields)
				return true
			}
		}
		return false
	})
	return reason
}

func reasonInTrailers(t *testing.T, fields []hpack.HeaderField) string {
	for _, h := range fields {
		if h.Name != "grpc-status-details-bin" {
			continue
		}
		b, err := base64.RawStdEncoding.DecodeString(h.Value)
		var s statuspb.Status
		if err == nil {
			err = proto.Unmarshal(b, &s)
		}
		if err != nil {
			t.Fatal(err)
		}
		return reasonOf(status.FromProto(&s).Err())
	}
	for _, h := range fields {
		if h.Name == "grpc-status" && h.Value != "0" {
			return "grpc-status " + h.Value
		}
	}
	return "OK"
}

// until reads frames to the one that is waited for.
func (r *rawHTTP2) until(what string, is func(http2.Frame) bool) {
	r.t.Helper()
	if err := r.conn.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		r.t.Fatal(err)
	}
	for {
		f, err := r.framer.ReadFrame()
		if err != nil {
			r.t.Fatalf("%s does not come: %v", what, err)
		}
		if is(f) {
			return
		}
	}
}

func isReset(id uint32, code http2.ErrCode) func(http2.Frame) bool {
	return func(f http2.Frame) bool {
		rst, ok := f.(*http2.RSTStreamFrame)
		return ok && rst.StreamID == id && rst.ErrCode == code
	}
}

// wantAnswers holds a labd to answering others.
func wantAnswers(t *testing.T, d *Daemon) {
	t.Helper()
	c, err := client.Open(client.Options{Servers: []string{d.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Labs.ListLabs(t.Context(), &labv1.ListLabsRequest{}); err != nil {
		t.Errorf("another client: %v", err)
	}
}

// One connection has so many calls under way; the next is refused, which ends neither the connection nor the others.
func TestCallsOfOneConnection(t *testing.T) {
	d := start(t, Config{Listen: "127.0.0.1:0"})
	r := dialRawHTTP2(t, d)
	var last uint32
	for range maxStreams + 1 {
		id, err := r.call(healthv1.Health_Watch_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		last = id
	}
	r.until("the refusal of a call too many", isReset(last, http2.ErrCodeRefusedStream))
	if err := r.framer.WriteRSTStream(1, http2.ErrCodeCancel); err != nil {
		t.Fatal(err)
	}
	wantAnswers(t, d)
}

// A flood of calls that are reset as soon as they are made (CVE-2023-44487) leaves no more work behind than the calls that one
// connection may have under way: its handlers, cancelled already, take the places that calls take.
func TestFloodOfResets(t *testing.T) {
	d := start(t, Config{Listen: "127.0.0.1:0"})
	wantAnswers(t, d)
	before := runtime.NumGoroutine()
	r := dialRawHTTP2(t, d)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		io.Copy(io.Discard, r.conn) // until the test's end closes it
	}()
	const calls, slack = 20_000, 200
	most := 0
	for i := range calls {
		id, err := r.call(labv1.LabService_ListLabs_FullMethodName)
		if err == nil {
			err = r.framer.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		if err != nil {
			t.Logf("the server ended the connection after %d calls: %v", i, err)
			break
		}
		if i%100 == 0 {
			most = max(most, runtime.NumGoroutine())
		}
	}
	if most > before+maxStreams+slack {
		t.Errorf("%d goroutines during the flood, %d before", most, before)
	}
	wantAnswers(t, d)
	r.conn.Close()
	<-drained
	eventually(t, "the end of what the flood began", func() bool { return runtime.NumGoroutine() <= before+slack })
}

// Headers that go on for ever, in frame after frame (CVE-2023-45288; fixed in golang.org/x/net 0.23.0), end the connection soon
// after they are more than they may be.
func TestFloodOfContinuations(t *testing.T) {
	d := start(t, Config{Listen: "127.0.0.1:0"})
	r := dialRawHTTP2(t, d)
	if err := r.conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	// A field that is not indexed, of a name and a value of one byte each (RFC 7541 6.2.2): a frame has thousands.
	block := bytes.Repeat([]byte{0, 1, 'x', 1, 'y'}, (16<<10)/5)
	err := r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block})
	sent := len(block)
	for ; err == nil && sent < 256<<20; sent += len(block) {
		err = r.framer.WriteContinuation(1, false, block)
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes of headers were taken: %v", sent, err)
	}
	wantAnswers(t, d)
}

// Who asks for signs of life all the time is sent away (RFC 9113 10.5: ENHANCE_YOUR_CALM).
func TestFloodOfPings(t *testing.T) {
	d := start(t, Config{Listen: "127.0.0.1:0"})
	r := dialRawHTTP2(t, d)
	if err := r.conn.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	for calm := false; !calm; {
		err := r.framer.WritePing(false, [8]byte{})
		var f http2.Frame
		for err == nil && !calm {
			if f, err = r.framer.ReadFrame(); err != nil {
				break
			}
			if away, ok := f.(*http2.GoAwayFrame); ok {
				calm = away.ErrCode == http2.ErrCodeEnhanceYourCalm
			} else if ping, ok := f.(*http2.PingFrame); ok && ping.IsAck() {
				break
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("the connection does not end")
		}
		if err != nil {
			break // closed: a ping that was on its way then has the system reset what was not read
		}
	}
	wantAnswers(t, d)
}

// Headers of a call are bounded.
func TestHeadersOfACall(t *testing.T) {
	d := start(t, Config{Listen: "127.0.0.1:0"})
	r := dialRawHTTP2(t, d)
	id, err := r.call(healthv1.Health_Check_FullMethodName, hpack.HeaderField{Name: "x", Value: strings.Repeat("\x7f", maxHeaderBytes*5/4)})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.conn.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	for refused := false; !refused; { // by the end of the call, or of the connection: the rest of the block is not looked at
		f, err := r.framer.ReadFrame()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal("headers larger than they may be are not refused")
		}
		refused = err != nil || isReset(id, http2.ErrCodeFrameSize)(f)
	}

	wantAnswers(t, d)
}
