package main

import (
	"context"
	"errors"
	"io"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/trace"
)

// events reads the events of a connection ("" for all): out of a run directory if one is named, else of the lab.
func (a *app) events(ctx context.Context, dir, conn string) ([]trace.Event, error) {
	if dir != "" {
		r, err := trace.Open(dir)
		if err != nil {
			return nil, err
		}
		t, err := r.Conn(conn)
		if err != nil {
			return nil, err
		}
		return t.Events(), nil
	}
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	stream, err := c.Traces.ReadRecords(ctx, &labv1.ReadRecordsRequest{Source: &labv1.ReadRecordsRequest_Lab{Lab: a.labName()}, Conn: conn})
	if err != nil {
		return nil, err
	}
	t := &trace.Trace{}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			events := t.Events()
			return events, newAuthors(c, a.labName()).tell(ctx, events)
		}
		if err != nil {
			return nil, err
		}
		if m.NodeNames != nil {
			t.Names = trace.Names{Nodes: m.NodeNames, Directions: m.DirectionNames}
		}
		records, err := trace.DecodeRecords(m.Records)
		if err != nil {
			return nil, err
		}
		t.Records = append(t.Records, records...)
	}
}

// packet reads how a packet looked wherever it was seen.
func (a *app) packet(ctx context.Context, dir, packet string) ([]*labv1.PacketHop, error) {
	if dir != "" {
		r, err := trace.Open(dir)
		if err != nil {
			return nil, err
		}
		return r.Packet(packet)
	}
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	r, err := c.Traces.GetPacket(ctx, &labv1.GetPacketRequest{Source: &labv1.GetPacketRequest_Lab{Lab: a.labName()}, Packet: packet})
	if err != nil {
		return nil, err
	}
	return r.Hops, nil
}
