package orchestrator

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"

	"labd.dev/orchestrator/raftnet"
	labv1 "labd.dev/proto/lab/v1"
)

// Cluster says how a server is one of several.
type Cluster struct {
	// Belongs is the cluster that the server belongs to, as Keep kept it: over restarts.
	Belongs Membership
	Keep    func(Membership) error
	// Advertise is the address, host:port, at which the other servers reach this one.
	Advertise string
	// Expect is how many servers found a cluster, when none of them belongs to one; 0: this one only joins.
	Expect int
	// Join is where other servers may be found.
	Join []string
	// Transport carries Raft between the servers; it says to them who this one is.
	Transport func(raftnet.Identity) raft.Transport
	// Connect gives the way to another server's services. What it gives stays its to close.
	Connect func(address string) (grpc.ClientConnInterface, error)
	// Timing may be left zero.
	Timing Timing
}

// Timing is how long the servers of a cluster wait for each other; zero values mean defaults.
type Timing struct {
	// Heartbeat is for how long a follower hears nothing before it asks for votes, and Election how long it then waits for
	// them; both are drawn up to twice as long. A leader that hears from no majority for Lease no longer leads.
	Heartbeat, Election, Lease time.Duration
	// Probe bounds the wait for another server's answer, and is the pause between two attempts to find a cluster.
	Probe time.Duration
	// Look is how often a leader looks at those that do not vote yet; Stable for how long such a server must have kept up
	// before it votes.
	Look, Stable time.Duration
	// LeaderWait is how long a call waits for there to be a leader.
	LeaderWait time.Duration
}

const (
	// Raft's own clock between machines: a round trip around the world, 300 ms, and a pause of the machine of as much are no
	// failure; a dead leader is replaced in about a second.
	defaultHeartbeat   = 500 * time.Millisecond
	defaultElection    = 500 * time.Millisecond
	defaultLeaderLease = 400 * time.Millisecond
	defaultProbe       = time.Second
	defaultLook        = time.Second
	// defaultStable keeps a server that comes and goes from being counted on.
	defaultStable = 10 * time.Second
	// defaultLeaderWait is longer than a failover takes.
	defaultLeaderWait = 5 * time.Second
	// maxTrailing is how many entries a server's log may lack, of those that are being written, for it to vote.
	maxTrailing = 250
	// maxServers bounds a cluster: beyond seven voters each write waits for more disks, and no more failures are borne than
	// an operator has use for.
	maxServers = 9
)

func (t *Timing) complete() {
	for _, d := range []struct {
		field    *time.Duration
		standard time.Duration
	}{{&t.Heartbeat, defaultHeartbeat}, {&t.Election, defaultElection}, {&t.Lease, defaultLeaderLease}, {&t.Probe, defaultProbe},
		{&t.Look, defaultLook}, {&t.Stable, defaultStable}, {&t.LeaderWait, defaultLeaderWait}} {
		if *d.field == 0 {
			*d.field = d.standard
		}
	}
}

func (c *Cluster) check() error {
	switch {
	case c.Keep == nil || c.Transport == nil || c.Connect == nil:
		return errors.New("orchestrator: a cluster without a transport, connections or a place to keep which one it is of")
	case c.Advertise == "":
		return errors.New("orchestrator: no address to be reached at")
	case c.Expect < 0 || c.Expect > maxServers:
		return fmt.Errorf("a cluster of %d servers was asked for; it has 1 to %d", c.Expect, maxServers)
	case c.Expect == 0 && len(c.Join) == 0 && c.Belongs.Cluster == "":
		return errors.New("say how many servers found the cluster, or which server to join")
	}
	return nil
}

func otherCluster(mine, theirs string) *Refusal {
	return refuse(labv1.ErrorReason_ERROR_REASON_OTHER_CLUSTER,
		"this server belongs to cluster %s, the other one to cluster %s; a server that is to change clusters begins with an empty data directory",
		mine, theirs)
}

// ClusterID is the id of the cluster that this server belongs to; empty: of none yet, or it is a server of its own.
func (c *Controller) ClusterID() string { return c.identity.ClusterID() }

// ServerID is this server's id.
func (c *Controller) ServerID() string { return c.identity.serverID }

// Leader is the leading server's id and address as this one knows them; empty: none.
func (c *Controller) Leader() (id, address string) {
	a, i := c.node.raft.LeaderWithID()
	return string(i), string(a)
}

// servers lists the cluster's servers as this one knows them; none while it belongs to no cluster.
func (c *Controller) servers() []raft.Server {
	future := c.node.raft.GetConfiguration()
	if future.Error() != nil {
		return nil // Raft has been shut down
	}
	return future.Configuration().Servers
}

// formed tells whether this server knows who the cluster's servers are.
func (c *Controller) formed() bool { return len(c.servers()) > 0 }

// serverCalled finds a server by its id, the beginning of it, or its address.
func serverCalled(servers []raft.Server, name string) (raft.Server, error) {
	var found []raft.Server
	for _, s := range servers {
		if string(s.ID) == name || string(s.Address) == name {
			return s, nil
		}
		if name != "" && strings.HasPrefix(string(s.ID), name) {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return raft.Server{}, refuse(labv1.ErrorReason_ERROR_REASON_MEMBER_NOT_FOUND, "no server of the cluster is called %q", name)
	}
	return raft.Server{}, refuse(labv1.ErrorReason_ERROR_REASON_MEMBER_NOT_FOUND,
		"%d servers' ids begin with %q, %s and %s among them", len(found), name, found[0].ID, found[1].ID)
}

func voters(servers []raft.Server) int {
	n := 0
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			n++
		}
	}
	return n
}
