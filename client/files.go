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

// Upload gives labd the files that it does not hold yet.
func (c *Client) Upload(ctx context.Context, files []*LocalFile) error {
	for len(files) > 0 {
		n := min(len(files), askFiles)
		if err := c.uploadMissing(ctx, files[:n]); err != nil {
			return err
		}
		files = files[n:]
	}
	return nil
}

func (c *Client) uploadMissing(ctx context.Context, files []*LocalFile) error {
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
	for _, sum := range missing.GetSha256() {
		if f := bySum[sum]; f != nil {
			if err := c.uploadOne(ctx, f); err != nil {
				return fmt.Errorf("%s: %w", f.Path, err)
			}
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
		var n int
		if n, err = f.Read(buf); n > 0 {
			if sent := stream.Send(&labv1.UploadFileRequest{Data: buf[:n]}); sent != nil {
				err = sent
			}
		}
	}
	if !errors.Is(err, io.EOF) {
		return &Error{Code: CodeUsage, Message: err.Error()}
	}
	// io.EOF is the file's end, or labd's that has answered already: the answer tells which.
	_, err = stream.CloseAndRecv()
	return err
}

// SaveReceived writes what a finished transfer with `save` received into a file.
func (c *Client) SaveReceived(ctx context.Context, lab, transfer, path string) error {
	stream, err := c.Transfers.ReadReceived(ctx, &labv1.ReadReceivedRequest{Lab: lab, Transfer: transfer})
	if err != nil {
		return err
	}
	return writeStream(path, func() ([]byte, error) {
		m, err := stream.Recv()
		return m.GetData(), err
	})
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
