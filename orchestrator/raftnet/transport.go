package raftnet

import (
	"context"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	// maxPool is how many idle connections to a peer are kept: heartbeats, entries and a vote at once.
	maxPool = 3
	// ioTimeout bounds one exchange with a peer, for each 256 kB in the case of a snapshot.
	ioTimeout = 10 * time.Second
	// idMark parts a server's id from its address in what a stream dials.
	idMark = "@"
)

// Config says what a transport is made of.
type Config struct {
	Identity Identity
	// Listener takes connections that speak Raft; the transport closes it in the end.
	Listener net.Listener
	// Dial makes such connections, to host:port.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// Advertise is the address at which others reach this server.
	Advertise string
	Logger    *slog.Logger
	RaftLog   hclog.Logger
}

// Transport carries Raft over connections that were greeted.
type Transport struct {
	*raft.NetworkTransport
	advertise raft.ServerAddress
}

// New makes a transport.
func New(conf Config) *Transport {
	return &Transport{advertise: raft.ServerAddress(conf.Advertise),
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream: newStream(conf), MaxPool: maxPool, Timeout: ioTimeout, Logger: conf.RaftLog, MsgpackUseNewTimeFormat: true})}
}

// LocalAddr is where others reach this server.
func (t *Transport) LocalAddr() raft.ServerAddress { return t.advertise }

// Close ends the transport with all its connections.
func (t *Transport) Close() error {
	err := t.NetworkTransport.Close()
	t.CloseStreams() // lets go of those that are pooled
	return err
}

// meant is what the stream dials: Raft says which server a message is for, its own transport forgets it.
func meant(id raft.ServerID, address raft.ServerAddress) raft.ServerAddress {
	return raft.ServerAddress(string(id) + idMark + string(address))
}

func (t *Transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	return t.NetworkTransport.AppendEntriesPipeline(id, meant(id, target))
}

func (t *Transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return t.NetworkTransport.AppendEntries(id, meant(id, target), req, resp)
}

func (t *Transport) RequestVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.NetworkTransport.RequestVote(id, meant(id, target), req, resp)
}

func (t *Transport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.NetworkTransport.RequestPreVote(id, meant(id, target), req, resp)
}

func (t *Transport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.NetworkTransport.InstallSnapshot(id, meant(id, target), req, resp, data)
}

func (t *Transport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, req *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.NetworkTransport.TimeoutNow(id, meant(id, target), req, resp)
}
