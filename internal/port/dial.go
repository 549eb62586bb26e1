package port

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
)

// Dialer makes connections to the ports of other labds. The zero Dialer speaks without TLS, over TCP.
type Dialer struct {
	// Security is nil without TLS.
	Security Security
	// Connect makes the connection beneath; nil: TCP.
	Connect func(ctx context.Context, address string) (net.Conn, error)
}

// Dial connects to host:port and says what it will speak. ctx bounds the handshake, not the connection.
func (d *Dialer) Dial(ctx context.Context, address string, protocol Protocol) (net.Conn, error) {
	raw, err := d.connect(ctx, address)
	if err != nil {
		return nil, err
	}
	conn, err := d.speak(ctx, raw, address, protocol)
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("labd at %s: %w", address, err)
	}
	return conn, nil
}

// ConnectTCP makes the connection beneath only, as gRPC asks for it: with Credentials the handshake is gRPC's to begin.
func (d *Dialer) ConnectTCP(ctx context.Context, address string) (net.Conn, error) {
	return d.connect(ctx, address)
}

func (d *Dialer) connect(ctx context.Context, address string) (net.Conn, error) {
	if d.Connect != nil {
		return d.Connect(ctx, address)
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, "tcp", address)
}

func (d *Dialer) speak(ctx context.Context, raw net.Conn, address string, protocol Protocol) (net.Conn, error) {
	if d.Security == nil {
		return raw, introduce(ctx, raw, protocol)
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	conf, err := d.Security.Client(host)
	if err != nil {
		return nil, err
	}
	conf = conf.Clone()
	conf.NextProtos = []string{string(protocol)}
	conn := tls.Client(raw, conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if got := conn.ConnectionState().NegotiatedProtocol; got != string(protocol) {
		return nil, fmt.Errorf("it does not speak %s there", protocol)
	}
	return conn, nil
}

// introduce says on a connection without TLS what it speaks. HTTP/2 says so itself.
func introduce(ctx context.Context, raw net.Conn, protocol Protocol) error {
	if protocol == HTTP2 {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	_, err := io.WriteString(raw, protocol.opening())
	if !stop() {
		return context.Cause(ctx)
	}
	return err
}
