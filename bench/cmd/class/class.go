package main

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"labd.dev/bench/cluster"
	"labd.dev/client"
	"labd.dev/internal/auth"
	labv1 "labd.dev/proto/lab/v1"
)

const (
	template = "lab1"
	// tokenLifetime is longer than any class here.
	tokenLifetime = 24 * time.Hour
	// gradePoll is how often the marks are asked for once the deadline is over.
	gradePoll = 200 * time.Millisecond
)

// class is an instructor with students.
type class struct {
	instructor *client.Client
	students   []*student
}

// enrol makes the people known, and a client for each.
func enrol(ctx context.Context, d *cluster.Daemons, n int) (*class, error) {
	req := &labv1.ImportUsersRequest{RequestId: client.RequestID()}
	add := func(name string, role labv1.Role) (token string) {
		t := auth.NewToken()
		req.Users = append(req.Users, &labv1.NewUser{Name: name, Role: role, Section: "a",
			Token: &labv1.NewToken{Id: t.ID, Sha256: t.Hash(), LifetimeS: int64(tokenLifetime / time.Second)}})
		return t.Text()
	}
	c := &class{}
	var err error
	if c.instructor, err = d.Open(add("prof", labv1.Role_ROLE_INSTRUCTOR)); err != nil {
		return nil, err
	}
	for i := range n {
		s := &student{name: fmt.Sprintf("s%04d", i)}
		if s.c, err = d.Open(add(s.name, labv1.Role_ROLE_STUDENT)); err != nil {
			return nil, err
		}
		c.students = append(c.students, s)
	}
	_, err = d.Client.Users.ImportUsers(ctx, req)
	return c, err
}

func (c *class) close() {
	for _, s := range c.students {
		_ = s.c.Close()
	}
	_ = c.instructor.Close()
}

// publish makes a lab of two hosts the class's.
func (c *class) publish(ctx context.Context, due time.Time) error {
	side := &labv1.DirectionSpec{RateBps: 10e6, DelayNs: int64(10 * time.Millisecond)}
	sent := func(where string) *labv1.EventSelector {
		return &labv1.EventSelector{Event: "tcp:segment_sent", Where: where}
	}
	one := uint64(1)
	_, err := c.instructor.Classes.PublishTemplate(ctx, &labv1.PublishTemplateRequest{
		RequestId: client.RequestID(), Name: template, DueAt: timestamppb.New(due), LateDays: 1,
		Spec: &labv1.LabSpec{Name: template, Clock: labv1.Clock_CLOCK_REAL, Nodes: []*labv1.NodeSpec{{Name: "client"}, {Name: "server"}},
			Links: []*labv1.LinkSpec{{A: &labv1.Endpoint{Node: "client"}, B: &labv1.Endpoint{Node: "server"}, Forward: side, Reverse: side}}},
		Checks: []*labv1.Check{
			{Id: "handshake", Points: 2, Verb: &labv1.Check_Order{Order: &labv1.EventOrder{Events: []*labv1.EventSelector{
				sent(`flags == "S" and node == "client"`), sent(`flags == "SA"`), sent(`flags == "A" and node == "client"`)}}}},
			{Id: "no-reset", Points: 1, Verb: &labv1.Check_Never{Never: sent(`"R" in flags`)}},
			{Id: "one-syn", Points: 1, Hidden: true, Verb: &labv1.Check_Count{Count: &labv1.EventCount{
				Of: sent(`flags == "S" and node == "client"`), Eq: &one}}},
		}})
	return err
}

// tellMarks waits until all are graded, and compares the marks with what students were told that they had submitted.
func (c *class) tellMarks(ctx context.Context, due time.Time, r *results) error {
	if err := pause(ctx, time.Until(due)); err != nil {
		return err
	}
	var marks []*labv1.Submission
	for pending := true; pending; {
		scores, err := c.instructor.Classes.GetScores(ctx, &labv1.GetScoresRequest{Template: template})
		if err != nil {
			return err
		}
		marks, pending = scores.GetSubmissions(), false
		for _, m := range marks {
			switch m.GetState() {
			case labv1.Submission_STATE_PENDING, labv1.Submission_STATE_VISIBLE:
				pending = pending || m.GetAttempt() > 0
			}
		}
		if !pending {
			break
		}
		if err := pause(ctx, gradePoll); err != nil {
			return err
		}
	}
	return r.tellMarks(marks, time.Since(due))
}
