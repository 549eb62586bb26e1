package orchestrator

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	labv1 "labd.dev/proto/lab/v1"
	serverv1 "labd.dev/proto/server/v1"
)

// How a cluster is founded, once. The server with the least id of those that are there gives the cluster its own id, has
// each of the others adopt that, and only then begins Raft with them. A server has one founder at a time, and says yes only
// when every address that its --join names answers, and none of those there is of a cluster, or has another founder: one
// that is away may be a server of the cluster that this one was of before it lost its disk.
//
// A yes is taken back when the founder was lost before it founded: when all who might know of the cluster answer, as many as
// found one, and none is the founder or was told by it. As the next founder wants the same of each server of its set, all
// who said yes to the one before have taken it back by then, and if it came back it would find no majority. What remains
// unknown is what no --join names.

// look is what a server that is in no cluster last found.
type look struct {
	taken  bool
	silent []string         // addresses that --join names where nobody answers
	bound  []*serverv1.Peer // servers that have said yes to a founder
	to     []string         // by server in bound: the founder
}

// looked keeps what was found.
func (f *formation) looked(answers []*serverv1.HelloResponse, silent []string) {
	l := look{taken: true}
	for _, address := range silent {
		if slices.Contains(f.c.conf.Cluster.Join, address) {
			l.silent = append(l.silent, address)
		}
	}
	for _, a := range answers {
		if a.GetClusterId() != "" {
			l.bound, l.to = append(l.bound, a.GetSelf()), append(l.to, a.GetClusterId())
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = l
}

// silent lists what --join names and does not answer.
func (f *formation) silent() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen.silent
}

// unseen says why this server would not have a cluster founded; empty: it would.
func (f *formation) unseen() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.seen.taken:
		return "the server at " + f.c.conf.Cluster.Advertise + " has not looked around yet"
	case len(f.seen.silent) > 0:
		return notSeen(f.c.conf.Cluster.Advertise, f.seen.silent)
	}
	return ""
}

// notSeen says that a server cannot know whether there is a cluster.
func notSeen(address string, silent []string) string {
	return fmt.Sprintf("the server at %s waits for %s, which its --join names: all of those must answer, as each may be of a cluster "+
		"already; take out of --join what is gone for good", address, strings.Join(silent, " and "))
}

// object is why this server does not say yes to a founder.
func (f *formation) object(founder string) error {
	why := f.unseen()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, p := range f.seen.bound {
		if why == "" && f.seen.to[i] != founder {
			why = fmt.Sprintf("the server at %s has said yes to founder %s", p.GetAddress(), f.seen.to[i])
		}
	}
	if why == "" {
		return nil
	}
	return refuse(labv1.ErrorReason_ERROR_REASON_NOT_READY, "%s", why)
}

// yield adopts another founder's cluster. A server that has begun to found one itself does so only while nobody has said
// yes to it.
func (f *formation) yield(cluster string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := f.c.identity
	if cluster < id.serverID && !f.granted {
		if err := id.takeBack(id.serverID); err != nil {
			return err
		}
	}
	return id.adopt(cluster, StageFounding)
}

// founderLost tells whether the server that this one said yes to is gone, and nothing came of it.
func (f *formation) founderLost(answers []*serverv1.HelloResponse, silent []string) bool {
	of := f.c.identity.membership()
	if of.Cluster == "" || of.Stage != StageFounding || of.Cluster == f.c.ServerID() || f.unseen() != "" ||
		len(answers)+1 < f.c.conf.Cluster.Expect {
		return false
	}
	for _, a := range answers {
		if a.GetSelf().GetServerId() == of.Cluster {
			return false
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return !slices.Contains(silent, f.known[of.Cluster])
}

// takeBack lets another server found the cluster.
func (f *formation) takeBack() error {
	founder := f.c.ClusterID()
	if err := f.c.identity.takeBack(founder); err != nil {
		return err
	}
	f.mu.Lock()
	delete(f.known, founder)
	f.mu.Unlock()
	f.c.log.Warn("the server that was to found the cluster is gone, and it is not founded; another one may", "founder", founder)
	return nil
}

// tryFound founds a cluster if it is this server's turn and all are there.
func (c *Controller) tryFound(answers []*serverv1.HelloResponse) {
	expect := c.conf.Cluster.Expect
	if expect == 0 {
		return
	}
	mine := c.ClusterID()
	begun := mine == c.ServerID()
	if mine != "" && !begun {
		c.formation.tell("waits", c.conf.Cluster.Advertise, "server "+mine+" founds the cluster")
		return
	}
	if why := c.formation.unseen(); why != "" {
		c.formation.tell("waits", c.conf.Cluster.Advertise, why)
		return
	}
	set := []*serverv1.Peer{c.self()}
	for _, a := range answers {
		switch {
		case len(a.GetSilent()) > 0:
			c.formation.tell("waits", a.GetSelf().GetAddress(), notSeen(a.GetSelf().GetAddress(), a.GetSilent()))
			return
		case int(a.GetExpect()) != expect:
			c.formation.tell("waits", a.GetSelf().GetAddress(),
				fmt.Sprintf("it expects %s, this one %d", number(int(a.GetExpect()), "server"), expect))
			return
		case a.GetClusterId() != "" && a.GetClusterId() != c.ServerID() && !begun:
			c.formation.tell("waits", a.GetSelf().GetAddress(), "server "+a.GetClusterId()+" founds the cluster")
			return
		}
		set = append(set, a.GetSelf())
	}
	if len(set) < expect {
		c.formation.tell("waits", c.conf.Cluster.Advertise, fmt.Sprintf("%d of %s are there", len(set), number(expect, "server")))
		return
	}
	slices.SortFunc(set, func(a, b *serverv1.Peer) int { return strings.Compare(a.GetServerId(), b.GetServerId()) })
	set = set[:expect]
	if first := set[0]; first.GetServerId() != c.ServerID() && !begun {
		c.formation.tell("waits", first.GetAddress(), "the server at "+first.GetAddress()+", which has the least id, is to found it")
		return
	}
	if !slices.ContainsFunc(set, func(p *serverv1.Peer) bool { return p.GetServerId() == c.ServerID() }) {
		set[expect-1] = c.self() // it has begun, and servers with lesser ids came after
	}
	if err := c.found(set); err != nil {
		c.formation.tell("cannot found the cluster", c.conf.Cluster.Advertise, err.Error())
	}
}

// found has the others adopt this server's cluster, and begins Raft with them.
func (c *Controller) found(set []*serverv1.Peer) error {
	if err := c.identity.adopt(c.ServerID(), StageFounding); err != nil {
		return err
	}
	conf := raft.Configuration{}
	for _, p := range set {
		conf.Servers = append(conf.Servers, raft.Server{ID: raft.ServerID(p.GetServerId()), Address: raft.ServerAddress(p.GetAddress())})
		if p.GetServerId() == c.ServerID() {
			continue
		}
		peer, err := c.peer(p.GetAddress())
		if err != nil {
			return err
		}
		c.formation.mayBeGranted()
		ctx, cancel := context.WithTimeout(c.ctx, c.conf.Cluster.Timing.Probe)
		_, err = peer.Adopt(ctx, &serverv1.AdoptRequest{Founder: c.self(), ClusterId: c.ServerID(), Servers: set})
		cancel()
		if err != nil {
			return fmt.Errorf("the server at %s: %w", p.GetAddress(), err)
		}
	}
	c.log.Info("the cluster is founded", "cluster", c.ClusterID(), "servers", len(set))
	return c.node.raft.BootstrapCluster(conf).Error()
}

// mayBeGranted notes that another server is asked to adopt this one's cluster. Whether it has heard is not known.
func (f *formation) mayBeGranted() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.granted = true
}
