package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	labv1 "labd.dev/proto/lab/v1"
	serverv1 "labd.dev/proto/server/v1"
)

const (
	// joinTimeout bounds what taking in a server takes: probes of two addresses, and two changes of the configuration.
	joinTimeout = 15 * time.Second
	// changeTimeout bounds the wait for a change of the configuration to begin.
	changeTimeout = 5 * time.Second
)

// members serialises changes of who the cluster's servers are.
type members struct {
	mu sync.Mutex
}

// takeIn makes a server one of the cluster's. It does not vote before it has caught up. One that has come back without its
// disk has a new id and replaces the old one at its address.
func (l *leadership) takeIn(ctx context.Context, p *serverv1.Peer) error {
	c := l.c
	c.members.mu.Lock()
	defer c.members.mu.Unlock()
	id, address := raft.ServerID(p.GetServerId()), raft.ServerAddress(p.GetAddress())
	if id == "" || address == "" {
		return invalid("server", "a server has an id and an address")
	}
	a, err := c.hello(ctx, p.GetAddress())
	if err != nil {
		return unreachable(p.GetAddress(), err)
	}
	if got := a.GetSelf().GetServerId(); got != p.GetServerId() {
		return refuse(labv1.ErrorReason_ERROR_REASON_INVALID, "the server at %s is %s, not %s", address, got, id)
	}
	servers := c.servers()
	var replaced raft.ServerID
	for _, s := range servers {
		switch {
		case s.ID == id && s.Address == address:
			return nil
		case s.ID == id:
			return c.moved(ctx, s, address)
		case s.Address == address:
			replaced = s.ID
		}
	}
	if replaced != "" {
		c.log.Info("a server has come back with a new id, which replaces the old one", "address", address, "old", replaced, "new", id)
		if err := c.node.raft.RemoveServer(replaced, 0, changeTimeout).Error(); err != nil {
			return proposalError(err)
		}
	} else if len(servers) >= maxServers {
		return overQuota("servers", maxServers)
	}
	c.log.Info("a server joins", "server", id, "address", address)
	return proposalError(c.node.raft.AddNonvoter(id, address, 0, changeTimeout).Error())
}

// moved notes that a server has another address now, unless one of its id still answers at the old one.
func (c *Controller) moved(ctx context.Context, s raft.Server, to raft.ServerAddress) error {
	if a, err := c.hello(ctx, string(s.Address)); err == nil && a.GetSelf().GetServerId() == string(s.ID) &&
		a.GetSelf().GetAddress() == string(s.Address) {
		return duplicateID(a.GetSelf())
	}
	c.log.Info("a server has moved", "server", s.ID, "from", s.Address, "to", to)
	if s.Suffrage == raft.Voter {
		return proposalError(c.node.raft.AddVoter(s.ID, to, 0, changeTimeout).Error())
	}
	return proposalError(c.node.raft.AddNonvoter(s.ID, to, 0, changeTimeout).Error())
}

// promoteLoop makes voters of those that have caught up and kept up.
func (l *leadership) promoteLoop() {
	since := make(map[raft.ServerID]time.Time)
	for l.ctx.Err() == nil {
		l.promote(since)
		pause(l.ctx, l.c.conf.Cluster.Timing.Look)
	}
}

func (l *leadership) promote(since map[raft.ServerID]time.Time) {
	c := l.c
	for _, s := range c.servers() {
		if s.Suffrage == raft.Voter {
			continue
		}
		if !c.caughtUp(l.ctx, s) {
			delete(since, s.ID)
			continue
		}
		if since[s.ID].IsZero() {
			since[s.ID] = time.Now()
		}
		if time.Since(since[s.ID]) < c.conf.Cluster.Timing.Stable {
			continue
		}
		c.members.mu.Lock()
		err := c.node.raft.AddVoter(s.ID, s.Address, 0, changeTimeout).Error()
		c.members.mu.Unlock()
		if err != nil && l.ctx.Err() == nil {
			c.log.Warn("a server could not be made a voter", "server", s.ID, "error", err)
			continue
		}
		c.log.Info("a server votes from now on", "server", s.ID, "address", s.Address)
	}
}

// caughtUp tells whether a server's log has all but the last few entries of this term's.
func (c *Controller) caughtUp(ctx context.Context, s raft.Server) bool {
	a, err := c.hello(ctx, string(s.Address))
	return err == nil && a.GetSelf().GetServerId() == string(s.ID) && a.GetTerm() == c.node.raft.CurrentTerm() &&
		a.GetLastIndex()+maxTrailing >= c.node.raft.LastIndex()
}

// remove takes a server out for good.
func (l *leadership) remove(name string, force bool) (raft.Server, error) {
	c := l.c
	c.members.mu.Lock()
	defer c.members.mu.Unlock()
	servers := c.servers()
	s, err := serverCalled(servers, name)
	if err != nil {
		return raft.Server{}, err
	}
	if s.Suffrage == raft.Voter && !force {
		if err := c.canSpare(s); err != nil {
			return raft.Server{}, err
		}
	}
	c.log.Info("a server is removed", "server", s.ID, "address", s.Address)
	return s, proposalError(c.node.raft.RemoveServer(s.ID, 0, changeTimeout).Error())
}

// canSpare refuses to remove a voter when of those left too few answer to have a majority.
func (c *Controller) canSpare(s raft.Server) error {
	left, answering := 0, 0
	for _, m := range c.look(c.ctx) {
		if m.GetServerId() == string(s.ID) || m.GetRole() == labv1.MemberRole_MEMBER_ROLE_NONVOTER {
			continue
		}
		left++
		if m.GetReachable() {
			answering++
		}
	}
	switch {
	case left == 0:
		return refuse(labv1.ErrorReason_ERROR_REASON_MEMBER_NEEDED, "%s is the only server that votes", s.Address)
	case answering < left/2+1:
		return refuse(labv1.ErrorReason_ERROR_REASON_MEMBER_NEEDED,
			"without %s, %d of %s that vote would answer, too few to change anything; to remove it all the same: --force",
			s.Address, answering, number(left, "server"))
	}
	return nil
}

// transfer makes another server lead; an empty name: the one that is furthest.
func (l *leadership) transfer(ctx context.Context, name string) (raft.Server, error) {
	c := l.c
	var future raft.Future
	if name == "" {
		future = c.node.raft.LeadershipTransfer()
	} else {
		s, err := serverCalled(c.servers(), name)
		switch {
		case err != nil:
			return raft.Server{}, err
		case string(s.ID) == c.ServerID():
			return s, nil
		case s.Suffrage != raft.Voter:
			return raft.Server{}, refuse(labv1.ErrorReason_ERROR_REASON_MEMBER_NEEDED, "%s does not vote yet, and so cannot lead", s.Address)
		}
		future = c.node.raft.LeadershipTransferToServer(s.ID, s.Address)
	}
	if err := future.Error(); err != nil {
		return raft.Server{}, fmt.Errorf("leadership stays: %w", refuse(labv1.ErrorReason_ERROR_REASON_MEMBER_UNREACHABLE, "%v", err))
	}
	return c.otherLeader(ctx)
}

// otherLeader waits for a leader that is not this server.
func (c *Controller) otherLeader(ctx context.Context) (raft.Server, error) {
	ctx, cancel := context.WithTimeout(ctx, c.conf.Cluster.Timing.LeaderWait)
	defer cancel()
	for {
		changed := c.node.leaders.changed()
		if id, _ := c.Leader(); id != "" && id != c.ServerID() {
			return serverCalled(c.servers(), id)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return raft.Server{}, notLeading()
		}
	}
}

// look asks every server of the cluster how it is. It takes no longer than one that does not answer.
func (c *Controller) look(ctx context.Context) []*labv1.Member {
	servers := c.servers()
	leader, _ := c.Leader()
	list := make([]*labv1.Member, len(servers))
	var asked sync.WaitGroup
	for i, s := range servers {
		m := &labv1.Member{ServerId: string(s.ID), Address: string(s.Address), Role: roleOf(s, leader)}
		list[i] = m
		asked.Go(func() { c.lookAt(ctx, m) })
	}
	asked.Wait()
	slices.SortFunc(list, func(a, b *labv1.Member) int { return strings.Compare(a.GetAddress(), b.GetAddress()) })
	return list
}

func roleOf(s raft.Server, leader string) labv1.MemberRole {
	switch {
	case s.Suffrage != raft.Voter:
		return labv1.MemberRole_MEMBER_ROLE_NONVOTER
	case string(s.ID) == leader:
		return labv1.MemberRole_MEMBER_ROLE_LEADER
	}
	return labv1.MemberRole_MEMBER_ROLE_FOLLOWER
}

func (c *Controller) lookAt(ctx context.Context, m *labv1.Member) {
	if m.GetServerId() == c.ServerID() {
		m.Reachable, m.Version, m.Term = true, c.conf.Version, c.node.raft.CurrentTerm()
		m.LastIndex, m.AppliedIndex = c.node.raft.LastIndex(), c.node.raft.AppliedIndex()
		return
	}
	a, err := c.hello(ctx, m.GetAddress())
	if err == nil && a.GetSelf().GetServerId() != m.GetServerId() {
		err = errors.New("another server answers there: " + a.GetSelf().GetServerId())
	}
	if err == nil && a.GetClusterId() != c.ClusterID() {
		err = errors.New("a server of another cluster answers there: " + a.GetClusterId())
	}
	if err != nil {
		m.Error = messageOf(err)
		return
	}
	m.Reachable, m.Version, m.Term = true, a.GetVersion(), a.GetTerm()
	m.LastIndex, m.AppliedIndex = a.GetLastIndex(), a.GetAppliedIndex()
}
