package tlsfiles

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// made is a directory with a CA, a daemon's certificate and a client's.
type made struct {
	t      *testing.T
	dir    string
	ca     *Authority
	daemon Files
	client Files
}

func makeAll(t *testing.T) *made {
	t.Helper()
	m := &made{t: t, dir: t.TempDir()}
	m.daemon = Files{CA: m.path("ca.crt"), Cert: m.path("labd.crt"), Key: m.path("labd.key")}
	m.client = Files{CA: m.path("ca.crt"), Cert: m.path("client.crt"), Key: m.path("client.key")}
	var err error
	if m.ca, _, err = OpenAuthority(m.path("ca.crt"), m.path("ca.key"), time.Now()); err != nil {
		t.Fatal(err)
	}
	m.issue(m.daemon, ForDaemon)
	m.issue(m.client, ForClient)
	return m
}

func (m *made) path(name string) string { return filepath.Join(m.dir, name) }

func (m *made) issue(f Files, usage Usage) {
	m.t.Helper()
	if err := m.ca.IssueTo(f.Cert, f.Key, "x", []string{"127.0.0.1", "labd.example"}, usage, time.Now()); err != nil {
		m.t.Fatal(err)
	}
}

// expire replaces a certificate by one that has expired.
func (m *made) expire(f Files, usage Usage) {
	m.t.Helper()
	cert, key, err := m.ca.issue("x", []string{"127.0.0.1"}, usage, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	if err = errors.Join(err, writeFile(f.Key, key), writeFile(f.Cert, cert)); err != nil {
		m.t.Fatal(err)
	}
}

func open(t *testing.T, f Files) *Source {
	t.Helper()
	s, err := Open(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shake has a server and a client shake hands and exchange a byte, and tells how that ends at both ends.
func shake(t *testing.T, server, client *Source, host string) (serial string, atServer, atClient error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // a pipe holds up those who have no more to say to each other
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	sc, err := server.Server()
	if err != nil {
		t.Fatal(err)
	}
	cc, err := client.Client(host)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		c := tls.Server(far, sc)
		_, err := io.ReadFull(c, make([]byte, 1))
		if err == nil {
			_, err = c.Write([]byte{2})
		}
		done <- err
		far.Close()
	}()
	c := tls.Client(near, cc)
	if _, err = c.Write([]byte{1}); err == nil {
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	if certs := c.ConnectionState().PeerCertificates; len(certs) > 0 {
		serial = certs[0].SerialNumber.String()
	}
	near.Close()
	return serial, <-done, err
}

func TestBothEndsShowCertificates(t *testing.T) {
	m := makeAll(t)
	s, c := open(t, m.daemon), open(t, m.client)
	for _, host := range []string{"127.0.0.1", "labd.example"} {
		if _, atServer, atClient := shake(t, s, c, host); atServer != nil || atClient != nil {
			t.Errorf("%s: %v, %v", host, atServer, atClient)
		}
	}
	entries, err := os.ReadDir(m.dir)
	if err != nil || len(entries) != 6 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

// What is wrong with a certificate is named at both ends.
func TestBadCertificates(t *testing.T) {
	for _, c := range []struct {
		name           string
		server, client string // in the error there
		host           string
		breakIt        func(t *testing.T, m, other *made) (server, client *Source)
	}{
		{"the client's is of another CA", "unknown authority", "unknown certificate authority", "127.0.0.1",
			func(t *testing.T, m, other *made) (*Source, *Source) {
				return open(t, m.daemon), trusting(t, other.client, m.client.CA)
			}},
		{"the server's is of another CA", "", "unknown authority", "127.0.0.1",
			func(t *testing.T, m, other *made) (*Source, *Source) { return open(t, other.daemon), open(t, m.client) }},
		{"the client's has expired", "expired", "expired certificate", "127.0.0.1",
			func(t *testing.T, m, _ *made) (*Source, *Source) {
				s := open(t, m.client)
				m.expire(m.client, ForClient)
				return open(t, m.daemon), s
			}},
		{"the server's has expired", "", "expired", "127.0.0.1",
			func(t *testing.T, m, _ *made) (*Source, *Source) {
				s := open(t, m.daemon)
				m.expire(m.daemon, ForDaemon)
				return s, open(t, m.client)
			}},
		{"the server's is for another host", "", "labd.elsewhere", "labd.elsewhere",
			func(t *testing.T, m, _ *made) (*Source, *Source) { return open(t, m.daemon), open(t, m.client) }},
		{"the server shows a client's", "", "incompatible key usage", "127.0.0.1",
			func(t *testing.T, m, _ *made) (*Source, *Source) { return open(t, m.client), open(t, m.client) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, client := c.breakIt(t, makeAll(t), makeAll(t))
			_, atServer, atClient := shake(t, server, client, c.host)
			if atServer == nil || !strings.Contains(atServer.Error(), c.server) {
				t.Errorf("the server says %v, want %q", atServer, c.server)
			}
			if atClient == nil || !strings.Contains(atClient.Error(), c.client) {
				t.Errorf("the client says %v, want %q", atClient, c.client)
			}
		})
	}
}

// trusting is a source that trusts another CA than its own.
func trusting(t *testing.T, f Files, ca string) *Source {
	t.Helper()
	s := open(t, f)
	other := open(t, Files{CA: ca, Cert: filepath.Join(filepath.Dir(ca), "client.crt"), Key: filepath.Join(filepath.Dir(ca), "client.key")})
	s.pool = other.pool
	return s
}

// New certificates are used at the next handshake; new ones that cannot be read change nothing.
func TestReload(t *testing.T) {
	m := makeAll(t)
	s, c := open(t, m.daemon), open(t, m.client)
	first, _, _ := shake(t, s, c, "127.0.0.1")
	m.issue(m.daemon, ForDaemon)
	second, atServer, atClient := shake(t, s, c, "127.0.0.1")
	if atServer != nil || atClient != nil || second == first || second == "" {
		t.Fatalf("after new files: %v %v, certificate %s after %s", atServer, atClient, second, first)
	}
	if err := os.WriteFile(m.daemon.Cert, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	third, atServer, atClient := shake(t, s, c, "127.0.0.1")
	if atServer != nil || atClient != nil || third != second {
		t.Fatalf("after a broken file: %v %v, certificate %s after %s", atServer, atClient, third, second)
	}
}

func TestRefusedAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		want    string
		breakIt func(m, other *made)
	}{
		"expired":          {"expired at ", func(m, _ *made) { m.expire(m.daemon, ForDaemon) }},
		"of another CA":    {"is not of the CA in", func(m, other *made) { m.daemon.CA = other.daemon.CA }},
		"no CA":            {"no such file", func(m, _ *made) { m.daemon.CA += "x" }},
		"a CA without PEM": {"holds no certificate", func(m, _ *made) { os.WriteFile(m.daemon.CA, []byte("x"), 0o600) }},
		"another's key":    {"private key does not match", func(m, _ *made) { m.daemon.Key = m.client.Key }},
	} {
		t.Run(name, func(t *testing.T) {
			m := makeAll(t)
			c.breakIt(m, makeAll(t))
			if _, err := Open(m.daemon, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// A CA that is there signs what is made later; one that is not whole is never replaced.
func TestAuthorityStays(t *testing.T) {
	m := makeAll(t)
	again, made, err := OpenAuthority(m.path("ca.crt"), m.path("ca.key"), time.Now())
	if err != nil || made || string(again.PEM()) != string(m.ca.PEM()) {
		t.Fatalf("opened again: %v, made %v", err, made)
	}
	if _, _, err := OpenAuthority(m.path("ca.crt"), m.path("labd.key"), time.Now()); err == nil {
		t.Error("another key is taken for the CA's")
	}
	var expired *ExpiredError
	if _, _, err := OpenAuthority(m.path("ca.crt"), m.path("ca.key"), time.Now().Add(2*caLifetime)); !errors.As(err, &expired) {
		t.Errorf("an old CA: %v", err)
	}
	if err := os.Remove(m.path("ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := OpenAuthority(m.path("ca.crt"), m.path("ca.key"), time.Now()); err == nil || !strings.Contains(err.Error(), "its key cannot be read") {
		t.Errorf("a CA without its key: %v", err)
	}
}
