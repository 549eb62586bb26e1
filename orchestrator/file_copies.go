package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/grpc"

	controlv1 "labd.dev/proto/control/v1"
	labv1 "labd.dev/proto/lab/v1"
	serverv1 "labd.dev/proto/server/v1"
)

const (
	// fileCopies is on how many servers content lies before anything that names it is committed, where there are so many:
	// the loss of one loses nothing.
	fileCopies = 2
	// filesEvery is how often a leader sees to the files: that enough servers have them, and that none is kept for nothing.
	filesEvery = 5 * time.Minute
	// fileGrace is for how long content is kept that nothing names: longer than a person takes between an upload and the
	// command that uses it.
	fileGrace = time.Hour
)

// copyFile gives content that is here to other servers until enough have it, and tells which ones do, this one included. A
// lone server needs only itself.
func (c *Controller) copyFile(ctx context.Context, sum string, size uint64, have []string) ([]string, error) {
	holders := []string{c.ServerID()}
	var others []raft.Server // that do not have it
	members := 0
	for _, s := range c.servers() {
		members++
		switch id := string(s.ID); {
		case id == c.ServerID():
		case slices.Contains(have, id):
			holders = append(holders, id)
		default:
			others = append(others, s)
		}
	}
	var last error
	for _, other := range others {
		if len(holders) >= min(fileCopies, members) {
			break
		}
		if err := c.giveFile(ctx, string(other.Address), sum, size); err != nil {
			last = err
			c.log.Warn("a server does not take a file", "server", other.Address, "file", sum, "error", err)
			continue
		}
		holders = append(holders, string(other.ID))
	}
	if len(holders) < min(fileCopies, members) {
		return nil, refuse(labv1.ErrorReason_ERROR_REASON_ONE_COPY,
			"a file must lie on %d servers before it is used, and no other one takes it now: %v", fileCopies, last)
	}
	return holders, nil
}

// giveFile sends content to another server.
func (c *Controller) giveFile(ctx context.Context, address, sum string, size uint64) error {
	conn, err := c.conf.Cluster.Connect(address)
	if err != nil {
		return err
	}
	f, err := c.blobs.open(sum)
	if err != nil {
		return err
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the stream if it is left half-way
	stream, err := serverv1.NewFileServiceClient(conn).PutFile(ctx)
	if err != nil {
		return err
	}
	err = stream.Send(&serverv1.PutFileRequest{Sha256: sum, SizeBytes: size})
	buf := make([]byte, pushBytes)
	for err == nil {
		n, failed := f.Read(buf)
		if n > 0 {
			err = stream.Send(&serverv1.PutFileRequest{Data: buf[:n]})
		}
		if err == nil {
			err = failed
		}
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	// Of the file, or of the stream: then the answer tells why.
	_, err = stream.CloseAndRecv()
	return err
}

// openFile opens content, which this server gets from one that has it where it has it not itself.
func (c *Controller) openFile(ctx context.Context, sum string) (io.ReadCloser, error) {
	if c.blobs.has(sum) {
		return c.blobs.open(sum)
	}
	file := c.store.view().file(sum)
	last := fmt.Errorf("no server has file %s", sum)
	for _, s := range c.servers() {
		if id := string(s.ID); id == c.ServerID() || len(file.GetServers()) > 0 && !slices.Contains(file.GetServers(), id) {
			continue
		}
		if last = c.getFile(ctx, string(s.Address), sum, file.GetSizeBytes()); last == nil {
			return c.blobs.open(sum)
		}
	}
	return nil, storageError(last)
}

// getFile takes content from another server.
func (c *Controller) getFile(ctx context.Context, address, sum string, size uint64) error {
	conn, err := c.conf.Cluster.Connect(address)
	if err != nil {
		return err
	}
	in, err := c.blobs.receive(sum, size)
	if err != nil {
		return err
	}
	defer in.drop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := serverv1.NewFileServiceClient(conn).GetFile(ctx, &serverv1.GetFileRequest{Sha256: sum})
	for err == nil {
		var m *serverv1.GetFileResponse
		if m, err = stream.Recv(); err == nil {
			err = in.write(m.GetData())
		}
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return in.keep()
}

// serverFiles gives files to other servers, and takes them.
type serverFiles struct {
	serverv1.UnimplementedFileServiceServer
	c *Controller
}

func (s *serverFiles) PutFile(in grpc.ClientStreamingServer[serverv1.PutFileRequest, serverv1.PutFileResponse]) error {
	first, err := in.Recv()
	if err != nil {
		return err
	}
	if validSum(first.GetSha256()) && s.c.blobs.has(first.GetSha256()) {
		s.c.blobs.ask(first.GetSha256())
		return in.SendAndClose(&serverv1.PutFileResponse{})
	}
	file, err := s.c.blobs.receive(first.GetSha256(), first.GetSizeBytes())
	if err != nil {
		return toStatus(err)
	}
	defer file.drop()
	for m := first; err == nil; m, err = in.Recv() {
		if err := file.write(m.GetData()); err != nil {
			return toStatus(err)
		}
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	if err := file.keep(); err != nil {
		return toStatus(err)
	}
	return in.SendAndClose(&serverv1.PutFileResponse{})
}

func (s *serverFiles) GetFile(req *serverv1.GetFileRequest, out grpc.ServerStreamingServer[serverv1.GetFileResponse]) error {
	if !validSum(req.GetSha256()) {
		return toStatus(invalid("sha256", "%q is no SHA-256 in lower-case hex", req.GetSha256()))
	}
	f, err := s.c.blobs.open(req.GetSha256())
	if err != nil {
		return toStatus(err)
	}
	defer f.Close()
	buf := make([]byte, pushBytes)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			if err := out.Send(&serverv1.GetFileResponse{Data: buf[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return toStatus(storageError(err))
		}
	}
}

// filekeeper is what a leader remembers to see to the files.
type filekeeper struct {
	idle map[[2]string]time.Time // by person and SHA-256, since when nothing has named a file, or nobody has asked for it
}

// keepFiles sees to it that enough servers have each file, and lets go of those that nothing has named for a while.
func (l *leadership) keepFiles() {
	keeper := &filekeeper{idle: make(map[[2]string]time.Time)}
	tick := time.NewTicker(filesEvery)
	defer tick.Stop()
	for {
		if err := l.keepFilesOnce(keeper); err != nil && l.ctx.Err() == nil {
			l.c.log.Warn("the files could not be seen to", "error", err)
		}
		select {
		case <-tick.C:
		case <-l.ctx.Done():
			return
		}
	}
}

func (l *leadership) keepFilesOnce(k *filekeeper) error {
	v := l.c.store.view()
	named := v.namedFiles()
	drop := &controlv1.DropFiles{}
	for _, h := range all[controlv1.FileHolding](v, tableHoldings, "id") {
		if k.idleFor(h.GetOwner(), h.GetSha256(), named.by(h.GetOwner(), h.GetSha256()) || l.c.blobs.askedWithin(h.GetSha256(), fileGrace)) {
			drop.Holdings = append(drop.Holdings, h)
		}
	}
	var errs error
	for _, f := range all[controlv1.FileState](v, tableFiles, "id") {
		used := named.any(f.GetSha256()) || v.held(f.GetSha256()) || l.c.blobs.askedWithin(f.GetSha256(), fileGrace)
		if used {
			errs = errors.Join(errs, l.spread(f))
		}
		if k.idleFor("", f.GetSha256(), used) {
			drop.Sha256 = append(drop.Sha256, f.GetSha256())
		}
	}
	if len(drop.GetSha256())+len(drop.GetHoldings()) > 0 {
		_, err := l.c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_DropFiles{DropFiles: drop}})
		errs = errors.Join(errs, err)
	}
	return errs
}

// idleFor tells whether a file, of a person's or at all, has been of no use for long enough.
func (k *filekeeper) idleFor(person, sum string, used bool) bool {
	key := [2]string{person, sum}
	if used {
		delete(k.idle, key)
		return false
	}
	if _, known := k.idle[key]; !known {
		k.idle[key] = time.Now()
	}
	if time.Since(k.idle[key]) < fileGrace {
		return false
	}
	delete(k.idle, key)
	return true
}

// spread gives a file to another server where too few of today's servers have it.
func (l *leadership) spread(f *controlv1.FileState) error {
	holders, members := 0, l.c.servers()
	for _, s := range members {
		if slices.Contains(f.GetServers(), string(s.ID)) {
			holders++
		}
	}
	if holders >= min(fileCopies, len(members)) {
		return nil
	}
	r, err := l.c.openFile(l.ctx, f.GetSha256())
	if err != nil {
		return err
	}
	r.Close()
	servers, err := l.c.copyFile(l.ctx, f.GetSha256(), f.GetSizeBytes(), f.GetServers())
	if err != nil {
		return err
	}
	_, err = l.c.proposeOwn(&controlv1.Command{Kind: &controlv1.Command_AddFile{
		AddFile: &controlv1.AddFile{Sha256: f.GetSha256(), SizeBytes: f.GetSizeBytes(), Servers: servers}}})
	return err
}

// sweepFiles removes content from this server's disk that the cluster has let go of, or that an upload left which came to
// nothing.
func (c *Controller) sweepFiles() {
	tick := time.NewTicker(filesEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-c.ctx.Done():
			return
		}
		v := c.store.view()
		if v.clusterID() == "" {
			continue // its log has not been applied yet
		}
		if err := c.blobs.sweep(func(sum string) bool { return v.file(sum) != nil }, fileGrace); err != nil {
			c.log.Warn("files that are not needed could not be removed", "error", err)
		}
	}
}
