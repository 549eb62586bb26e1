package orchestrator

import (
	"fmt"
	"strings"
	"sync"

	"github.com/hashicorp/raft"
)

// Membership is the cluster that a server belongs to, and how far it has come there. It outlives the server's process.
type Membership struct {
	Cluster string // empty: none
	Stage   Stage
}

// Stage is how far a server has come in a cluster. It only grows.
type Stage uint8

const (
	// StageFounding: the server has said yes to the cluster's being founded. Whether that happened it does not know.
	StageFounding Stage = iota
	// StageJoining: the cluster is there, and the server asks to be taken in, or was; it has nothing of its log yet.
	StageJoining
	// StageMember: the server has had the cluster's log. What it wrote there it was counted on for.
	StageMember
)

var stageWords = map[Stage]string{StageFounding: "founding", StageJoining: "joining", StageMember: "member"}

func (m Membership) String() string {
	if m.Cluster == "" {
		return ""
	}
	return m.Cluster + " " + stageWords[m.Stage]
}

// ParseMembership reads what String wrote.
func ParseMembership(text string) (Membership, error) {
	cluster, word, _ := strings.Cut(text, " ")
	if text == "" {
		return Membership{}, nil
	}
	for stage, w := range stageWords {
		if w == word {
			return Membership{Cluster: cluster, Stage: stage}, nil
		}
	}
	return Membership{}, fmt.Errorf("which cluster this server belongs to cannot be read: %q", text)
}

// identity is who this server is, for the other servers.
type identity struct {
	serverID string
	keep     func(Membership) error

	mu sync.Mutex // guards of
	of Membership
}

func (i *identity) ServerID() string { return i.serverID }

// ClusterID is the cluster that the server belongs to: the id of the server that founded it. Empty: none yet.
func (i *identity) ClusterID() string { return i.membership().Cluster }

func (i *identity) membership() Membership {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.of
}

// adopt makes the server belong to a cluster, at least at a stage. One that belongs to another refuses.
func (i *identity) adopt(cluster string, stage Stage) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.of.Cluster != "" && i.of.Cluster != cluster:
		return otherCluster(i.of.Cluster, cluster)
	case i.of.Cluster == cluster && i.of.Stage >= stage:
		return nil
	}
	return i.become(Membership{cluster, stage})
}

// takeBack forgets a cluster that was never founded.
func (i *identity) takeBack(cluster string) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.of != (Membership{cluster, StageFounding}) {
		return nil
	}
	return i.become(Membership{})
}

// become keeps a membership before it counts.
func (i *identity) become(m Membership) error {
	if err := i.keep(m); err != nil {
		return storageError(err)
	}
	i.of = m
	return nil
}

// LostLogError says that a server of a cluster finds nothing of its log.
type LostLogError struct{ Cluster string }

func (e *LostLogError) Error() string {
	return fmt.Sprintf("this server is one of cluster %s, and its log is gone: what it had acknowledged there, it would be asked "+
		"for in vain; begin with an empty data directory, and it comes back under a new id", e.Cluster)
}

// hasItsLog refuses a server that has been one of a cluster's and has lost its log, but not its name: it would be counted on
// for entries that it no longer has, and might vote twice in a term (Raft's figure 2: log, term and vote outlive a process).
func (i *identity) hasItsLog(st *storage) error {
	if i.of.Cluster == "" || i.of.Stage < StageMember {
		return nil
	}
	known, err := raft.HasExistingState(st.logs, st.stable, st.snaps)
	if err != nil {
		return fmt.Errorf("raft: %w", err)
	}
	if !known {
		return &LostLogError{Cluster: i.of.Cluster}
	}
	return nil
}
