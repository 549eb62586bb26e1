package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	controlv1 "labd.dev/proto/control/v1"
)

const (
	// walSegmentBytes is the size of a log segment, which is allocated at once. Small: a lab's commands are.
	walSegmentBytes = 4 << 20
	// snapshotsKept is how many snapshots stay on disk, the newest and one to fall back on.
	snapshotsKept = 2
	// electionTimeout is short, because a lone server waits for nobody else.
	electionTimeout = 50 * time.Millisecond
	// When a log has grown by snapshotThreshold entries, looked at every snapshotInterval or up to twice that, the state is
	// written out and the log cut, but for the last trailingLogs entries: a server that was away for less than those is sent
	// them and not the state.
	snapshotThreshold = 8192
	snapshotInterval  = 30 * time.Second
	trailingLogs      = 10240
	// enqueueTimeout bounds the wait for room before the log.
	enqueueTimeout = 5 * time.Second
)

// raftNode is this server's Raft and what lies beneath it.
type raftNode struct {
	raft     *raft.Raft
	fsm      *fsm
	leaderCh chan bool // told at each change of leadership
	leaders  *leaders  // tells of each change of who leads

	verifying underWay // who asks whether this server leads

	transport raft.Transport
	health    *diskHealth
	stores    io.Closer
}

// openRaft starts Raft on what st holds, which the node closes in the end.
func openRaft(st *storage, me *identity, cluster *Cluster, f *fsm, logger *slog.Logger) (*raftNode, error) {
	conf := raftConfig(me.serverID, cluster, logger)
	leaderCh := make(chan bool, 16)
	conf.NotifyCh = leaderCh

	health := &diskHealth{log: logger, closing: make(chan struct{})}
	logs, stable := &watchedLog{st.logs, health}, &patientStable{st.stable, health}
	var transport raft.Transport
	var err error
	if cluster == nil {
		transport, err = aloneTransport(conf, logs, stable, st.snaps)
	} else {
		transport = cluster.Transport(me)
		err = recoverByPeersFile(conf, st, logs, stable, transport, logger)
	}
	if err != nil {
		return nil, errors.Join(err, closeTransport(transport))
	}
	r, err := raft.NewRaft(conf, f, logs, stable, st.snaps, transport)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("raft: %w", err), closeTransport(transport))
	}
	return &raftNode{raft: r, fsm: f, leaderCh: leaderCh, leaders: watchLeaders(r), health: health, stores: st.closer,
		transport: transport}, nil
}

func raftConfig(serverID string, cluster *Cluster, logger *slog.Logger) *raft.Config {
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(serverID)
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = electionTimeout, electionTimeout, electionTimeout
	if cluster != nil {
		conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout =
			cluster.Timing.Heartbeat, cluster.Timing.Election, cluster.Timing.Lease
	}
	conf.SnapshotThreshold, conf.SnapshotInterval, conf.TrailingLogs = snapshotThreshold, snapshotInterval, trailingLogs
	// A server that was removed can be taken back while it runs.
	conf.ShutdownOnRemove = false
	conf.Logger = RaftLogger(logger)
	return conf
}

// aloneTransport is the transport of a server of its own, which makes a new one the only voter.
func aloneTransport(conf *raft.Config, logs raft.LogStore, stable raft.StableStore, snaps raft.SnapshotStore) (raft.Transport, error) {
	address, transport := raft.NewInmemTransport(raft.ServerAddress(conf.LocalID))
	known, err := raft.HasExistingState(logs, stable, snaps)
	if err != nil {
		return nil, fmt.Errorf("raft: %w", err)
	}
	if !known {
		servers := []raft.Server{{ID: conf.LocalID, Address: address}}
		err := raft.BootstrapCluster(conf, logs, stable, snaps, transport, raft.Configuration{Servers: servers})
		if err != nil {
			return nil, fmt.Errorf("raft: bootstrap: %w", err)
		}
	}
	return transport, nil
}

func closeTransport(t raft.Transport) error {
	if c, ok := t.(raft.WithClose); ok {
		return c.Close()
	}
	return nil
}

// verify asks a majority whether this server still leads.
func (n *raftNode) verify() error {
	if !n.verifying.begin() {
		return raft.ErrRaftShutdown
	}
	defer n.verifying.done()
	return n.raft.VerifyLeader().Error()
}

func (n *raftNode) close() error {
	close(n.health.closing)
	// Raft does not answer those who still ask when it stops. Before, it does as soon as it has heard from a majority, or has found
	// out that it leads no more.
	n.verifying.end()
	stopped := n.raft.Shutdown()
	err := closeTransport(n.transport) // who waits for another server's answer need wait no more
	err = errors.Join(err, stopped.Error())
	n.leaders.close(n.raft)
	return errors.Join(err, n.stores.Close())
}

// errFateOpen is wrapped by a proposal's error when the command may have been committed all the same.
var errFateOpen = errors.New("it is not known whether the change was made")

// propose commits a command and carries it out. Its error is a *Refusal when the command was void.
func (n *raftNode) propose(cmd *controlv1.Command) (result, error) {
	data, err := proto.Marshal(cmd)
	if err != nil {
		return result{}, fmt.Errorf("command: %w", err)
	}
	future := n.raft.Apply(data, enqueueTimeout)
	if err := future.Error(); err != nil {
		return result{}, n.refusal(err)
	}
	switch r := future.Response().(type) {
	case result:
		if r.refused != nil {
			return r, r.refused
		}
		return r, nil
	case error:
		return result{}, fmt.Errorf("%w: %w", errFateOpen, r) // the state machine has halted
	default:
		panic(fmt.Sprintf("state machine answered with a %T", r))
	}
}

// refusal is why Raft did not do what it was asked. A server that does not lead because its disk took no more says so: it has
// stepped down, which those who ask may find out before it does.
func (n *raftNode) refusal(err error) error {
	full := n.health.failing()
	switch {
	case full != nil && errors.Is(err, raft.ErrNotLeader):
		return storageError(full)
	case full != nil && errors.Is(err, raft.ErrLeadershipLost):
		return fmt.Errorf("%w: %w", errFateOpen, storageError(full))
	}
	return proposalError(err)
}

func proposalError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return notLeading()
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrAbortedByRestore), errors.Is(err, raft.ErrRaftShutdown):
		return fmt.Errorf("%w: %w", errFateOpen, notLeading())
	}
	// The log could not be written: a full or broken disk.
	return fmt.Errorf("%w: %w", errFateOpen, storageError(err))
}

// RaftLogger lets Raft's and the log's own lines through at the debug level, and their errors as errors.
func RaftLogger(logger *slog.Logger) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "raft", Level: hclog.Info, Output: &raftLines{logger: logger}, DisableTime: true,
	})
}

// ofTheNetwork are errors of Raft that say no more than that another server is away. There are many of them then, and
// labctl cluster health tells of it.
var ofTheNetwork = []string{"failed to make requestVote RPC", "failed to make requestPreVote RPC", "failed to appendEntries to",
	"failed to heartbeat to", "failed to decode incoming command", "failed to pipeline", "failed to start pipeline", "failed to flush response",
	"failed to send snapshot to", "failed to install snapshot"}

type raftLines struct{ logger *slog.Logger }

func (w *raftLines) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	level := slog.LevelDebug
	if rest, found := strings.CutPrefix(line, "[ERROR]"); found {
		line = strings.TrimSpace(rest)
		if !slices.ContainsFunc(ofTheNetwork, func(text string) bool { return strings.Contains(line, text) }) {
			level = slog.LevelError
		}
	}
	w.logger.Log(context.Background(), level, line)
	return len(p), nil
}
