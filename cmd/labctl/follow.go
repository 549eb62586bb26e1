package main

import (
	"context"
	"fmt"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// missed says on stderr that a stream has a gap.
func (a *app) missed(err error) { fmt.Fprintf(a.err, "labctl: some of it is missing here: %v\n", err) }

// followEvents hands on a lab's events as they happen, in their order, with the lab time that they reach
// to: first those that it still keeps, then those to come.
func (a *app) followEvents(ctx context.Context, lab, conn string, each func(events []trace.Event, now int64) error) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	s, who := trace.NewStream(), newAuthors(c, lab)
	now := int64(0)
	tell := func(events []trace.Event) error {
		if err := who.tell(ctx, events); err != nil {
			return err
		}
		return each(events, now)
	}
	err = c.FollowRecords(ctx, lab, conn, a.missed, func(m *labv1.WatchRecordsResponse) error {
		if m.NodeNames != nil {
			s.SetNames(trace.Names{Nodes: m.NodeNames, Directions: m.DirectionNames})
		}
		if err := s.Add(m.Records); err != nil {
			return err
		}
		now = max(now, m.NowNs)
		return tell(s.Before(now))
	})
	if err != nil {
		return err
	}
	return tell(s.Rest())
}
