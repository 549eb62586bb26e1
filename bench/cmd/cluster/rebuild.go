package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protodelim"

	"labd.dev/bench/cluster"
	"labd.dev/client"
	"labd.dev/node/worker"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	workerv1 "labd.dev/proto/worker/v1"
)

// rebuild measures how long a worker takes to replay a standing lab that has moved data for a while.
func rebuild(args []string) error {
	flags := flag.NewFlagSet("rebuild", flag.ExitOnError)
	dur := flags.Duration("dur", 10*time.Minute, "lab time that the lab ran")
	rate := flags.Uint64("rate", 10e6, "bits a second of its link, busy all the time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := os.MkdirTemp("", "cluster-rebuild-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	w, err := worker.New(worker.Config{Root: root, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer w.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	workerv1.RegisterWorkerServiceServer(s, w)
	go s.Serve(l)
	defer s.Stop()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	c := workerv1.NewWorkerServiceClient(conn)
	spec := pair("long")
	spec.Links = []*labv1.LinkSpec{link("a", "b", *rate, 10*time.Millisecond)}
	size := uint64(dur.Seconds() * float64(*rate) / 8)
	journal := []*labv1.JournalEntry{{Index: 1, TNs: 1, Input: &labv1.Input{Kind: &labv1.Input_Transfer{Transfer: &labv1.Transfer{
		Id: "t1", From: "a", To: "b", Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: size}}}}}}
	began := time.Now()
	if _, err := c.StartLab(context.Background(), &workerv1.StartLabRequest{LabId: "long", Epoch: 1, Spec: spec, Mode: workerv1.Mode_MODE_STANDING,
		Journal: journal, ReplayToNs: int64(*dur)}); err != nil {
		return err
	}
	for {
		lab, err := c.GetLab(context.Background(), &workerv1.GetLabRequest{LabId: "long"})
		if err != nil {
			return err
		}
		if p := lab.GetProgress(); !p.GetRecovering() && p.GetNowNs() >= int64(*dur) {
			took := time.Since(began)
			moved := lab.GetTransfers()[0].GetBytes()
			fmt.Printf("rebuild: %v of lab time at %.1f Mbit/s rebuilt in %v (%.0fx)\n", *dur, float64(moved)*8/1e6/dur.Seconds(),
				took.Round(10*time.Millisecond), dur.Seconds()/took.Seconds())
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// snapshots measures how long a state of many objects takes to be saved and to be restored. The state is that of a cluster
// with one lab, of which so many are made, with 99 inputs each; there are no workers that would have to host them.
func snapshots(args []string) error {
	flags := flag.NewFlagSet("snapshots", flag.ExitOnError)
	objects := flags.Int("objects", 100_000, "labs and inputs")
	if err := flags.Parse(args); err != nil {
		return err
	}
	d, err := startDaemons(0)
	if err != nil {
		return err
	}
	defer d.Stop()
	small, large := filepath.Join(d.Dir, "small"), filepath.Join(d.Dir, "large")
	ctx, cancel := context.WithTimeout(context.Background(), 5*cluster.WaitLimit)
	defer cancel()
	if _, err := d.Client.SaveSnapshot(ctx, small); err != nil {
		return err
	}
	if err := enlarge(small, large, *objects/100, 99); err != nil {
		return err
	}
	began := time.Now()
	r, err := d.Client.RestoreSnapshot(ctx, large)
	if err != nil {
		return err
	}
	restored := time.Since(began)
	began = time.Now()
	size, err := d.Client.SaveSnapshot(ctx, filepath.Join(d.Dir, "again"))
	if err != nil {
		return err
	}
	fmt.Printf("snapshots: %d labs and %d inputs, %.1f MB: saved in %v, restored on three servers in %v\n", r.GetLabs(), r.GetInputs(),
		float64(size)/1e6, time.Since(began).Round(10*time.Millisecond), restored.Round(10*time.Millisecond))
	return nil
}

// enlarge copies a snapshot and puts labs with inputs into it.
func enlarge(from, to string, labs, inputs int) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	sum, records := sha256.New(), uint64(0)
	put := func(r *controlv1.SnapshotRecord) error {
		records++
		_, err := protodelim.MarshalTo(io.MultiWriter(&out, sum), r)
		return err
	}
	delay := int64(2e6)
	for in := bufio.NewReader(bytes.NewReader(b)); ; {
		r := &controlv1.SnapshotRecord{}
		if err := (protodelim.UnmarshalOptions{MaxSize: -1}).UnmarshalFrom(in, r); errors.Is(err, io.EOF) {
			return os.WriteFile(to, out.Bytes(), 0o600)
		} else if err != nil {
			return err
		}
		if r.GetEnd() != nil {
			r.GetEnd().Records, r.GetEnd().Sha256 = records, sum.Sum(nil)
		}
		if err := put(r); err != nil {
			return err
		}
		if r.GetHeader() == nil {
			continue
		}
		for i := range labs {
			lab := &controlv1.LabState{Id: client.RequestID(), Spec: pair(labName(i)), Epoch: 1}
			if err := put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Lab{Lab: lab}}); err != nil {
				return err
			}
			for n := range inputs {
				e := &labv1.JournalEntry{Index: uint64(n + 1), TNs: int64(n+1) * 1e9, Input: &labv1.Input{Kind: &labv1.Input_LinkSet{
					LinkSet: &labv1.LinkSet{Link: "a--b", Patch: &labv1.DirectionPatch{DelayNs: &delay}}}}}
				if err := put(&controlv1.SnapshotRecord{Kind: &controlv1.SnapshotRecord_Input{Input: &controlv1.InputState{LabId: lab.Id, Entry: e}}}); err != nil {
					return err
				}
			}
		}
	}
}
