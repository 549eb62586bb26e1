package metrics

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// Calls counts a gRPC server's calls. Its methods and codes are bounded: only registered methods reach an interceptor.
type Calls struct {
	mu       sync.Mutex // guards what is below
	ended    map[ending]uint64
	underWay int
}

// ending is how a call came out.
type ending struct{ method, code string }

// Unary is an interceptor.
func (c *Calls) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	c.begin()
	resp, err := handle(ctx, req)
	c.end(info.FullMethod, err)
	return resp, err
}

// Stream is an interceptor.
func (c *Calls) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	c.begin()
	err := handle(srv, ss)
	c.end(info.FullMethod, err)
	return err
}

func (c *Calls) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.underWay++
}

func (c *Calls) end(method string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.underWay--
	if c.ended == nil {
		c.ended = make(map[ending]uint64)
	}
	c.ended[ending{method: method, code: status.Code(err).String()}]++
}

func (c *Calls) collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	underWay.tell(to, float64(c.underWay))
	for e, n := range c.ended {
		calls.tell(to, float64(n), e.method, e.code)
	}
}
