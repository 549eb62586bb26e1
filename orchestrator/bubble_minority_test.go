package orchestrator

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	labv1 "labd.dev/proto/lab/v1"
)

// A server that reaches no other is asked what it says to that: it changes nothing, answers no read that has to be up to
// date, and says why; it answers who asks for what it knows, with what was so once.

// noticedWithin is how long a server must have been alone for it to know: a leader's lease, or a follower's patience.
const noticedWithin = 4 * time.Second

// whyAlone is what a server says that reaches no other.
var whyAlone = regexp.MustCompile(`this server reaches [01] of \d servers? that votes?, itself included, and a majority is \d \(not reachable: .*\): nothing can be changed`)

// staleJournal is a journal that a server alone has told.
type staleJournal struct {
	server, labID, tags string
}

// askAlone asks a server that is cut off from all others.
func (c *bubble) askAlone(s *bubbleServer) {
	s.mu.Lock()
	up, control := s.up, s.control
	s.mu.Unlock()
	if !up || !control.formed() || s.disk.hangs() {
		return // it was killed meanwhile, has lost its disk and is in no cluster, or cannot find out that it is alone before its disk answers
	}
	conn, err := c.grpc("client:1", s.address)
	if err != nil {
		c.complain("%v", err)
		return
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), minute)
	defer cancel()
	labs := labv1.NewLabServiceClient(conn)
	c.tags++
	tag := fmt.Sprintf("alone%d", c.tags)
	_, err = labv1.NewFaultServiceClient(conn).CreateFault(ctx, &labv1.CreateFaultRequest{RequestId: tag, Lab: steady, Fault: testFault(tag)})
	c.refusedAlone(s, "an input", err)
	_, err = labs.DeleteLab(ctx, &labv1.DeleteLabRequest{RequestId: tag + "-delete", Lab: steady})
	c.refusedAlone(s, "a deletion", err)
	_, err = labs.GetLab(ctx, &labv1.GetLabRequest{Lab: steady})
	c.refusedAlone(s, "a read", err)
	c.staleAlone(metadata.AppendToOutgoingContext(ctx, staleHeader, "true"), s, labs)
	c.saw("a server alone is asked")
}

func (c *bubble) refusedAlone(s *bubbleServer, what string, err error) {
	switch {
	case status.Code(err) == codes.ResourceExhausted && reasonIn(err) == "STORAGE" && s.disk.failing():
		c.saw("a server alone has a full disk") // which it says first
	case status.Code(err) != codes.Unavailable || reasonIn(err) != "NO_QUORUM" || !whyAlone.MatchString(messageOf(err)):
		c.complain("%s of server %s, which reaches no other, comes to: %v", what, s.address, err)
	}
}

// staleAlone asks for what the server knows. Who asks for that cannot change anything either.
func (c *bubble) staleAlone(ctx context.Context, s *bubbleServer, labs labv1.LabServiceClient) {
	if _, err := labs.DeleteLab(ctx, &labv1.DeleteLabRequest{RequestId: "stale", Lab: steady}); reasonIn(err) != "STALE_REFUSED" {
		c.complain("a stale deletion at %s: %v", s.address, err)
	}
	var header metadata.MD
	lab, err := labs.GetLab(ctx, &labv1.GetLabRequest{Lab: steady}, grpc.Header(&header))
	if reasonIn(err) == "LAB_NOT_FOUND" {
		return // it has not caught up since it began anew
	}
	if err != nil {
		c.complain("a stale read at %s: %v", s.address, err)
		return
	}
	age, err := strconv.ParseInt(strings.Join(header.Get(ageHeader), ""), 10, 64)
	if err != nil || age >= 0 && time.Duration(age)*time.Millisecond < noticedWithin/2 {
		c.complain("server %s has been alone for %v at least, and says that it has not heard of a leader for %v", s.address, noticedWithin, header)
	}
	inputs, err := labs.ListInputs(ctx, &labv1.ListInputsRequest{Lab: steady})
	if err != nil {
		c.complain("stale inputs at %s: %v", s.address, err)
		return
	}
	c.stale = append(c.stale, staleJournal{s.address, lab.GetLab().GetId(), tagsOf(inputs.GetEntries())})
}

// checkStale holds what servers told that were alone against the journals as they are in the end: they were so once.
func (c *bubble) checkStale(labID, final string) {
	if strings.Contains(final, "alone") {
		c.complain("what a server refused that was alone is in the journal: [%s]", final)
	}
	for _, s := range c.stale {
		if s.labID == labID && !strings.HasPrefix(final+" ", s.tags+" ") && s.tags != "" {
			c.complain("server %s, alone, told that the journal was [%s]; it is [%s]", s.server, s.tags, final)
		}
	}
}
