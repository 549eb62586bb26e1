package main

import (
	"context"
	"fmt"
	"time"

	"labd.dev/bench/cluster"
	"labd.dev/client"
	labv1 "labd.dev/proto/lab/v1"
)

// daemons are a cluster, and what is measured of it.
type daemons struct{ *cluster.Daemons }

func startDaemons(workers int) (*daemons, error) {
	d, err := cluster.Start(cluster.Config{Labd: *labd, Workers: workers})
	return &daemons{d}, err
}

// pair is a lab of two hosts on the real clock.
func pair(name string) *labv1.LabSpec {
	return &labv1.LabSpec{Name: name, Seed: 1, Clock: labv1.Clock_CLOCK_REAL, Nodes: []*labv1.NodeSpec{{Name: "a"}, {Name: "b"}},
		Links: []*labv1.LinkSpec{link("a", "b", 10e6, time.Millisecond)}}
}

// applyLabs makes labs and waits until they run.
func (d *daemons) applyLabs(n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), cluster.WaitLimit)
	defer cancel()
	for i := range n {
		if _, err := d.Client.Labs.ApplyLab(ctx, &labv1.ApplyLabRequest{RequestId: client.RequestID(), Spec: pair(labName(i))}); err != nil {
			return err
		}
	}
	return cluster.Await("all labs to run", func(ctx context.Context) bool {
		list, err := d.Client.Labs.ListLabs(ctx, &labv1.ListLabsRequest{})
		running := 0
		for _, l := range list.GetLabs() {
			if l.GetState() == labv1.LabState_LAB_STATE_RUNNING {
				running++
			}
		}
		return err == nil && running == n
	})
}

func labName(i int) string { return fmt.Sprintf("lab-%04d", i) }

// write gives a lab an input, which is stamped by its worker and committed by the servers before it is answered.
func write(ctx context.Context, c *client.Client, lab string, n int) error {
	delay := int64(1e6 + n%2)
	_, err := c.Links.SetLink(ctx, &labv1.SetLinkRequest{RequestId: client.RequestID(), Lab: lab,
		Set: &labv1.LinkSet{Link: "a--b", Patch: &labv1.DirectionPatch{DelayNs: &delay}}})
	return err
}
