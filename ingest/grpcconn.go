package ingest

import (
	"context"
	"errors"
	"net"

	grpccredentials "google.golang.org/grpc/credentials"
	grpcpeer "google.golang.org/grpc/peer"
)

// connCredentials carries a connection to the calls on it, as the AuthInfo of their peer: the way that grpc-go has for
// what a handshake found out. TLS itself is the front's.
type connCredentials struct{}

type connInfo struct{ origin *conn }

func (connInfo) AuthType() string { return "headgate" }

func (connCredentials) ServerHandshake(c net.Conn) (net.Conn, grpccredentials.AuthInfo, error) {
	return c, connInfo{originOf(c)}, nil
}

func (connCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, grpccredentials.AuthInfo, error) {
	return nil, nil, errors.New("BUG: a server's credentials")
}

func (connCredentials) Info() grpccredentials.ProtocolInfo { return grpccredentials.ProtocolInfo{} }

func (connCredentials) Clone() grpccredentials.TransportCredentials { return connCredentials{} }

// OverrideServerName is for clients.
func (connCredentials) OverrideServerName(string) error { return nil }

// callOrigin returns the connection of a call, nil if there is none.
func callOrigin(ctx context.Context) *conn {
	if p, ok := grpcpeer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(connInfo); ok {
			return info.origin
		}
	}
	return nil
}
