package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"labd.dev/client"
	labv1 "labd.dev/proto/lab/v1"
)

const (
	// maxThink is the longest that a student takes to think before the next command.
	maxThink = 4 * time.Second
	// again is how soon a call is made again that the cluster could not answer just then.
	again = 50 * time.Millisecond
	// patience bounds how long a call is made again.
	patience = time.Minute
	// payload is what a student sends through the lab.
	payload = 20_000
)

// student is one person at work.
type student struct {
	name string
	c    *client.Client
}

// work is a session from the lab's start to its submission. Each call has one request id, however often it is made.
func (s *student) work(ctx context.Context, random *rand.Rand, r *results) error {
	think := func(longest time.Duration) error {
		return pause(ctx, time.Duration(random.Int64N(int64(longest))))
	}
	if err := think(*dur); err != nil {
		return err
	}
	for _, step := range []struct {
		kind string
		do   func(ctx context.Context, r *results) error
	}{{"start", s.start}, {"transfer", s.transfer}, {"ping", s.ping}, {"check", s.check}, {"submit", s.submit}} {
		if err := step.do(ctx, r); err != nil {
			return errors.Join(errors.New(step.kind), err)
		}
		if err := think(maxThink); err != nil {
			return err
		}
	}
	return nil
}

// call makes a call, again while the cluster cannot answer it, and takes the time of all of it.
func (s *student) call(ctx context.Context, r *results, kind string, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	began := time.Now()
	for {
		err := call(ctx)
		var refused *client.Error
		if err == nil || !errors.As(err, &refused) || refused.Code != client.CodeUnavailable || pause(ctx, again) != nil {
			r.called(kind, began, err)
			return err
		}
		r.again(kind, refused)
	}
}

func (s *student) start(ctx context.Context, r *results) error {
	req := &labv1.StartInstanceRequest{RequestId: client.RequestID(), Template: template}
	return s.call(ctx, r, "start", func(ctx context.Context) error {
		_, err := s.c.Classes.StartInstance(ctx, req)
		return err
	})
}

func (s *student) transfer(ctx context.Context, r *results) error {
	req := &labv1.CreateTransferRequest{RequestId: client.RequestID(), Lab: template, Kind: &labv1.CreateTransferRequest_Transfer{
		Transfer: &labv1.Transfer{From: "client", To: "server", Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: payload}}}}
	var id string
	err := s.call(ctx, r, "transfer", func(ctx context.Context) error {
		t, err := s.c.Transfers.CreateTransfer(ctx, req)
		id = t.GetId()
		return err
	})
	if err != nil {
		return err
	}
	_, err = s.c.FollowTransfer(ctx, template, id, func(*labv1.WatchTransferResponse) {})
	return err
}

func (s *student) ping(ctx context.Context, r *results) error {
	req := &labv1.CreateExecRequest{RequestId: client.RequestID(), Lab: template, Command: &labv1.CreateExecRequest_Ping{
		Ping: &labv1.Ping{From: "client", To: "server", Count: 1}}}
	var id string
	err := s.call(ctx, r, "ping", func(ctx context.Context) error {
		e, err := s.c.Execs.CreateExec(ctx, req)
		id = e.GetId()
		return err
	})
	if err != nil {
		return err
	}
	_, err = s.c.FollowExec(ctx, template, id, func([]string) {})
	return err
}

func (s *student) check(ctx context.Context, r *results) error {
	return s.call(ctx, r, "check", func(ctx context.Context) error {
		_, err := s.c.Classes.CheckInstance(ctx, &labv1.CheckInstanceRequest{Template: template})
		return err
	})
}

func (s *student) submit(ctx context.Context, r *results) error {
	req := &labv1.SubmitInstanceRequest{RequestId: client.RequestID(), Template: template}
	err := s.call(ctx, r, "submit", func(ctx context.Context) error {
		_, err := s.c.Classes.SubmitInstance(ctx, req)
		return err
	})
	if err == nil {
		r.acknowledged(s.name)
	}
	return err
}
