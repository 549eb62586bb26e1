package orchestrator

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
)

// noLeader says why nothing can be changed: it asks the other servers, so that the answer names those that are away.
func (c *Controller) noLeader(ctx context.Context) error {
	if !c.formed() {
		return refuse(labv1.ErrorReason_ERROR_REASON_NOT_READY, "%s", c.notFormed())
	}
	why := whyNotWritable(c.look(ctx))
	return refuse(labv1.ErrorReason_ERROR_REASON_NO_QUORUM, "%s; --stale reads what this server knows", why)
}

func (c *Controller) notFormed() string {
	c.formation.mu.Lock()
	defer c.formation.mu.Unlock()
	switch waits := c.formation.waits; {
	case waits != "" && c.conf.Cluster.Expect > 0:
		return "the cluster is not founded yet: " + waits
	case waits != "":
		return "this server waits to be taken into a cluster: " + waits
	}
	if c.conf.Cluster.Expect > 0 {
		return "the cluster is not founded yet"
	}
	return "this server waits to be taken into a cluster"
}

// whyNotWritable puts in words what a server sees when there is no leader.
func whyNotWritable(members []*labv1.Member) string {
	voters, answering := 0, 0
	var away []string
	for _, m := range members {
		if m.GetRole() == labv1.MemberRole_MEMBER_ROLE_NONVOTER {
			continue
		}
		voters++
		if m.GetReachable() {
			answering++
		} else {
			away = append(away, m.GetAddress())
		}
	}
	if answering >= voters/2+1 {
		return fmt.Sprintf("no leader is elected yet, though %d of %s that vote are reachable; try again soon", answering, number(voters, "server"))
	}
	return fmt.Sprintf("this server reaches %d of %s that vote, itself included, and a majority is %d (not reachable: %s): nothing can be changed",
		answering, number(voters, "server"), voters/2+1, strings.Join(away, ", "))
}

// reasonIn is the reason that an error's status names; empty: none.
func reasonIn(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}

// messageOf is an error in words, without its gRPC code, nor what gRPC says around a connection that could not be made.
func messageOf(err error) string {
	text := status.Convert(err).Message()
	if _, why, found := strings.Cut(text, "Error while dialing: "); found {
		return strings.TrimSuffix(why, `"`)
	}
	return text
}
