package client

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	labv1 "labd.dev/proto/lab/v1"
)

// SaveSnapshot writes the cluster's state into a file, which is there only when it is whole.
func (c *Client) SaveSnapshot(ctx context.Context, path string) (size int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends a stream that is left half-way
	f, err := os.CreateTemp(filepath.Dir(path), ".snapshot-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	stream, err := c.Cluster.ReadSnapshot(ctx, &labv1.ReadSnapshotRequest{})
	err = receive(stream, err, func() {}, func(m *labv1.ReadSnapshotResponse) error {
		n, err := f.Write(m.GetData())
		size += int64(n)
		return err
	})
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return 0, err
	}
	return size, os.Rename(f.Name(), path)
}

// RestoreSnapshot puts a saved state into the place of the cluster's. labd reads it through before it changes anything.
func (c *Client) RestoreSnapshot(ctx context.Context, path string) (*labv1.RestoreSnapshotResponse, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{Code: CodeUsage, Message: err.Error()}
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // as above
	stream, err := c.Cluster.RestoreSnapshot(ctx)
	if err != nil {
		return nil, err
	}
	buf := make([]byte, uploadBytes)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			if err := stream.Send(&labv1.RestoreSnapshotRequest{Data: buf[:n]}); errors.Is(err, io.EOF) {
				break // the answer says why
			} else if err != nil {
				return nil, err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	return stream.CloseAndRecv()
}
