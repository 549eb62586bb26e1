package client

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	labv1 "labd.dev/proto/lab/v1"
)

// FetchRun copies a run's directory to dir, which it makes if it is not there. After a restart of labd it begins the file
// under way anew.
func (c *Client) FetchRun(ctx context.Context, run, dir string) error {
	var files *labv1.ListRunFilesResponse
	err := c.resume(ctx, func(func()) (err error) {
		files, err = c.Runs.ListRunFiles(ctx, &labv1.ListRunFilesRequest{Run: run})
		return err
	})
	if err != nil {
		return err
	}
	for _, f := range files.GetFiles() {
		if err := c.fetchFile(ctx, run, dir, f.GetPath()); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) fetchFile(ctx context.Context, run, dir, path string) error {
	local := filepath.FromSlash(path)
	if !filepath.IsLocal(local) {
		return fmt.Errorf("run %s has a file %q outside its directory", run, path)
	}
	to := filepath.Join(dir, local)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends a stream that is left half-way
	return c.resume(ctx, func(got func()) error {
		stream, err := c.Runs.ReadRunFile(ctx, &labv1.ReadRunFileRequest{Run: run, Path: path})
		if err != nil {
			return err
		}
		return writeStream(to, func() ([]byte, error) { return block(stream, got) })
	})
}
