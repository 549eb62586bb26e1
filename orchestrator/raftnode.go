package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	// enqueueTimeout bounds the wait for room before the log.
	enqueueTimeout = 5 * time.Second
)

// raftNode is this server's Raft and what lies beneath it.
type raftNode struct {
	raft     *raft.Raft
	fsm      *fsm
	leaderCh chan bool // told at each change of leadership
	health   *diskHealth
	stores   io.Closer
}

// openRaft starts a one-server Raft on what st holds, which the node closes in the end.
func openRaft(st *storage, serverID string, f *fsm, logger *slog.Logger) (*raftNode, error) {
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(serverID)
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = electionTimeout, electionTimeout, electionTimeout
	conf.Logger = raftLogger(logger)
	leaderCh := make(chan bool, 16)
	conf.NotifyCh = leaderCh

	health := &diskHealth{log: logger, closing: make(chan struct{})}
	logs, stable := &watchedLog{st.logs, health}, &patientStable{st.stable, health}
	address, transport := raft.NewInmemTransport(raft.ServerAddress(serverID))
	known, err := raft.HasExistingState(logs, stable, st.snaps)
	if err != nil {
		return nil, fmt.Errorf("raft: %w", err)
	}
	if !known {
		servers := []raft.Server{{ID: conf.LocalID, Address: address}}
		err := raft.BootstrapCluster(conf, logs, stable, st.snaps, transport, raft.Configuration{Servers: servers})
		if err != nil {
			return nil, fmt.Errorf("raft: bootstrap: %w", err)
		}
	}
	r, err := raft.NewRaft(conf, f, logs, stable, st.snaps, transport)
	if err != nil {
		return nil, fmt.Errorf("raft: %w", err)
	}
	return &raftNode{raft: r, fsm: f, leaderCh: leaderCh, health: health, stores: st.closer}, nil
}

func (n *raftNode) close() error {
	close(n.health.closing)
	return errors.Join(n.raft.Shutdown().Error(), n.stores.Close())
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
		return result{}, proposalError(err)
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

func proposalError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return notLeading()
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrAbortedByRestore), errors.Is(err, raft.ErrRaftShutdown):
		return fmt.Errorf("%w: %w", errFateOpen, notLeading())
	}
	// The log could not be written: a full or broken disk.
	return fmt.Errorf("%w: %w", errFateOpen, storageError(err))
}

// raftLogger lets Raft's and the log's own lines through at the debug level, and their errors as errors.
func raftLogger(logger *slog.Logger) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "raft", Level: hclog.Info, Output: &raftLines{logger: logger}, DisableTime: true,
	})
}

type raftLines struct{ logger *slog.Logger }

func (w *raftLines) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	level := slog.LevelDebug
	if rest, found := strings.CutPrefix(line, "[ERROR]"); found {
		level, line = slog.LevelError, strings.TrimSpace(rest)
	}
	w.logger.Log(context.Background(), level, line)
	return len(p), nil
}
