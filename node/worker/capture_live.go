package worker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"

	"labd.dev/node"
	workerv1 "labd.dev/proto/worker/v1"
	"labd.dev/sim"
	"labd.dev/trace"
	"labd.dev/trace/capfilter"
)

// maxCaptureBacklog bounds what a live capture holds for its reader: some 5,000 full frames. A reader that is further
// behind is cut off; the lab never waits for it.
const maxCaptureBacklog = 8 << 20

// maxLiveCaptures bounds the live captures of an interface: each costs its loop time for every frame.
const maxLiveCaptures = 16

// liveCapture hands what crosses an interface to one reader. The interface's loop writes it, the reader's goroutine
// empties it.
type liveCapture struct {
	filter *capfilter.Filter
	count  uint64 // it ends after so many packets; 0: never
	writer *trace.CaptureWriter
	ready  chan struct{} // holds one when there is something to take

	mu      sync.Mutex // guards all below: loop and reader are goroutines of their own
	backlog []byte
	packets uint64
	full    bool // the reader was too slow
	err     error
}

// Write takes whole blocks from the capture writer.
func (c *liveCapture) Write(b []byte) (int, error) {
	c.backlog = append(c.backlog, b...)
	return len(b), nil
}

// frame takes a frame, if it is one of those that are wanted and there is room.
func (c *liveCapture) frame(names *trace.Names, now sim.Time, out bool, f *sim.Frame, state string) {
	if !c.filter.Match(f.Header()) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.full || c.err != nil || c.count > 0 && c.packets == c.count:
		return
	case len(c.backlog)+f.Len() > maxCaptureBacklog:
		c.full = true
	default:
		comment := trace.AppendComment(nil, names, f.Pkt, f.Conn, state)
		c.err = c.writer.Packet(now, f.Pkt, out, comment, f.Header(), f.Payload)
		if c.err == nil {
			c.err = c.writer.Flush()
		}
		c.packets++
	}
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// take empties the backlog. done: nothing will follow, and err says why if the capture was not ended by its count.
func (c *liveCapture) take() (data []byte, packets uint64, done bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	data, c.backlog = c.backlog, nil
	switch {
	case c.full:
		err = fmt.Errorf("%w: the reader of this capture was more than %d MiB behind and was cut off after packet %d; a filter or a snap length makes less of it",
			errFull, maxCaptureBacklog>>20, c.packets)
	case c.err != nil:
		err = c.err
	}
	return data, c.packets, err != nil || c.count > 0 && c.packets == c.count, err
}

// Capture implements the service.
func (w *Worker) Capture(req *workerv1.CaptureRequest, s grpc.ServerStreamingServer[workerv1.CaptureResponse]) error {
	l, err := w.lab(req.GetLabId())
	if err != nil {
		return grpcError(err)
	}
	var c *liveCapture
	var p *portTap
	err = l.do(s.Context(), func() (err error) {
		p, c, err = l.attach(req)
		return err
	})
	if err != nil {
		return grpcError(err)
	}
	err = l.sendCapture(c, s)
	detached := l.do(context.WithoutCancel(s.Context()), func() error {
		p.live = slices.DeleteFunc(p.live, func(o *liveCapture) bool { return o == c })
		return nil
	})
	if err == nil && !errors.Is(detached, errNotFound) {
		err = detached
	}
	return grpcError(err)
}

func (l *lab) sendCapture(c *liveCapture, s grpc.ServerStreamingServer[workerv1.CaptureResponse]) error {
	for ended := false; ; {
		data, packets, done, err := c.take()
		if len(data) > 0 {
			// Whole blocks lie in data; a message holds at most a part of a large backlog.
			for part := range slices.Chunk(data, streamBlock) {
				if err := s.Send(&workerv1.CaptureResponse{Data: part, Packets: packets}); err != nil {
					return err
				}
			}
		}
		if done || ended {
			return err
		}
		select {
		case <-c.ready:
		case <-l.overC:
			ended = true
		case <-l.done:
			ended = true
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
}

// attach begins a live capture, between two windows.
func (l *lab) attach(req *workerv1.CaptureRequest) (*portTap, *liveCapture, error) {
	at, ok := l.plan.Node(req.GetNode())
	if !ok {
		return nil, nil, fmt.Errorf("%w: there is no node %q", errNotFound, req.GetNode())
	}
	n := &l.plan.Nodes[at]
	i, err := interfaceOf(n, req.GetInterface())
	if err != nil {
		return nil, nil, err
	}
	filter, err := capfilter.Compile(req.GetFilter(), l.addressesOf)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errBadRequest, err)
	}
	p := l.files.taps.byName[n.Name+":"+i.Name]
	if p == nil {
		return nil, nil, fmt.Errorf("%w: %s has no %s now", errNotFound, n.Name, i.Name)
	}
	if len(p.live) >= maxLiveCaptures {
		return nil, nil, fmt.Errorf("%w: %s %s is captured %d times already", errFull, n.Name, i.Name, maxLiveCaptures)
	}
	c := &liveCapture{filter: filter, count: req.GetCount(), ready: make(chan struct{}, 1)}
	c.writer, err = trace.NewCaptureWriter(c, trace.CaptureInterface{
		Node: n.Name, Name: i.Name, MAC: i.MAC, Prefix: i.Prefix, Hosts: captureHosts(l.plan), SnapLen: req.GetSnapBytes(),
	})
	if err == nil {
		err = c.writer.Flush() // who reads sees at once that it has begun
	}
	if err != nil {
		return nil, nil, err
	}
	p.live = append(p.live, c)
	return p, c, nil
}

// interfaceOf finds an interface of a node; an empty name means the only one.
func interfaceOf(n *node.NodePlan, name string) (*node.InterfacePlan, error) {
	var names []string
	for i := range n.Interfaces {
		if n.Interfaces[i].Name == name || name == "" && len(n.Interfaces) == 1 {
			return &n.Interfaces[i], nil
		}
		names = append(names, n.Interfaces[i].Name)
	}
	if name == "" {
		return nil, fmt.Errorf("%w: which interface of %s? It has %s", errBadRequest, n.Name, listed(names))
	}
	return nil, fmt.Errorf("%w: %s has no interface %q; it has %s", errNotFound, n.Name, name, listed(names))
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// addressesOf is all addresses of a node, for capture filters.
func (l *lab) addressesOf(name string) (out []netip.Addr, ok bool) {
	at, ok := l.plan.Node(name)
	if !ok {
		return nil, false
	}
	n := &l.plan.Nodes[at]
	for i := range n.Interfaces {
		for _, p := range []netip.Prefix{n.Interfaces[i].Prefix, n.Interfaces[i].Prefix6} {
			if p.IsValid() {
				out = append(out, p.Addr())
			}
		}
	}
	return out, true
}
