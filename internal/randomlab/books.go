package randomlab

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// Books compares how a lab stood at its end with what its run recorded; Check comes before. conns are the ends of
// connections that the stacks still held.
func (c *Checker) Books(got *workerv1.GetLabResponse, conns []*labv1.ConnStatus) {
	for _, r := range c.rules {
		if r, ok := r.(*links); ok {
			for _, l := range got.Links {
				r.books(c, l.Forward)
				r.books(c, l.Reverse)
			}
		}
	}
	for _, n := range got.Nodes {
		for _, k := range n.Counters {
			c.Seen.counter(k.Name, k.Value)
		}
	}
	if got.Progress.Error != "" {
		c.complain("the lab failed: " + got.Progress.Error)
	}
	for _, x := range got.Transfers {
		c.transfer(x)
	}
	for _, x := range got.Execs {
		if !x.Done && !c.lab.Cut {
			c.complain(fmt.Sprintf("%s: %s has not ended", x.Id, x.Command))
		}
		c.hops(x)
	}
	c.connections(conns)
}

// transfer: "every byte delivered once and in order or the connection reports its error".
func (c *Checker) transfer(x *labv1.TransferStatus) {
	switch x.State {
	case labv1.TransferState_TRANSFER_STATE_DONE:
		c.Seen.count("HTTP download", strings.HasPrefix(x.What, "http://") && x.Match)
		// UDP loses, reorders and doubles what the links do.
		spoilt := x.What == "udp" || x.DatagramsLost+x.DatagramsReordered+x.DatagramsDuplicated > 0 ||
			c.lab.Cut && x.DatagramsReceived > 0 // some were still on their way
		if !x.Match && c.Excused == 0 && !spoilt {
			c.complain(fmt.Sprintf("transfer %s: what arrived is not what was sent", x.Id))
		}
	case labv1.TransferState_TRANSFER_STATE_FAILED:
		c.Failed++
		if x.Error == "" {
			c.complain(fmt.Sprintf("transfer %s failed without saying why", x.Id))
		}
	default:
		if c.lab.Cut || c.orphaned(x) {
			return
		}
		c.complain(fmt.Sprintf("transfer %s (%s %s) has not ended: %s, %d of %d bytes", x.Id, x.What, x.Conn, x.State, x.Bytes, x.BytesExpected))
	}
}

// orphaned reports whether a download waits for a server that has crashed or given up on it: who has nothing to send does
// not find out. RFC 9293 3.8.4: keep-alives "MUST default to off" (MUST-25).
func (c *Checker) orphaned(x *labv1.TransferStatus) bool {
	server, _, _ := strings.Cut(strings.TrimPrefix(x.What, "http://"), "/")
	return c.crashed[server] || c.gaveUp[endName{server, x.Conn}]
}

// connections: an end that is still there at the very end must have lost its peer (to a crash, a reset that got lost, a
// timeout): two ends that both live and do nothing have forgotten to wake up.
func (c *Checker) connections(conns []*labv1.ConnStatus) {
	if c.lab.Cut {
		return
	}
	count := map[string]int{}
	for _, x := range conns {
		if x.State != "LISTEN" && x.State != "TIME_WAIT" {
			count[x.Conn]++
		}
	}
	for _, x := range conns {
		if count[x.Conn] > 1 {
			c.complain(fmt.Sprintf("%s at %s is still in %s, as is its other end", x.Conn, x.Node, x.State))
		}
	}
}

// sortedEnds lists the ends in the order of their names.
func (c *Checker) sortedEnds() []*end {
	var list []*end
	for _, n := range c.ends {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b *end) int {
		return cmp.Or(cmp.Compare(a.name.node, b.name.node), cmp.Compare(a.name.conn, b.name.conn))
	})
	return list
}
