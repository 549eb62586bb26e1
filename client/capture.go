package client

import (
	"context"
	"io"

	labv1 "labd.dev/proto/lab/v1"
)

// Capture writes what crosses an interface to w, as pcapng, until its count, the lab's end or ctx's. It tells how many
// packets were written. It is not taken up again when the connection breaks: what crossed meanwhile would be missing
// without a trace of that in the file.
func (c *Client) Capture(ctx context.Context, req *labv1.WatchCaptureRequest, w io.Writer) (packets uint64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends a stream that is left half-way
	stream, err := c.Captures.WatchCapture(ctx, req)
	err = receive(stream, err, func() {}, func(m *labv1.WatchCaptureResponse) error {
		packets = m.GetPackets()
		_, err := w.Write(m.GetData())
		return err
	})
	return packets, err
}
