package app

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/netip"
	"net/url"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/tcpstack"
)

// httpGet downloads one file and closes the connection.
type httpGet struct {
	env     Env
	spec    *labv1.HttpGet
	request []byte
	conn    *tcpstack.Conn
	reader  *reader
	parser  *responseParser
	hash    hash.Hash
	save    func([]byte)
	told    progress
	bytes   uint64
	over    bool // the response is complete or has failed
	ended   bool
}

// StartHTTPGet starts a download to this node.
func StartHTTPGet(env Env, index uint32, spec *labv1.HttpGet) App {
	a := &httpGet{env: env, spec: spec, hash: sha256.New()}
	a.parser = newResponseParser(a.body)
	u, remote, err := a.target()
	env.Report.Transfer(spec.GetId(), func(s *labv1.TransferStatus) {
		s.Id, s.From, s.What = spec.GetId(), spec.GetFrom(), spec.GetUrl()
		if u != nil {
			s.To = u.Hostname()
		}
		s.StartNs = int64(env.Loop.Now())
		settle(s, labv1.TransferState_TRANSFER_STATE_RUNNING)
	})
	if err != nil {
		return failedTransfer(env, spec.GetId(), err)
	}
	a.save = env.sink(spec.GetId(), spec.GetSave())
	// RFC 9112 3.2.1: origin-form.
	a.request = fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: labd\r\nAccept: */*\r\n\r\n", u.RequestURI(), u.Host)
	local := netip.AddrPortFrom(netip.Addr{}, uint16(spec.GetLocalPort()))
	c, now, err := env.open(local, remote, connConfig(spec.GetTcp(), index), a)
	if err != nil {
		return failedTransfer(env, spec.GetId(), err)
	}
	a.conn = c
	env.Report.Transfer(spec.GetId(), func(s *labv1.TransferStatus) { s.Conn = connName(&env, c) })
	if now {
		a.ask()
	}
	return a
}

func connName(env *Env, c *tcpstack.Conn) string {
	return fmt.Sprintf("%s/%d", env.ID.Name, c.ID().Counter())
}

// target is where the URL leads.
func (a *httpGet) target() (*url.URL, netip.AddrPort, error) {
	u, err := url.Parse(a.spec.GetUrl())
	if err != nil {
		return nil, netip.AddrPort{}, errors.New("not a URL")
	}
	if u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
		return u, netip.AddrPort{}, errors.New("not a URL of the form http://NODE[:PORT]/PATH")
	}
	addr, err := a.env.resolve(u.Hostname(), a.spec.GetFamily())
	if err != nil {
		return u, netip.AddrPort{}, err
	}
	port := uint64(HTTPPort)
	if u.Port() != "" {
		if port, err = parseDigits(u.Port(), 10); err != nil || port == 0 || port > 65535 {
			return u, netip.AddrPort{}, fmt.Errorf("%s is not a port", u.Port())
		}
	}
	return u, netip.AddrPortFrom(addr, uint16(port)), nil
}

func (a *httpGet) Name() string { return "get " + a.spec.GetId() }
func (a *httpGet) Done() bool   { return a.ended }

func (a *httpGet) Stop() {
	a.ended = true
	a.reader.stop()
}

func (a *httpGet) Established(c *tcpstack.Conn) {
	a.conn = c
	a.reader = newReader(&a.env, c, a.spec.GetReader(), a.came, a.closed)
	a.ask()
}

// ask writes what is left of the request.
func (a *httpGet) ask() {
	if n := min(len(a.request), a.conn.Room()); n > 0 {
		a.env.recordWrite(a.conn, n, len(a.request), 0)
	}
	n, _ := a.conn.Write(a.request) // a short write goes on in Writable; a failure is told by Closed
	a.request = a.request[n:]
}

func (a *httpGet) Writable(c *tcpstack.Conn) { a.ask() }
func (a *httpGet) Drained(c *tcpstack.Conn)  {}
func (a *httpGet) Readable(c *tcpstack.Conn) { a.reader.step() }

func (a *httpGet) came(b []byte) {
	known := a.parser.known
	err := a.parser.write(b)
	if !known && a.parser.known {
		n := a.parser.length
		a.env.Report.Transfer(a.spec.GetId(), func(s *labv1.TransferStatus) { s.BytesExpected = n })
	}
	if err != nil || a.parser.complete {
		a.finish(err)
		return
	}
	if now, n := a.env.Loop.Now(), a.bytes; a.told.due(now, n) {
		a.env.Report.Transfer(a.spec.GetId(), func(s *labv1.TransferStatus) { arrived(s, now, n) })
	}
}

func (a *httpGet) body(b []byte) {
	a.bytes += uint64(len(b))
	a.hash.Write(b)
	if a.save != nil {
		a.save(b)
	}
}

// closed: the server has sent its FIN.
func (a *httpGet) closed() { a.finish(a.parser.end()) }

// finish tells the outcome and closes: nothing more is asked, and a server that went on sending would be reset. A status
// other than 2xx is a failure, in the server's words.
func (a *httpGet) finish(err error) {
	a.over = true
	if err == nil && a.parser.status/100 != 2 {
		err = fmt.Errorf("%d %s", a.parser.status, a.parser.phrase)
	}
	now, n, sum := a.env.Loop.Now(), a.bytes, hex.EncodeToString(a.hash.Sum(nil))
	match := sum == a.parser.digest()
	a.env.Report.Transfer(a.spec.GetId(), func(s *labv1.TransferStatus) {
		arrived(s, now, n)
		if err != nil {
			fail(s, reason(err))
			return
		}
		s.Sha256, s.Match = sum, match
		settle(s, labv1.TransferState_TRANSFER_STATE_DONE)
	})
	a.reader.stop()
	a.env.closeConn(a.conn)
}

func (a *httpGet) Closed(c *tcpstack.Conn, err error) {
	if !a.over {
		a.over = true
		if err == nil {
			err = errCutShort
		}
		now, n := a.env.Loop.Now(), a.bytes
		a.env.Report.Transfer(a.spec.GetId(), func(s *labv1.TransferStatus) {
			if n > 0 {
				arrived(s, now, n)
			}
			fail(s, reason(err))
		})
	}
	a.Stop()
}
