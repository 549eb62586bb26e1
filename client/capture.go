package client

import (
	"context"
	"errors"
	"fmt"
	"io"

	labv1 "labd.dev/proto/lab/v1"
)

// Capture writes what crosses an interface to w, as pcapng, until its count, the lab's end or ctx's. It tells how many
// packets were written. It is not taken up again when the connection breaks: what crossed meanwhile would be missing
// without a trace of that in the file. The error then says where it ended.
func (c *Client) Capture(ctx context.Context, req *labv1.WatchCaptureRequest, w io.Writer) (packets uint64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends a stream that is left half-way
	stream, err := c.Captures.WatchCapture(ctx, req)
	err = receive(stream, err, func() {}, func(m *labv1.WatchCaptureResponse) error {
		packets = m.GetPackets()
		_, err := w.Write(m.GetData())
		return err
	})
	if e := (*Error)(nil); errors.As(err, &e) && e.away {
		cut := *e
		cut.Message = fmt.Sprintf("%s; the capture ended after packet %d and is not taken up again", e.Message, packets)
		err = &cut
	}
	return packets, err
}
