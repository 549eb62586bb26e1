package orchestrator

import (
	"time"

	"github.com/hashicorp/raft"

	labv1 "labd.dev/proto/lab/v1"
)

// Vitals is how a server is, for who looks after it.
type Vitals struct {
	Leads                                bool // and its leadership is open
	Term                                 uint64
	LastIndex, CommitIndex, AppliedIndex uint64
	LastContact                          time.Time // with a leader; zero: none yet
	Voters, Nonvoters                    int       // servers
	StorageFailing                       bool
	Objects                              map[string]int // counted, by kind
	WorkersUp, WorkersDown               int
}

// Vitals tells how the server is. It asks nobody.
func (c *Controller) Vitals() Vitals {
	r := c.node.raft
	v := Vitals{Leads: c.leading() != nil, Term: r.CurrentTerm(), LastIndex: r.LastIndex(), CommitIndex: r.CommitIndex(),
		AppliedIndex: r.AppliedIndex(), LastContact: r.LastContact(), StorageFailing: c.node.health.failing() != nil}
	for _, s := range c.servers() {
		if s.Suffrage == raft.Voter {
			v.Voters++
		} else {
			v.Nonvoters++
		}
	}
	state := c.store.view()
	v.Objects = make(map[string]int)
	for _, kind := range []string{counterLabs, counterRuns, counterFiles} {
		v.Objects[kind] = int(state.counter(kind))
	}
	for _, w := range state.workers() {
		if w.GetUp() {
			v.WorkersUp++
		} else {
			v.WorkersDown++
		}
	}
	return v
}

// Ready is why the server cannot take calls just now; nil: it can, or knows who does.
func (c *Controller) Ready() error {
	if err := c.Err(); err != nil {
		return err
	}
	if err := c.node.health.failing(); err != nil {
		return storageError(err)
	}
	switch id, _ := c.Leader(); {
	case c.conf.Cluster != nil && !c.formed():
		return refuse(labv1.ErrorReason_ERROR_REASON_NOT_READY, "%s", c.notFormed())
	case id == "":
		return refuse(labv1.ErrorReason_ERROR_REASON_NOT_LEADER, "no leader is known")
	case id == c.ServerID() && c.leading() == nil:
		return notLeading()
	}
	return nil
}
