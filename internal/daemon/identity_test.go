package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"labd.dev/client"
	"labd.dev/internal/auth"
	"labd.dev/internal/runbook"
	labv1 "labd.dev/proto/lab/v1"
)

// school is a labd that asks who calls, and some of its people.
type school struct {
	t     *testing.T
	d     *Daemon
	admin *client.Client
	file  string
	log   *lockedBuffer
}

// lockedBuffer takes what several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newSchool(t *testing.T) *school {
	t.Helper()
	s := &school{t: t, file: filepath.Join(t.TempDir(), "first"), log: &lockedBuffer{}}
	s.open(t.TempDir())
	return s
}

func (s *school) open(dir string) {
	s.t.Helper()
	s.d = start(s.t, Config{DataDir: dir, Listen: "127.0.0.1:0", Identity: IdentityConfig{Auth: AuthOn, TokenFile: s.file},
		Logger: slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	eventually(s.t, "the first administrator's token", func() bool { _, err := os.Stat(s.file); return err == nil })
	text, err := os.ReadFile(s.file)
	if err != nil {
		s.t.Fatal(err)
	}
	s.admin = s.as(strings.TrimSpace(string(text)))
}

// as is a client that shows a token.
func (s *school) as(token string) *client.Client {
	s.t.Helper()
	c, err := client.Open(client.Options{Servers: []string{s.d.Addr()}, Token: token})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// enrol takes in a person and gives a client of that person's.
func (s *school) enrol(name string, role labv1.Role) *client.Client {
	s.t.Helper()
	token := auth.NewToken()
	r, err := s.admin.Users.ImportUsers(s.t.Context(), &labv1.ImportUsersRequest{RequestId: client.RequestID(), Users: []*labv1.NewUser{
		{Name: name, Role: role, Section: "tue", Token: &labv1.NewToken{Id: token.ID, Sha256: token.Hash()}}}})
	if err != nil || !r.GetUsers()[0].GetTokenGiven() {
		s.t.Fatal(r, err)
	}
	return s.as(token.Text())
}

// give gives a caller one more token.
func give(t *testing.T, c *client.Client, user string, shape *labv1.NewToken) (auth.Token, error) {
	t.Helper()
	token := auth.NewToken()
	shape.Id, shape.Sha256 = token.ID, token.Hash()
	_, err := c.Tokens.CreateToken(t.Context(), &labv1.CreateTokenRequest{RequestId: client.RequestID(), User: user, Token: shape})
	return token, err
}

func whoAmI(t *testing.T, c *client.Client) (string, error) {
	t.Helper()
	r, err := c.Users.WhoAmI(t.Context(), &labv1.WhoAmIRequest{})
	return r.GetUser().GetName(), err
}

func wantReason(t *testing.T, what string, err error, want labv1.ErrorReason) {
	t.Helper()
	var e *client.Error
	if name := strings.TrimPrefix(want.String(), "ERROR_REASON_"); !errors.As(err, &e) || e.Reason != name {
		t.Errorf("%s: %v, want %s", what, err, name)
	}
}

// The first administrator's token is made once, into a file that nobody else reads, and survives a restart.
func TestFirstAdministrator(t *testing.T) {
	dir := t.TempDir()
	s := &school{t: t, file: filepath.Join(t.TempDir(), "first"), log: &lockedBuffer{}}
	s.open(dir)
	if who, err := whoAmI(t, s.admin); who != "admin" || err != nil {
		t.Fatal(who, err)
	}
	info, err := os.Stat(s.file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the token's file: %v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	stop(t, s.d)
	os.Remove(s.file)
	s.d = start(t, Config{DataDir: dir, Listen: "127.0.0.1:0", Identity: IdentityConfig{TokenFile: s.file}}) // auto: it asks, since it knows somebody
	if who, err := whoAmI(t, s.as(strings.TrimSpace(string(text)))); who != "admin" || err != nil {
		t.Error("after a restart:", who, err)
	}
	_, err = whoAmI(t, s.as(""))
	wantReason(t, "without a token, after a restart without --auth on", err, labv1.ErrorReason_ERROR_REASON_TOKEN_MISSING)
	if _, err := os.Stat(s.file); err == nil {
		t.Error("a second token was made")
	}
	stop(t, s.d)

	var out lockedBuffer
	s.d = start(t, Config{DataDir: dir, Listen: "127.0.0.1:0", Identity: IdentityConfig{Renew: true, Out: &out}})
	eventually(t, "a new token is shown", func() bool { return strings.Contains(out.String(), "labd_") })
	fresh := out.String()[strings.Index(out.String(), "labd_"):]
	if who, err := whoAmI(t, s.as(strings.Fields(fresh)[0])); who != "admin" || err != nil {
		t.Error("the token made anew:", who, err)
	}
	_, err = whoAmI(t, s.as(strings.TrimSpace(string(text))))
	wantReason(t, "the token that was lost", err, labv1.ErrorReason_ERROR_REASON_TOKEN_REVOKED)
}

// Who reaches labd from elsewhere is asked who they are; nobody can turn that off.
func TestIdentityOffLoopback(t *testing.T) {
	_, err := Start(Config{Listen: "0.0.0.0:0", Identity: IdentityConfig{Auth: AuthOff}})
	if err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Error("off loopback without TLS:", err)
	}
	p := newPKI(t)
	_, err = Start(Config{Listen: "0.0.0.0:0", Security: p.security(p.daemon), Identity: IdentityConfig{Auth: AuthOff}})
	if err == nil || !strings.Contains(err.Error(), "--auth off") {
		t.Error("off loopback without tokens:", err)
	}
	_, err = Start(Config{Listen: "127.0.0.1:0", NoWorker: true, Cluster: &ClusterConfig{Expect: 1}, Identity: IdentityConfig{Auth: AuthOn}})
	if err == nil || !strings.Contains(err.Error(), "certificates between") {
		t.Error("a cluster with tokens and without certificates:", err)
	}
	d := start(t, Config{Listen: "0.0.0.0:0", Security: p.security(p.daemon)})
	_, port, _ := strings.Cut(d.Addr()[strings.LastIndex(d.Addr(), ":"):], ":")
	c, err := client.Open(client.Options{Servers: []string{"127.0.0.1:" + port}, TLS: &p.client})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Labs.ListLabs(t.Context(), &labv1.ListLabsRequest{})
	wantReason(t, "with a certificate and no token", err, labv1.ErrorReason_ERROR_REASON_TOKEN_MISSING)
}

// People show a token over TLS and need no certificate; what is between daemons needs theirs, whatever the token.
func TestPeopleNeedNoCertificate(t *testing.T) {
	p := newPKI(t)
	file := filepath.Join(t.TempDir(), "first")
	d := start(t, Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0", NoWorker: true, Security: p.security(p.daemon), Cluster: &ClusterConfig{Expect: 1},
		Identity: IdentityConfig{Auth: AuthOn, TokenFile: file}})
	var text []byte
	eventually(t, "the first administrator's token", func() (there bool) { text, _ = os.ReadFile(file); return len(text) > 0 })
	dial := func() *client.Client {
		f := p.client
		f.Cert, f.Key = "", ""
		c, err := client.Open(client.Options{Servers: []string{d.Addr()}, TLS: &f, Token: strings.TrimSpace(string(text))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	if who, err := whoAmI(t, dial()); who != "admin" || err != nil {
		t.Error("without a certificate:", who, err)
	}
	// A worker is one by its certificate, also here.
	w, err := StartWorker(WorkerConfig{Name: "w1", Listen: "127.0.0.1:0", Servers: []string{d.Addr()}, Security: p.security(p.daemon)})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop(context.Background())
	eventually(t, "the worker registers", func() bool {
		r, err := dial().Workers.ListWorkers(t.Context(), &labv1.ListWorkersRequest{})
		return err == nil && len(r.GetWorkers()) == 1
	})
}

// A token is not sent where others could read it.
func TestTokenIsNotSentInTheClear(t *testing.T) {
	_, err := client.Open(client.Options{Servers: []string{"labs.example:7070"}, Token: auth.NewToken().Text()})
	if err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Error(err)
	}
}

// A token's life: it is made, gets another secret, is taken back together with what was made with it, or expires.
func TestTokens(t *testing.T) {
	s := newSchool(t)
	bob := s.enrol("bob", auth.Student)
	second, err := give(t, bob, "", &labv1.NewToken{Label: "laptop", LifetimeS: 3600})
	if err != nil {
		t.Fatal(err)
	}
	laptop := s.as(second.Text())
	third, err := give(t, laptop, "", &labv1.NewToken{LifetimeS: 1800, Scope: &labv1.TokenScope{Most: labv1.Permission_PERMISSION_VIEWER}})
	if err != nil {
		t.Fatal(err)
	}
	phone := s.as(third.Text())
	for what, shape := range map[string]*labv1.NewToken{
		"one that lasts for longer": {LifetimeS: 7200}, "one that lasts for ever": {},
	} {
		_, err := give(t, laptop, "", shape)
		wantReason(t, what, err, labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED)
	}
	_, err = give(t, phone, "", &labv1.NewToken{LifetimeS: 60})
	wantReason(t, "one that may do more", err, labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED)
	_, err = give(t, bob, "admin", &labv1.NewToken{})
	wantReason(t, "one for another", err, labv1.ErrorReason_ERROR_REASON_USER_NOT_FOUND)
	_, err = phone.Tokens.RotateToken(t.Context(), &labv1.RotateTokenRequest{RequestId: client.RequestID(), Id: second.ID, Sha256: second.Hash()})
	wantReason(t, "a secret for one that may do more", err, labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED)

	fresh := auth.Rotated(second.ID)
	if _, err := laptop.Tokens.RotateToken(t.Context(), &labv1.RotateTokenRequest{RequestId: client.RequestID(), Sha256: fresh.Hash(), GraceS: 60}); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]*client.Client{"the new secret": s.as(fresh.Text()), "the old one, within its grace": laptop} {
		if who, err := whoAmI(t, c); who != "bob" || err != nil {
			t.Errorf("%s: %s, %v", what, who, err)
		}
	}
	newest := auth.Rotated(second.ID)
	if _, err := laptop.Tokens.RotateToken(t.Context(), &labv1.RotateTokenRequest{RequestId: client.RequestID(), Sha256: newest.Hash()}); err != nil {
		t.Fatal(err)
	}
	for _, old := range []auth.Token{second, fresh} {
		_, err := whoAmI(t, s.as(old.Text()))
		wantReason(t, "an old secret", err, labv1.ErrorReason_ERROR_REASON_TOKEN_WRONG)
	}
	r, err := bob.Tokens.RevokeToken(t.Context(), &labv1.RevokeTokenRequest{RequestId: client.RequestID(), Id: second.ID})
	if err != nil || len(r.GetIds()) != 2 {
		t.Fatal(r, err)
	}
	for _, gone := range []auth.Token{newest, third} {
		_, err := whoAmI(t, s.as(gone.Text()))
		wantReason(t, "a token taken back", err, labv1.ErrorReason_ERROR_REASON_TOKEN_REVOKED)
	}
	if who, err := whoAmI(t, bob); who != "bob" || err != nil {
		t.Error("the token that the others were made with:", who, err)
	}
}

// Instructors have students, administrators everybody, and one administrator stays.
func TestWhoManagesWhom(t *testing.T) {
	s := newSchool(t)
	ivy := s.enrol("ivy", auth.Instructor)
	s.enrol("ben", auth.Instructor)
	bob := s.enrol("bob", auth.Student)
	role := func(c *client.Client, name string, r labv1.Role) error {
		_, err := c.Users.UpdateUser(t.Context(), &labv1.UpdateUserRequest{RequestId: client.RequestID(), User: name, Role: r})
		return err
	}
	remove := func(c *client.Client, name string) error {
		_, err := c.Users.RemoveUser(t.Context(), &labv1.RemoveUserRequest{RequestId: client.RequestID(), User: name})
		return err
	}
	notAllowed := labv1.ErrorReason_ERROR_REASON_NOT_ALLOWED
	wantReason(t, "a student makes an instructor", role(bob, "bob", auth.Instructor), notAllowed)
	wantReason(t, "an instructor makes an instructor", role(ivy, "bob", auth.Instructor), notAllowed)
	wantReason(t, "an instructor removes another", remove(ivy, "ben"), notAllowed)
	wantReason(t, "an instructor promotes herself", role(ivy, "ivy", auth.Admin), notAllowed)
	_, err := give(t, ivy, "admin", &labv1.NewToken{})
	wantReason(t, "an instructor makes an administrator's token", err, notAllowed)
	wantReason(t, "the last administrator goes", remove(s.admin, "admin"), labv1.ErrorReason_ERROR_REASON_LAST_ADMIN)
	wantReason(t, "the last administrator is one no more", role(s.admin, "admin", auth.Student), labv1.ErrorReason_ERROR_REASON_LAST_ADMIN)
	if token, err := give(t, ivy, "bob", &labv1.NewToken{Label: "lost the other"}); err != nil {
		t.Error("an instructor gives a student a token:", err)
	} else if who, err := whoAmI(t, s.as(token.Text())); who != "bob" || err != nil {
		t.Error(who, err)
	}
	if err := remove(ivy, "bob"); err != nil {
		t.Error(err)
	}
	_, err = whoAmI(t, bob)
	wantReason(t, "who was removed", err, labv1.ErrorReason_ERROR_REASON_TOKEN_REVOKED)
	again, err := s.admin.Users.ImportUsers(t.Context(), &labv1.ImportUsersRequest{RequestId: client.RequestID(), Users: []*labv1.NewUser{{Name: "bob"}}})
	if err != nil || again.GetUsers()[0].GetOutcome() != labv1.ImportedUser_OUTCOME_RETURNED {
		t.Error(again, err)
	}
	_, err = whoAmI(t, bob)
	wantReason(t, "the old token of who is back", err, labv1.ErrorReason_ERROR_REASON_TOKEN_REVOKED)
}

// A roster is taken in as a whole or not at all, and taking it in twice changes nothing.
func TestImportIsWhole(t *testing.T) {
	s := newSchool(t)
	ask := &labv1.ImportUsersRequest{RequestId: client.RequestID(), Users: []*labv1.NewUser{{Name: "ann", Section: "tue"}, {Name: "bob", Section: "tue"}, {Name: "Cleo"}}}
	_, err := s.admin.Users.ImportUsers(t.Context(), ask)
	wantReason(t, "a bad name", err, labv1.ErrorReason_ERROR_REASON_INVALID)
	ask.Users[2].Name = "bob"
	_, err = s.admin.Users.ImportUsers(t.Context(), ask)
	wantReason(t, "a name twice", err, labv1.ErrorReason_ERROR_REASON_INVALID)
	users := func() int {
		r, err := s.admin.Users.ListUsers(t.Context(), &labv1.ListUsersRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return len(r.GetUsers())
	}
	if n := users(); n != 1 {
		t.Errorf("%d people after imports that were refused", n)
	}
	ask.Users = ask.Users[:2]
	ask.DryRun = true
	if r, err := s.admin.Users.ImportUsers(t.Context(), ask); err != nil || len(r.GetUsers()) != 2 || users() != 1 {
		t.Error("a dry run:", r, err, users())
	}
	ask.DryRun = false
	for range 2 {
		if r, err := s.admin.Users.ImportUsers(t.Context(), ask); err != nil || r.GetUsers()[0].GetOutcome() != labv1.ImportedUser_OUTCOME_CREATED {
			t.Error("the same request:", r, err)
		}
	}
	ask.RequestId, ask.RemoveMissing = client.RequestID(), true
	ask.Users = ask.Users[:1]
	r, err := s.admin.Users.ImportUsers(t.Context(), ask)
	if err != nil || len(r.GetUsers()) != 2 || r.GetUsers()[0].GetOutcome() != labv1.ImportedUser_OUTCOME_UNCHANGED || r.GetUsers()[1].GetOutcome() != labv1.ImportedUser_OUTCOME_REMOVED {
		t.Error(r, err)
	}
	if n := users(); n != 2 {
		t.Errorf("%d people", n)
	}
}

// Whose owner was removed, a lab goes on as it is: others may be in it.
func TestOwnerIsRemovedWhileTheLabRuns(t *testing.T) {
	s := newSchool(t)
	bob := s.enrol("bob", auth.Student)
	if _, err := bob.Labs.CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: client.RequestID(), Spec: twoHosts("arena", labv1.Clock_CLOCK_REAL)}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.Users.RemoveUser(t.Context(), &labv1.RemoveUserRequest{RequestId: client.RequestID(), User: "bob"}); err != nil {
		t.Fatal(err)
	}
	_, err := bob.Labs.ListLabs(t.Context(), &labv1.ListLabsRequest{})
	wantReason(t, "who was removed", err, labv1.ErrorReason_ERROR_REASON_TOKEN_REVOKED)
	r, err := s.admin.Labs.ListLabs(t.Context(), &labv1.ListLabsRequest{})
	if err != nil || len(r.GetLabs()) != 1 || r.GetLabs()[0].GetState() != labv1.LabState_LAB_STATE_RUNNING {
		t.Error(r, err)
	}
}

// A call that lasts ends when its token is taken back.
func TestRevocationEndsStreams(t *testing.T) {
	s := newSchool(t)
	bob := s.enrol("bob", auth.Student)
	made, err := bob.Labs.CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: client.RequestID(), Spec: twoHosts("arena", labv1.Clock_CLOCK_REAL)})
	if err != nil {
		t.Fatal(err)
	}
	stream, err := bob.Watches.WatchLabs(t.Context(), &labv1.WatchLabsRequest{IntervalMs: 50})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.admin.Users.RemoveUser(t.Context(), &labv1.RemoveUserRequest{RequestId: client.RequestID(), User: "bob"}); err != nil {
		t.Fatal(err)
	}
	// What follows would be told, to who may be told.
	if _, err := s.admin.Labs.DeleteLab(t.Context(), &labv1.DeleteLabRequest{RequestId: client.RequestID(), Lab: theirs("bob", made.GetLab().GetName())}); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = stream.Recv() // what was sent before
	}
	wantReason(t, "the stream", err, labv1.ErrorReason_ERROR_REASON_TOKEN_REVOKED)
}

// Wrong tokens are answered so often; then who sends them waits, and who is known there works on.
func TestLockedOut(t *testing.T) {
	s := newSchool(t)
	bob := s.enrol("bob", auth.Student)
	if _, err := whoAmI(t, bob); err != nil {
		t.Fatal(err)
	}
	guess := s.as(auth.NewToken().Text())
	for range 10 {
		_, err := whoAmI(t, guess)
		wantReason(t, "a wrong token", err, labv1.ErrorReason_ERROR_REASON_TOKEN_WRONG)
	}
	whoAmI(t, guess)
	_, err := whoAmI(t, guess)
	wantReason(t, "the twelfth wrong token", err, labv1.ErrorReason_ERROR_REASON_LOCKED_OUT)
	runbook.Says(t, "an address is locked out", err.Error())
	for range 100 {
		whoAmI(t, s.as("labd_x"))
	}
	_, err = whoAmI(t, s.as("labd_x"))
	wantReason(t, "from an address of many wrong tokens", err, labv1.ErrorReason_ERROR_REASON_LOCKED_OUT)
	if who, err := whoAmI(t, bob); who != "bob" || err != nil {
		t.Error("who is known at that address:", who, err)
	}
}

// Whatever is done with tokens, none gets into the log, into an error or into the audit.
func TestTokensAreNeverLogged(t *testing.T) {
	s := newSchool(t)
	bob := s.enrol("bob", auth.Student)
	token, err := give(t, bob, "", &labv1.NewToken{})
	if err != nil {
		t.Fatal(err)
	}
	wrong := auth.NewToken()
	var said []string
	for _, text := range []string{token.Text(), wrong.Text(), wrong.Text()[:40]} {
		c := s.as(text)
		for _, err := range []error{
			func() error { _, err := whoAmI(t, c); return err }(),
			func() error { _, err := c.Labs.GetLab(t.Context(), &labv1.GetLabRequest{Lab: "none"}); return err }(),
			func() error { _, err := c.Cluster.ListMembers(t.Context(), &labv1.ListMembersRequest{}); return err }(),
		} {
			if err != nil {
				said = append(said, err.Error())
			}
		}
	}
	for _, e := range audit(t, s.admin, &labv1.ListAuditRequest{}) {
		said = append(said, e.String())
	}
	said = append(said, s.log.String())
	for _, text := range []string{token.Text(), wrong.Text()} {
		if secret := text[16:40]; strings.Contains(strings.Join(said, "\n"), secret) {
			t.Error("a secret was told")
		}
	}
	if len(said) < 6 || !strings.Contains(s.log.String(), "WhoAmI") {
		t.Error("nothing was looked through")
	}
	// Nor is it in what is kept on disk.
	found := filesWith(t, s.d.DataDir(), token.Text()[16:48])
	if len(found) > 0 {
		t.Errorf("the secret is in %v", found)
	}
}

func filesWith(t *testing.T, dir, text string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func audit(t *testing.T, c *client.Client, req *labv1.ListAuditRequest) []*labv1.AuditEntry {
	t.Helper()
	stream, err := c.Audit.ListAudit(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	var all []*labv1.AuditEntry
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m.GetEntries()...)
	}
}

// Each change leaves who, when, from where, what and what came of it; so does a refusal. Students are told their own.
func TestAudit(t *testing.T) {
	s := newSchool(t)
	before := time.Now()
	bob, ann := s.enrol("bob", auth.Student), s.enrol("ann", auth.Student)
	if _, err := bob.Labs.CreateLab(t.Context(), &labv1.CreateLabRequest{RequestId: client.RequestID(), Spec: twoHosts("arena", labv1.Clock_CLOCK_REAL)}); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Cluster.RemoveMember(t.Context(), &labv1.RemoveMemberRequest{Server: "x"}); err == nil {
		t.Fatal("a student removed a server")
	}
	var of []*labv1.AuditEntry
	eventually(t, "the refusal is noted", func() bool {
		of = audit(t, s.admin, &labv1.ListAuditRequest{User: "bob"})
		return len(of) == 2
	})
	made, refused := of[0], of[1]
	if made.GetMethod() != "LabService.CreateLab" || made.GetResult() != "OK" || !strings.HasSuffix(made.GetLab(), "arena") || made.GetFrom() != "127.0.0.1" ||
		made.GetToken() == "" || made.GetAt().AsTime().Before(before) {
		t.Error(made)
	}
	if refused.GetMethod() != "ClusterService.RemoveMember" || refused.GetResult() != "NOT_ALLOWED" || refused.GetDetail() == "" {
		t.Error(refused)
	}
	if got := audit(t, bob, &labv1.ListAuditRequest{}); len(got) != 2 {
		t.Error("bob's own:", got)
	}
	if got := audit(t, ann, &labv1.ListAuditRequest{User: "bob"}); len(got) != 0 {
		t.Error("ann is told of bob:", got)
	}
	if got := audit(t, s.admin, &labv1.ListAuditRequest{User: "bob", Refused: true}); len(got) != 1 {
		t.Error("refusals:", got)
	}
}
