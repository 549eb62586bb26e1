package client

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	labv1 "labd.dev/proto/lab/v1"
)

const (
	// uploadBytes is how much of a file goes into one message.
	uploadBytes = 256 << 10
	// askBytes bounds how many files one question names.
	askFiles = 1_000
)

// LocalFile is a file of this machine on its way into a lab, which knows it by its content.
type LocalFile struct {
	Path string         // here
	Ref  *labv1.FileRef // as the lab names it
}

// HashFile reads a file and says what it holds. name is its path as the lab sees it.
func HashFile(path, name string) (*LocalFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{Code: CodeUsage, Message: err.Error()}
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() {
		return nil, &Error{Code: CodeUsage, Message: path + " is no regular file"}
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return nil, &Error{Code: CodeUsage, Message: err.Error()}
	}
	return &LocalFile{Path: path, Ref: &labv1.FileRef{Path: name, Sha256: hex.EncodeToString(h.Sum(nil)), SizeBytes: uint64(n)}}, nil
}

// Upload gives labd the files that it does not hold yet, over restarts of labd: what it holds by then is not sent again.
func (c *Client) Upload(ctx context.Context, files []*LocalFile) error {
	for len(files) > 0 {
		n := min(len(files), askFiles)
		err := c.resume(ctx, func(got func()) error { return c.uploadMissing(ctx, files[:n], got) })
		if err != nil {
			return err
		}
		files = files[n:]
	}
	return nil
}

func (c *Client) uploadMissing(ctx context.Context, files []*LocalFile, got func()) error {
	ask := &labv1.MissingFilesRequest{}
	bySum := make(map[string]*LocalFile)
	for _, f := range files {
		if bySum[f.Ref.GetSha256()] == nil {
			bySum[f.Ref.GetSha256()] = f
			ask.Sha256 = append(ask.Sha256, f.Ref.GetSha256())
		}
	}
	missing, err := c.Files.MissingFiles(ctx, ask)
	if err != nil {
		return err
	}
	got()
	for _, sum := range missing.GetSha256() {
		if f := bySum[sum]; f != nil {
			if err := c.uploadOne(ctx, f); err != nil {
				return fmt.Errorf("%s: %w", f.Path, err)
			}
			got()
		}
	}
	return nil
}

func (c *Client) uploadOne(ctx context.Context, file *LocalFile) error {
	f, err := os.Open(file.Path)
	if err != nil {
		return &Error{Code: CodeUsage, Message: err.Error()}
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends a stream that is left half-way
	stream, err := c.Files.UploadFile(ctx)
	if err != nil {
		return err
	}
	err = stream.Send(&labv1.UploadFileRequest{Sha256: file.Ref.GetSha256(), SizeBytes: file.Ref.GetSizeBytes()})
	buf := make([]byte, uploadBytes)
	for err == nil {
		n, failed := f.Read(buf)
		if failed != nil && !errors.Is(failed, io.EOF) {
			return &Error{Code: CodeUsage, Message: failed.Error()}
		}
		if n > 0 {
			err = stream.Send(&labv1.UploadFileRequest{Data: buf[:n]})
		}
		if err == nil {
			err = failed
		}
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	// io.EOF is the file's end, or labd's that has answered already: the answer tells which.
	_, err = stream.CloseAndRecv()
	return err
}

// SaveReceived writes what a transfer with `save` received into a file, once the transfer has ended. After a restart of
// labd it begins anew: a lab that is rebuilt may have to come to the transfer's end again.
func (c *Client) SaveReceived(ctx context.Context, lab, transfer, path string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends a stream that is left half-way
	return c.resume(ctx, func(got func()) error {
		if _, err := c.FollowTransfer(ctx, lab, transfer, nil); err != nil {
			return err
		}
		stream, err := c.Transfers.ReadReceived(ctx, &labv1.ReadReceivedRequest{Lab: lab, Transfer: transfer})
		if err != nil {
			return err
		}
		return writeStream(path, func() ([]byte, error) { return block(stream, got) })
	})
}

// block takes the next block of content from a stream and tells got of it.
func block[M interface{ GetData() []byte }](stream interface{ Recv() (M, error) }, got func()) ([]byte, error) {
	m, err := stream.Recv()
	if err == nil {
		got()
	}
	return m.GetData(), err
}

// writeStream writes blocks into a new file until next says io.EOF. A file that could not be written whole is removed.
func writeStream(path string, next func() ([]byte, error)) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, uploadBytes)
	for err == nil {
		var block []byte
		if block, err = next(); err == nil {
			_, err = w.Write(block)
		}
	}
	if errors.Is(err, io.EOF) {
		err = w.Flush()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(path)
	}
	return err
}
