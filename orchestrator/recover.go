package orchestrator

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
)

// peersFile, in Raft's directory, names the servers that a cluster shall have from now on. It is for the case that so many
// are lost for good that the others have no majority. It is read when a server starts, and then set aside.
const peersFile = "peers.json"

// recoverByPeersFile makes the servers of the peers file the cluster's, if there is one.
func recoverByPeersFile(conf *raft.Config, st *storage, logs raft.LogStore, stable raft.StableStore, transport raft.Transport, logger *slog.Logger) error {
	if st.dir == "" {
		return nil
	}
	path := filepath.Join(st.dir, peersFile)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	servers, err := raft.ReadConfigJSON(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := checkPeers(servers, conf.LocalID); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	discarded, err := newStore() // Raft plays the log into it to make a snapshot
	if err != nil {
		return err
	}
	if err := raft.RecoverCluster(conf, newFSM(discarded), logs, stable, st.snaps, transport, servers); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	logger.Warn("the cluster's servers are those of the peers file from now on", "file", path, "servers", len(servers.Servers))
	if err := os.Rename(path, path+".done"); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return syncDir(st.dir)
}

// checkPeers refuses a peers file by which this server could never take part.
func checkPeers(servers raft.Configuration, me raft.ServerID) error {
	for _, s := range servers.Servers {
		if s.ID != me {
			continue
		}
		if s.Suffrage != raft.Voter {
			return fmt.Errorf("this server, %s, does not vote by it", me)
		}
		return nil
	}
	return fmt.Errorf("this server, %s, is not in it", me)
}
