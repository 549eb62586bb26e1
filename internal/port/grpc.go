package port

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
)

// Credentials tell gRPC how connections are secured that a Port took or a Dialer makes: the handshake is theirs.
func Credentials(d *Dialer) credentials.TransportCredentials { return &grpcCredentials{dialer: d} }

type grpcCredentials struct{ dialer *Dialer }

// plainInfo is of a connection without TLS.
type plainInfo struct {
	credentials.CommonAuthInfo
	inProcess bool
}

// InProcess tells whether a connection is a pipe within the process: no Port has taken it.
func InProcess(info credentials.AuthInfo) bool {
	p, ok := info.(plainInfo)
	return ok && p.inProcess
}

func (plainInfo) AuthType() string { return "none" }

func plain(inProcess bool) plainInfo {
	return plainInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}, inProcess}
}

// ServerHandshake takes a connection as the port has settled it; a pipe within the process has no TLS.
func (g *grpcCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, ok := raw.(*Conn)
	if !ok || conn.TLS() == nil {
		return raw, plain(!ok), nil
	}
	return conn, credentials.TLSInfo{State: *conn.TLS(),
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

// ClientHandshake secures a connection that gRPC has made.
func (g *grpcCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if g.dialer == nil {
		return nil, nil, errors.New("port: these credentials are a server's")
	}
	if g.dialer.Security == nil {
		return raw, plain(false), nil
	}
	conn, err := g.dialer.speak(ctx, raw, authority, HTTP2)
	if err != nil {
		return nil, nil, err
	}
	return conn, credentials.TLSInfo{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity}}, nil
}

func (g *grpcCredentials) Info() credentials.ProtocolInfo {
	if g.dialer == nil || g.dialer.Security == nil {
		return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
	}
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (g *grpcCredentials) Clone() credentials.TransportCredentials {
	return &grpcCredentials{dialer: g.dialer}
}

// OverrideServerName is there for the interface; the name is the address's host.
func (g *grpcCredentials) OverrideServerName(string) error { return nil }
