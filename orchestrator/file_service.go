package orchestrator

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"labd.dev/internal/auth"
	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
)

// maxSums bounds how many files one request asks about.
const maxSums = 10_000

type fileService struct {
	labv1.UnimplementedFileServiceServer
	c *Controller
}

func (s *fileService) MissingFiles(ctx context.Context, req *labv1.MissingFilesRequest) (*labv1.MissingFilesResponse, error) {
	if len(req.GetSha256()) > maxSums {
		return nil, invalid("sha256", "%d files at once are too many; at most %d", len(req.GetSha256()), maxSums)
	}
	if _, err := s.c.leader(ctx); err != nil {
		return nil, err
	}
	v, person := s.c.store.view(), auth.CallerOf(ctx).Person
	resp := &labv1.MissingFilesResponse{}
	for _, sum := range req.GetSha256() {
		if !validSum(sum) {
			return nil, invalid("sha256", "%q is no SHA-256 in lower-case hex", sum)
		}
		s.c.blobs.ask(sum)
		if !v.holds(person, sum) {
			resp.Sha256 = append(resp.Sha256, sum)
		}
	}
	return resp, nil
}

func (s *fileService) UploadFile(in grpc.ClientStreamingServer[labv1.UploadFileRequest, labv1.UploadFileResponse]) error {
	if _, err := s.c.leader(in.Context()); err != nil {
		return err
	}
	first, err := in.Recv()
	if errors.Is(err, io.EOF) {
		return invalid("sha256", "the first message must name the content")
	}
	if err != nil {
		return err
	}
	file, err := s.c.blobs.receive(first.GetSha256(), first.GetSizeBytes())
	if err != nil {
		return err
	}
	defer file.drop()
	for m := first; ; {
		if err := file.write(m.GetData()); err != nil {
			return err
		}
		if m, err = in.Recv(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	if err := file.keep(); err != nil {
		return err
	}
	servers, err := s.c.copyFile(in.Context(), file.sum, file.size, s.c.store.view().file(file.sum).GetServers())
	if err != nil {
		return err
	}
	s.c.blobs.ask(file.sum)
	_, err = s.c.propose(in.Context(), "", &controlv1.Command{Kind: &controlv1.Command_AddFile{
		AddFile: &controlv1.AddFile{Sha256: file.sum, SizeBytes: file.size, Servers: servers, Owner: auth.CallerOf(in.Context()).Person}}})
	if err != nil {
		return err
	}
	return in.SendAndClose(&labv1.UploadFileResponse{})
}
