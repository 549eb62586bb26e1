package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"labd.dev/client"
	"labd.dev/internal/auth"
	"labd.dev/internal/port"
	"labd.dev/internal/tlsfiles"
	"labd.dev/orchestrator"
	labv1 "labd.dev/proto/lab/v1"
)

// campus is a server of a cluster that asks who calls, and a worker, with a person of each kind and a token in each state.
type campus struct {
	t        *testing.T
	p        *pki
	d        *Daemon
	w        *Worker
	people   *grpc.ClientConn // with a client's certificate, so that it reaches the worker's port as well
	others   *grpc.ClientConn // likewise, to the worker
	follow   *grpc.ClientConn // with a daemon's: a server that hands calls on
	admin    *client.Client
	tokens   map[string]string // by what they are
	lab, run string            // ann's
	sources  int
}

func (c *campus) dial(address string, files tlsfiles.Files) *grpc.ClientConn {
	c.t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithNoProxy(),
		grpc.WithTransportCredentials(port.Credentials(&port.Dialer{Security: c.p.security(files)})))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	return conn
}

func newCampus(t *testing.T) *campus {
	t.Helper()
	c := &campus{t: t, p: newPKI(t), tokens: make(map[string]string)}
	file := filepath.Join(t.TempDir(), "first")
	c.d = start(t, Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0", NoWorker: true, Security: c.p.security(c.p.daemon),
		Cluster:  &ClusterConfig{Expect: 1, Timing: orchestrator.Timing{Look: 100 * time.Millisecond, Stable: 100 * time.Millisecond}},
		Identity: IdentityConfig{Auth: AuthOn, TokenFile: file}})
	var err error
	if c.w, err = StartWorker(WorkerConfig{DataDir: t.TempDir(), Name: "w1", Listen: "127.0.0.1:0", Servers: []string{c.d.Addr()}, Security: c.p.security(c.p.daemon)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.w.Stop(context.Background()) })
	var text []byte
	eventually(t, "the first administrator's token", func() bool { text, _ = os.ReadFile(file); return len(text) > 0 })
	c.tokens["admin"] = strings.TrimSpace(string(text))
	c.people, c.others, c.follow = c.dial(c.d.Addr(), c.p.client), c.dial(c.w.Addr(), c.p.client), c.dial(c.d.Addr(), c.p.daemon)
	c.admin = c.as("admin")
	c.enrol()
	ann := c.as("ann")
	arena := twoHosts("arena", labv1.Clock_CLOCK_REAL)
	arena.Nodes = append(arena.Nodes, &labv1.NodeSpec{Name: "c"})
	arena.Links = append(arena.Links, &labv1.LinkSpec{A: &labv1.Endpoint{Node: "a", Interface: "eth1"}, B: &labv1.Endpoint{Node: "c", Interface: "eth0"},
		Forward: &labv1.DirectionSpec{}, Reverse: &labv1.DirectionSpec{}})
	lab, err := ann.Labs.CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: "lab", Spec: arena})
	if err != nil {
		t.Fatal(err)
	}
	run, err := ann.Runs.CreateRun(t.Context(), &labv1.CreateRunRequest{RequestId: "run", Spec: twoHosts("arena", labv1.Clock_CLOCK_VIRTUAL), EndNs: 1})
	if err != nil {
		t.Fatal(err)
	}
	c.lab, c.run = theirs("ann", lab.GetLab().GetName()), theirs("ann", run.GetRun().GetId())
	return c
}

// theirs is a name of a person's as others call it.
func theirs(person, name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	return person + "/" + name
}

func (c *campus) as(who string) *client.Client {
	c.t.Helper()
	files := c.p.client
	files.Cert, files.Key = "", ""
	cl, err := client.Open(client.Options{Servers: []string{c.d.Addr()}, TLS: &files, Token: c.tokens[who]})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { cl.Close() })
	return cl
}

// enrol takes in the people and makes their tokens.
func (c *campus) enrol() {
	c.t.Helper()
	req := &labv1.ImportUsersRequest{RequestId: "enrol"}
	for name, role := range map[string]labv1.Role{"ann": auth.Student, "bob": auth.Student, "ivy": auth.Instructor,
		"val": auth.Student, "opi": auth.Student} {
		token := auth.NewToken()
		c.tokens[name] = token.Text()
		req.Users = append(req.Users, &labv1.NewUser{Name: name, Role: role, Token: &labv1.NewToken{Id: token.ID, Sha256: token.Hash()}})
	}
	if _, err := c.admin.Users.ImportUsers(c.t.Context(), req); err != nil {
		c.t.Fatal(err)
	}
	more := func(what, user string, shape *labv1.NewToken) auth.Token {
		token, err := give(c.t, c.admin, user, shape)
		if err != nil {
			c.t.Fatal(err)
		}
		c.tokens[what] = token.Text()
		return token
	}
	for p := labv1.Permission_PERMISSION_PERSON; p < labv1.Permission_PERMISSION_INSTRUCTOR; p++ {
		more("at most "+auth.PermissionName(p), "ann", &labv1.NewToken{Scope: &labv1.TokenScope{Most: p}})
	}
	gone := more("revoked", "admin", &labv1.NewToken{})
	if _, err := c.admin.Tokens.RevokeToken(c.t.Context(), &labv1.RevokeTokenRequest{RequestId: "revoke", Id: gone.ID}); err != nil {
		c.t.Fatal(err)
	}
	more("expired", "admin", &labv1.NewToken{LifetimeS: 1})
	other, err := auth.ParseToken(c.tokens["admin"])
	if err != nil {
		c.t.Fatal(err)
	}
	c.tokens["malformed"] = "labd_nonsense"
	c.tokens["wrong"], c.tokens["wrong secret"] = auth.NewToken().Text(), auth.Rotated(other.ID).Text()
	eventually(c.t, "a token expires", func() bool {
		_, err := c.as("expired").Users.WhoAmI(c.t.Context(), &labv1.WhoAmIRequest{})
		var e *client.Error
		return errors.As(err, &e) && e.Reason == "TOKEN_EXPIRED"
	})
}

// call makes a call with a token and gives the reason for which it is refused; OK: it is not.
func (c *campus) call(name string, m protoreflect.MethodDescriptor, req proto.Message, token string) string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	// Each from an address of its own, as a server tells it that hands calls on: wrong tokens are not answered for ever.
	c.sources++
	conn := c.follow
	if strings.HasPrefix(name, "/worker.v1.WorkerService/") {
		conn = c.others
	} else if !strings.HasPrefix(name, "/lab.v1.") {
		conn = c.people
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "labd-forwarded-by", "a server", "labd-caller-address", fmt.Sprintf("10.0.%d.%d", c.sources>>8, c.sources&255))
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: m.IsStreamingServer(), ClientStreams: m.IsStreamingClient()}, name)
	if err != nil {
		c.t.Fatal(name, err)
	}
	out, err := protoregistry.GlobalTypes.FindMessageByName(m.Output().FullName())
	if err != nil {
		c.t.Fatal(err)
	}
	if err := stream.SendMsg(req); err != nil && !errors.Is(err, io.EOF) {
		c.t.Fatal(name, err)
	}
	if err := stream.CloseSend(); err != nil {
		c.t.Fatal(name, err)
	}
	return reasonOf(stream.RecvMsg(out.New().Interface()))
}

func reasonOf(err error) string {
	if err == nil || errors.Is(err, io.EOF) {
		return "OK"
	}
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return status.Code(err).String()
}

// identityReasons are those for which a call is refused that is not for its caller.
func aboutTheCaller(reason string) bool {
	switch reason {
	case "TOKEN_MISSING", "TOKEN_MALFORMED", "TOKEN_WRONG", "TOKEN_EXPIRED", "TOKEN_REVOKED", "NOT_ALLOWED", "LOCKED_OUT", codes.Unauthenticated.String(), codes.PermissionDenied.String():
		return true
	}
	return false
}

// request is a request that names ann's lab and run, and nothing else that is there.
func (c *campus) request(m protoreflect.MethodDescriptor, a *labv1.Access, byRun bool) proto.Message {
	c.t.Helper()
	in, err := protoregistry.GlobalTypes.FindMessageByName(m.Input().FullName())
	if err != nil {
		c.t.Fatal(err)
	}
	req := in.New()
	if f := m.Input().Fields().ByName("request_id"); f != nil {
		req.Set(f, protoreflect.ValueOfString(client.RequestID()))
	}
	if f := m.Input().Fields().ByName("id"); f != nil { // of a token: not the one that is shown
		req.Set(f, protoreflect.ValueOfString("aaaaaaaaaa"))
	}
	if a.GetRun() != "" && byRun {
		setPath(req, a.GetRun(), c.run)
	} else if a.GetLab() != "" {
		setPath(req, a.GetLab(), c.lab)
	}
	return req.Interface()
}

func setPath(m protoreflect.Message, path, value string) {
	parts := strings.Split(path, ".")
	for _, part := range parts[:len(parts)-1] {
		m = m.Mutable(m.Descriptor().Fields().ByName(protoreflect.Name(part))).Message()
	}
	m.Set(m.Descriptor().Fields().ByName(protoreflect.Name(parts[len(parts)-1])), protoreflect.ValueOfString(value))
}

// weaker is whose token may less than a permission asks for.
func weaker(p labv1.Permission) string {
	switch p {
	case labv1.Permission_PERMISSION_ADMIN:
		return "ivy"
	case labv1.Permission_PERMISSION_INSTRUCTOR, labv1.Permission_PERMISSION_DAEMON:
		return "ann"
	case labv1.Permission_PERMISSION_PERSON:
		return "at most person"
	}
	return "at most " + auth.PermissionName(p-1)
}

// right is whose token may do what a permission asks for.
func right(p labv1.Permission) string {
	switch p {
	case labv1.Permission_PERMISSION_ADMIN:
		return "admin"
	case labv1.Permission_PERMISSION_INSTRUCTOR:
		return "ivy"
	}
	return "ann"
}

// share makes val a viewer of all of ann's lab, and opi an operator of node b alone; and has a fault on node a, which opi does not
// see, any more than the link a--c.
func (c *campus) share() {
	c.t.Helper()
	ann := c.as("ann")
	for _, m := range []*labv1.LabMember{{Person: "val", Role: labv1.LabRole_LAB_ROLE_VIEWER}, {Person: "opi", Role: labv1.LabRole_LAB_ROLE_OPERATOR, Nodes: []string{"b"}}} {
		if _, err := ann.Sharing.ShareLab(c.t.Context(), &labv1.ShareLabRequest{RequestId: client.RequestID(), Lab: c.lab, Member: m}); err != nil {
			c.t.Fatal(err)
		}
	}
	eventually(c.t, "a fault on node a", func() bool {
		_, err := ann.Faults.CreateFault(c.t.Context(), &labv1.CreateFaultRequest{RequestId: "hidden", Lab: c.lab,
			Fault: &labv1.Fault{Id: "hidden", Node: "a", Effect: &labv1.Fault_Reboot{Reboot: &labv1.Reboot{}}}})
		return err == nil
	})
}

// requestElsewhere is a request that names in ann's lab what opi does not see.
func (c *campus) requestElsewhere(m protoreflect.MethodDescriptor, a *labv1.Access) proto.Message {
	req := c.request(m, a, false)
	if len(a.GetNodes()) > 0 {
		setPath(req.ProtoReflect(), a.GetNodes()[0], "a") // others are of other kinds of command
	} else if len(a.GetLinks()) > 0 {
		setPath(req.ProtoReflect(), a.GetLinks()[0], "a--c")
	}
	if a.GetFault() != "" {
		setPath(req.ProtoReflect(), a.GetFault(), "hidden")
	}
	return req
}

// tryMembers makes a call by members of ann's lab who may too little there.
func (c *campus) tryMembers(name string, m protoreflect.MethodDescriptor, a *labv1.Access, answers *labv1.Answers) {
	c.t.Helper()
	for _, by := range []struct {
		who    string
		answer *labv1.ErrorReason
	}{{"val", answers.Viewer}, {"opi", answers.Elsewhere}} {
		if by.answer == nil && (a.GetAudited() || m.IsStreamingServer()) {
			continue // it would be carried out
		}
		got := c.call(name, m, c.requestElsewhere(m, a), c.tokens[by.who])
		if by.answer == nil {
			if aboutTheCaller(got) {
				c.t.Errorf("%s, by member %s: %s; its definition lets it pass", name, by.who, got)
			}
		} else if reason := strings.TrimPrefix(by.answer.String(), "ERROR_REASON_"); got != reason {
			c.t.Errorf("%s, by member %s: %s, and by its definition %s", name, by.who, got, reason)
		}
	}
}

// Every call of every service is made without a token, with what is none, with one that is wrong, has expired or was taken
// back, by whom what it names does not belong to, by who may less, and by members of the lab: one who only views it, and one who
// operates other nodes. Each answers as its definition says. And by the right one it is not refused for who calls.
func TestEveryCallWithoutItsPermission(t *testing.T) {
	c := newCampus(t)
	c.share()
	calls, services := 0, 0
	for _, pkg := range []protoreflect.FullName{"lab.v1", "server.v1", "worker.v1"} {
		protoregistry.GlobalFiles.RangeFilesByPackage(pkg, func(file protoreflect.FileDescriptor) bool {
			for i := range file.Services().Len() {
				services++
				for j := range file.Services().Get(i).Methods().Len() {
					calls++
					c.try(file.Services().Get(i).Methods().Get(j))
				}
			}
			return true
		})
	}
	if services < 22 || calls < 90 {
		t.Errorf("only %d calls of %d services were made", calls, services)
	}
}

func (c *campus) try(m protoreflect.MethodDescriptor) {
	c.t.Helper()
	name := "/" + string(m.Parent().FullName()) + "/" + string(m.Name())
	a := auth.AccessOf(name)
	answers := auth.AnswersOf(a)
	want := func(what, token string, answer *labv1.ErrorReason, byRun bool) {
		c.t.Helper()
		got := c.call(name, m, c.request(m, a, byRun), token)
		if answer == nil {
			if aboutTheCaller(got) {
				c.t.Errorf("%s, %s: %s; its definition lets it pass", name, what, got)
			}
			return
		}
		if reason := strings.TrimPrefix(answer.String(), "ERROR_REASON_"); got != reason {
			c.t.Errorf("%s, %s: %s, and by its definition %s", name, what, got, reason)
		}
	}
	want("without a token", "", answers.NoToken, false)
	want("with what is no token", c.tokens["malformed"], answers.Malformed, false)
	want("with a token that nobody has", c.tokens["wrong"], answers.Wrong, false)
	want("with a wrong secret", c.tokens["wrong secret"], answers.Wrong, false)
	want("with an expired token", c.tokens["expired"], answers.Expired, false)
	want("with a token taken back", c.tokens["revoked"], answers.Revoked, false)
	want("by one who may less", c.tokens[weaker(a.GetPermission())], answers.Weaker, a.GetLab() == "")
	if a.GetLab() != "" {
		want("about another's lab", c.tokens["bob"], answers.Stranger, false)
		c.tryMembers(name, m, a, answers)
	}
	if a.GetRun() != "" {
		stranger := labv1.ErrorReason_ERROR_REASON_RUN_NOT_FOUND
		want("about another's run", c.tokens["bob"], &stranger, true)
	}
	if a.GetPermission() == labv1.Permission_PERMISSION_DAEMON {
		want("by an administrator", c.tokens["admin"], answers.Weaker, false)
		return
	}
	// Of nothing that is there, so that nothing is changed.
	if got := c.call(name, m, c.request(m, &labv1.Access{}, false), c.tokens[right(a.GetPermission())]); aboutTheCaller(got) {
		c.t.Errorf("%s, by one who may: %s", name, got)
	}
}
