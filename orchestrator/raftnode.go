package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
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
	stores   io.Closer
}

// openRaft opens or makes a one-server Raft under dir; in memory when dir is empty.
func openRaft(dir string, serverID string, f *fsm, logger *slog.Logger) (*raftNode, error) {
	conf := raft.DefaultConfig()
	conf.LocalID = raft.ServerID(serverID)
	conf.HeartbeatTimeout, conf.ElectionTimeout, conf.LeaderLeaseTimeout = electionTimeout, electionTimeout, electionTimeout
	conf.Logger = raftLogger(logger)
	leaderCh := make(chan bool, 16)
	conf.NotifyCh = leaderCh

	logs, stable, snaps, closer, err := raftStores(dir, conf.Logger)
	if err != nil {
		return nil, err
	}
	address, transport := raft.NewInmemTransport(raft.ServerAddress(serverID))
	known, err := raft.HasExistingState(logs, stable, snaps)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("raft: %w", err), closer.Close())
	}
	if !known {
		servers := []raft.Server{{ID: conf.LocalID, Address: address}}
		err := raft.BootstrapCluster(conf, logs, stable, snaps, transport, raft.Configuration{Servers: servers})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("raft: bootstrap: %w", err), closer.Close())
		}
	}
	r, err := raft.NewRaft(conf, f, logs, stable, snaps, transport)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("raft: %w", err), closer.Close())
	}
	return &raftNode{raft: r, fsm: f, leaderCh: leaderCh, stores: closer}, nil
}

func raftStores(dir string, logger hclog.Logger) (raft.LogStore, raft.StableStore, raft.SnapshotStore, io.Closer, error) {
	if dir == "" {
		mem := raft.NewInmemStore()
		return mem, mem, raft.NewInmemSnapshotStore(), io.NopCloser(nil), nil
	}
	walDir := filepath.Join(dir, "wal")
	if err := os.MkdirAll(walDir, 0o700); err != nil {
		return nil, nil, nil, nil, fmt.Errorf("raft log: %w", err)
	}
	log, err := wal.Open(walDir, wal.WithSegmentSize(walSegmentBytes), wal.WithLogger(logger))
	if err != nil {
		return nil, nil, nil, nil, fmt.Errorf("raft log in %s: %w", walDir, err)
	}
	snaps, err := raft.NewFileSnapshotStoreWithLogger(dir, snapshotsKept, logger)
	if err != nil {
		return nil, nil, nil, nil, errors.Join(fmt.Errorf("raft snapshots in %s: %w", dir, err), log.Close())
	}
	return log, log, snaps, log, nil
}

func (n *raftNode) close() error {
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
