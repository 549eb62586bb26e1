package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/raft"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
	serverv1 "labd.dev/proto/server/v1"
)

// How a server that is in no cluster finds one. Such servers tell each other whom they have heard of. One that finds a
// cluster founded asks to be taken in; when none is and as many are there as a cluster shall begin with, it is founded
// (founding.go).

// maxKnown bounds the servers that are heard of before there is a cluster.
const maxKnown = 4 * maxServers

// formation is what a server knows while it belongs to no cluster.
type formation struct {
	c *Controller

	mu      sync.Mutex        // guards what is below
	known   map[string]string // addresses by server id, this server apart
	granted bool              // another server has adopted this one's cluster, or may have
	waits   string            // why there is no cluster yet, for people; what was last logged
	seen    look
}

func newFormation(c *Controller) *formation {
	// A founder that was stopped in between does not know any more who has said yes.
	return &formation{c: c, known: make(map[string]string), granted: c.identity.ClusterID() == c.identity.serverID}
}

// note keeps in mind servers that were heard of.
func (f *formation) note(peers []*serverv1.Peer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range peers {
		if p.GetServerId() != "" && p.GetAddress() != "" && p.GetServerId() != f.c.ServerID() && len(f.known) < maxKnown {
			f.known[p.GetServerId()] = p.GetAddress()
		}
	}
}

func (f *formation) peers() []*serverv1.Peer {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []*serverv1.Peer{f.c.self()}
	for _, id := range slices.Sorted(maps.Keys(f.known)) {
		list = append(list, &serverv1.Peer{ServerId: id, Address: f.known[id]})
	}
	return list
}

// addresses lists where servers may be.
func (f *formation) addresses() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := append(slices.Collect(maps.Values(f.known)), f.c.conf.Cluster.Join...)
	slices.Sort(list)
	return slices.Compact(list)
}

// findCluster goes on until this server is one of a cluster's, or cannot become one.
func (c *Controller) findCluster() {
	for {
		done, err := c.tryCluster()
		if err != nil && c.ctx.Err() == nil {
			c.node.fsm.halt(err)
			return
		}
		if done {
			if err = c.identity.adopt(c.ClusterID(), StageMember); err == nil {
				return
			}
			c.log.Warn("it cannot be kept that this server has been one of the cluster's", "error", err)
		}
		pause(c.ctx, c.conf.Cluster.Timing.Probe/4)
		if c.ctx.Err() != nil {
			return
		}
	}
}

// tryCluster looks around once. An error is one that waiting does not mend.
func (c *Controller) tryCluster() (done bool, err error) {
	formed := c.formed()
	answers, silent := c.helloAll(c.formation.addresses())
	for _, a := range answers {
		if err := c.compatible(a); err != nil {
			return false, err
		}
	}
	if formed {
		return c.stillMember(answers)
	}
	for _, a := range answers {
		c.formation.note(append(a.GetKnown(), a.GetSelf()))
	}
	for _, a := range answers {
		if a.GetFormed() {
			return false, c.joinAt(a)
		}
	}
	c.formation.looked(answers, silent)
	if c.formation.founderLost(answers, silent) {
		return false, c.formation.takeBack()
	}
	c.tryFound(answers)
	return false, nil
}

// helloAll asks servers at once who they are. This one itself is left out; silent are the addresses where nobody answers.
func (c *Controller) helloAll(addresses []string) (answers []*serverv1.HelloResponse, silent []string) {
	answers = make([]*serverv1.HelloResponse, len(addresses))
	mute := make([]bool, len(addresses))
	var asked sync.WaitGroup
	for i, address := range addresses {
		asked.Go(func() {
			a, err := c.hello(c.ctx, address)
			if err != nil {
				c.log.Debug("no answer", "server", address, "error", err)
				mute[i] = address != c.conf.Cluster.Advertise
				return
			}
			if a.GetSelf().GetServerId() == c.ServerID() && a.GetSelf().GetAddress() == c.conf.Cluster.Advertise {
				return // this server, under another of its names perhaps
			}
			answers[i] = a
		})
	}
	asked.Wait()
	for i, address := range addresses {
		if mute[i] {
			silent = append(silent, address)
		}
	}
	answers = slices.DeleteFunc(answers, func(a *serverv1.HelloResponse) bool { return a == nil })
	slices.SortFunc(answers, func(a, b *serverv1.HelloResponse) int {
		return strings.Compare(a.GetSelf().GetServerId(), b.GetSelf().GetServerId())
	})
	return slices.CompactFunc(answers, func(a, b *serverv1.HelloResponse) bool {
		return a.GetSelf().GetServerId() == b.GetSelf().GetServerId() && a.GetSelf().GetAddress() == b.GetSelf().GetAddress()
	}), silent
}

// compatible refuses a server that can never be of one cluster with this one.
func (c *Controller) compatible(a *serverv1.HelloResponse) error {
	self := a.GetSelf()
	mine := c.ClusterID()
	switch {
	case self.GetServerId() == c.ServerID():
		return duplicateID(self)
	case mine != "" && a.GetClusterId() != "" && a.GetClusterId() != mine && (a.GetFormed() || c.formed()):
		return fmt.Errorf("the server at %s: %w", self.GetAddress(), otherCluster(mine, a.GetClusterId()))
	}
	return nil
}

func duplicateID(p *serverv1.Peer) *Refusal {
	return refuse(labv1.ErrorReason_ERROR_REASON_DUPLICATE_SERVER_ID,
		"the server at %s has the id %s too; a data directory was copied: begin this server with an empty one", p.GetAddress(), p.GetServerId())
}

// stillMember tells a server that comes back whether it is one of the cluster's servers, and the cluster where it is now.
func (c *Controller) stillMember(answers []*serverv1.HelloResponse) (done bool, err error) {
	here := false
	for _, s := range c.servers() {
		here = here || string(s.ID) == c.ServerID() && string(s.Address) == c.conf.Cluster.Advertise
	}
	for _, a := range answers {
		if !a.GetFormed() || a.GetLeader() == nil {
			continue
		}
		if !a.GetMember() {
			c.log.Warn("this server was removed from the cluster; to take it back: labctl cluster join "+c.conf.Cluster.Advertise,
				"cluster", c.ClusterID())
			return true, nil
		}
		if !here {
			return false, c.joinAt(a)
		}
	}
	if !here && c.leading() != nil {
		return false, c.moveSelf()
	}
	return here, nil
}

// moveSelf notes where this server is now; it leads, so that nobody else need be asked.
func (c *Controller) moveSelf() error {
	c.members.mu.Lock()
	defer c.members.mu.Unlock()
	err := c.node.raft.AddVoter(raft.ServerID(c.ServerID()), raft.ServerAddress(c.conf.Cluster.Advertise), 0, changeTimeout).Error()
	if err != nil {
		c.log.Warn("the other servers cannot be told where this one is now", "error", err)
	}
	return nil
}

// joinAt asks a server of a cluster to be taken in. An error is one that waiting does not mend.
func (c *Controller) joinAt(a *serverv1.HelloResponse) error {
	if err := c.identity.adopt(a.GetClusterId(), StageJoining); err != nil {
		return err
	}
	address := a.GetSelf().GetAddress()
	p, err := c.peer(address)
	if err != nil {
		c.log.Warn("cannot join", "server", address, "error", err)
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, joinTimeout)
	defer cancel()
	_, err = p.Join(ctx, &serverv1.JoinRequest{Server: c.self(), ClusterId: a.GetClusterId()})
	switch {
	case err == nil:
		pause(c.ctx, c.conf.Cluster.Timing.Probe) // until the leader has sent the log
	case permanent(err):
		return fmt.Errorf("cannot join the cluster at %s: %w", address, errors.New(status.Convert(err).Message()))
	default:
		c.formation.tell("waits to join", address, status.Convert(err).Message())
	}
	return nil
}

// permanent tells whether a server will never take this one in.
func permanent(err error) bool {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason() == reasonName(labv1.ErrorReason_ERROR_REASON_DUPLICATE_SERVER_ID) ||
				info.GetReason() == reasonName(labv1.ErrorReason_ERROR_REASON_OTHER_CLUSTER)
		}
	}
	return false
}

// tell keeps what is waited for, and logs it when it has changed.
func (f *formation) tell(what, server, why string) {
	f.mu.Lock()
	changed := f.waits != why
	f.waits = why
	f.mu.Unlock()
	if changed {
		f.c.log.Info(what, "server", server, "why", why)
	}
}
