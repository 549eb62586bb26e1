package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"labd.dev/client"
	"labd.dev/internal/auth"
	labv1 "labd.dev/proto/lab/v1"
)

// eachAudited visits every call that is to be found in the audit.
func eachAudited(visit func(name string, m protoreflect.MethodDescriptor, a *labv1.Access)) {
	protoregistry.GlobalFiles.RangeFilesByPackage("lab.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				name := "/" + string(s.FullName()) + "/" + string(m.Name())
				if a := auth.AccessOf(name); a.GetAudited() {
					visit(name, m, a)
				}
			}
		}
		return true
	})
}

// Every call that is to be found in the audit is made in vain, by somebody who may and by somebody who may not: each leaves who,
// from where, what, and why it came to nothing.
func TestEveryRefusalIsAudited(t *testing.T) {
	c := newCampus(t)
	began := time.Now()
	type attempt struct{ call, who, reason string }
	wanted := make(map[string]attempt) // by address
	calls := 0
	settle := func() {
		t.Helper()
		eventually(t, "the refusals are noted", func() bool {
			for _, e := range audit(t, c.admin, &labv1.ListAuditRequest{}) {
				w, ok := wanted[e.GetFrom()]
				if !ok || e.GetDetail() == "asked for" { // what came of it follows
					continue
				}
				if e.GetMethod() != w.call || e.GetUser() != w.who || e.GetResult() != w.reason || e.GetToken() == "" || !e.GetAt().IsValid() {
					t.Errorf("%+v has left %v", w, e)
				}
				if w.reason != "OK" && e.GetDetail() == "" {
					t.Errorf("%+v: the entry does not say why", w)
				}
				delete(wanted, e.GetFrom())
			}
			return len(wanted) == 0
		})
	}
	try := func(name, who, shows string, m protoreflect.MethodDescriptor, req proto.Message) {
		got := c.call(name, m, req, c.tokens[shows])
		wanted[fmt.Sprintf("10.0.%d.%d", c.sources>>8, c.sources&255)] = attempt{auth.Short(name), who, got}
		if calls++; calls%15 == 0 {
			settle() // only so many are noted at a time
		}
	}
	eachAudited(func(name string, m protoreflect.MethodDescriptor, a *labv1.Access) {
		nothing := c.request(m, &labv1.Access{}, false).ProtoReflect()
		for _, path := range []string{a.GetLab(), a.GetRun()} {
			if path != "" {
				setPath(nothing, path, "ann/nothing")
			}
		}
		try(name, "admin", "admin", m, nothing.Interface())
		shows, who := weaker(a.GetPermission()), "ann"
		if shows == "at most person" {
			return // whoever is known may make the call
		}
		if shows == "ivy" {
			who = "ivy"
		}
		try(name, who, shows, m, c.request(m, a, a.GetLab() == ""))
	})
	settle()
	entries := make(map[string]int) // by address
	for _, e := range audit(t, c.admin, &labv1.ListAuditRequest{}) {
		if entries[e.GetFrom()]++; entries[e.GetFrom()] > 1 && strings.HasPrefix(e.GetFrom(), "10.0.") && e.GetDetail() != "asked for" &&
			e.GetMethod() != "ClusterService.TransferLeadership" && !e.GetAt().AsTime().Before(began) {
			t.Errorf("one refusal is noted twice: %v", e)
		}
	}
	if calls < 60 {
		t.Errorf("only %d calls were made", calls)
	}
}

// Every call that changes something says so, and what is asked for under a request's id changes something.
func TestChangesAreAudited(t *testing.T) {
	protoregistry.GlobalFiles.RangeFilesByPackage("lab.v1", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			for j := range file.Services().Get(i).Methods().Len() {
				m := file.Services().Get(i).Methods().Get(j)
				a := auth.AccessOf("/" + string(m.Parent().FullName()) + "/" + string(m.Name()))
				changes := m.Input().Fields().ByName("request_id") != nil
				reads := strings.HasPrefix(string(m.Name()), "Get") || strings.HasPrefix(string(m.Name()), "List") || strings.HasPrefix(string(m.Name()), "Watch") ||
					slices.Contains([]protoreflect.Name{"WhoAmI", "MissingFiles", "CheckInstance", "ReadRunFile", "ReadRecords", "ReadReceived", "ReplayRun"}, m.Name())
				if changes && !a.GetAudited() || reads && a.GetAudited() || !reads && !a.GetAudited() {
					t.Errorf("%s: audited: %v", m.FullName(), a.GetAudited())
				}
			}
		}
		return true
	})
}

// Every call that is to be found in the audit is carried out, and found there: by whom, from where, in which lab or about what.
func TestEveryChangeIsAudited(t *testing.T) {
	c := newCampus(t)
	other := start(t, Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0", NoWorker: true, Security: c.p.security(c.p.daemon),
		Cluster: &ClusterConfig{Join: []string{c.d.Addr()}}, Identity: IdentityConfig{Auth: AuthOn}})
	joined := func() bool {
		r, err := c.admin.Cluster.ListMembers(t.Context(), &labv1.ListMembersRequest{})
		return err == nil && len(r.GetMembers()) == 2
	}
	eventually(t, "the second server joins", joined)
	s := &changes{t: t, campus: c, other: other, done: make(map[string]bool)}
	s.labs()
	s.people()
	s.class()
	s.cluster()
	left := make(map[string]bool)
	eachAudited(func(name string, _ protoreflect.MethodDescriptor, _ *labv1.Access) {
		if !s.done[auth.Short(name)] {
			left[name] = true
		}
	})
	if len(left) > 0 {
		t.Errorf("not made: %v", slices.Sorted(maps.Keys(left)))
	}
}

// changes makes calls and looks for their entries.
type changes struct {
	*campus
	t     *testing.T
	other *Daemon
	done  map[string]bool
}

// made holds a call that somebody has made to the entry that it has left. about is the lab, or what else it names.
func (s *changes) made(call, who, about string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", call, err)
	}
	s.done[call] = true
	for _, e := range audit(s.t, s.admin, &labv1.ListAuditRequest{User: who}) {
		if e.GetMethod() == call && e.GetResult() == "OK" && strings.Contains(e.GetLab()+" "+e.GetObject(), about) && e.GetFrom() == "127.0.0.1" &&
			e.GetToken() != "" && e.GetAt().IsValid() && time.Since(e.GetAt().AsTime()) < time.Hour {
			return
		}
	}
	s.t.Errorf("%s by %s about %s has left nothing: %v", call, who, about, audit(s.t, s.admin, &labv1.ListAuditRequest{User: who}))
}

func (s *changes) labs() {
	ctx, ann, bob, id := s.t.Context(), s.as("ann"), s.as("bob"), client.RequestID
	const lab = "ann/work"
	_, err := ann.Labs.CreateLab(ctx, &labv1.CreateLabRequest{RequestId: id(), Spec: twoHosts("work", labv1.Clock_CLOCK_REAL)})
	s.made("LabService.CreateLab", "ann", lab, err)
	more := twoHosts("work", labv1.Clock_CLOCK_REAL)
	more.Nodes = append(more.Nodes, &labv1.NodeSpec{Name: "z", Kind: labv1.NodeKind_NODE_KIND_HOST})
	_, err = ann.Labs.ApplyLab(ctx, &labv1.ApplyLabRequest{RequestId: id(), Spec: more})
	s.made("LabService.ApplyLab", "ann", lab, err)
	eventually(s.t, "the lab runs", func() bool {
		_, err = ann.Execs.CreateExec(ctx, &labv1.CreateExecRequest{RequestId: id(), Lab: "work", Command: &labv1.CreateExecRequest_Ping{Ping: &labv1.Ping{From: "a", To: "b", Count: 1}}})
		return err == nil
	})
	s.made("ExecService.CreateExec", "ann", lab, err)
	_, err = ann.Transfers.CreateTransfer(ctx, &labv1.CreateTransferRequest{RequestId: id(), Lab: "work", Kind: &labv1.CreateTransferRequest_Transfer{
		Transfer: &labv1.Transfer{From: "a", To: "b", Content: &labv1.Transfer_GeneratedBytes{GeneratedBytes: 1}}}})
	s.made("TransferService.CreateTransfer", "ann", lab, err)
	fault, err := ann.Faults.CreateFault(ctx, &labv1.CreateFaultRequest{RequestId: id(), Lab: "work", Fault: &labv1.Fault{Link: "a--b", Effect: &labv1.Fault_DelayNs{DelayNs: 1e6}}})
	s.made("FaultService.CreateFault", "ann", lab, err)
	_, err = ann.Faults.ClearFault(ctx, &labv1.ClearFaultRequest{RequestId: id(), Lab: "work", Fault: fault.GetId()})
	s.made("FaultService.ClearFault", "ann", lab, err)
	_, err = ann.Links.SetLink(ctx, &labv1.SetLinkRequest{RequestId: id(), Lab: "work", Set: &labv1.LinkSet{Link: "a->b", Patch: &labv1.DirectionPatch{DelayNs: new(int64(2e6))}}})
	s.made("LinkService.SetLink", "ann", lab, err)
	_, err = ann.Clocks.ControlClock(ctx, &labv1.ControlClockRequest{RequestId: id(), Lab: "work", Action: &labv1.ControlClockRequest_Pause{Pause: &labv1.PauseClock{}}})
	s.made("ClockService.ControlClock", "ann", lab, err)
	share := func(who string) error {
		_, err := ann.Sharing.ShareLab(ctx, &labv1.ShareLabRequest{RequestId: id(), Lab: "work", Member: &labv1.LabMember{Person: who, Role: labv1.LabRole_LAB_ROLE_VIEWER}})
		return err
	}
	s.made("SharingService.ShareLab", "ann", lab, share("bob"))
	_, err = bob.Sharing.LeaveLab(ctx, &labv1.LeaveLabRequest{RequestId: id(), Lab: lab})
	s.made("SharingService.LeaveLab", "bob", lab, err)
	if err := share("ivy"); err != nil {
		s.t.Fatal(err)
	}
	_, err = ann.Sharing.UnshareLab(ctx, &labv1.UnshareLabRequest{RequestId: id(), Lab: "work", Person: "ivy"})
	s.made("SharingService.UnshareLab", "ann", lab, err)
	run, err := ann.Runs.CreateRun(ctx, &labv1.CreateRunRequest{RequestId: id(), Name: "long", Spec: twoHosts("work", labv1.Clock_CLOCK_REAL), EndNs: 3600e9})
	s.made("RunService.CreateRun", "ann", "run", err)
	eventually(s.t, "the run can be interrupted", func() bool {
		_, err = ann.Runs.InterruptRun(ctx, &labv1.InterruptRunRequest{RequestId: id(), Run: run.GetRun().GetId()})
		return err == nil
	})
	s.made("RunService.InterruptRun", "ann", "ann/", err)
	_, err = ann.Runs.DeleteRun(ctx, &labv1.DeleteRunRequest{RequestId: id(), Run: run.GetRun().GetId()})
	s.made("RunService.DeleteRun", "ann", "ann/", err)
	file, _ := localFile(s.t, 1000)
	s.made("FileService.UploadFile", "ann", file.Ref.GetSha256(), ann.Upload(ctx, []*client.LocalFile{file}))
	_, err = ann.Labs.DeleteLab(ctx, &labv1.DeleteLabRequest{RequestId: id(), Lab: "work"})
	s.made("LabService.DeleteLab", "ann", "work", err)
}

func (s *changes) people() {
	ctx, id := s.t.Context(), client.RequestID
	_, err := s.admin.Users.ImportUsers(ctx, &labv1.ImportUsersRequest{RequestId: id(), Users: []*labv1.NewUser{{Name: "eve"}}})
	s.made("UserService.ImportUsers", "admin", "1 users", err)
	_, err = s.admin.Users.UpdateUser(ctx, &labv1.UpdateUserRequest{RequestId: id(), User: "eve", Section: proto.String("mon")})
	s.made("UserService.UpdateUser", "admin", "user eve", err)
	token, err := give(s.t, s.admin, "eve", &labv1.NewToken{})
	s.made("TokenService.CreateToken", "admin", "token "+token.ID+" of eve", err)
	_, err = s.admin.Tokens.RotateToken(ctx, &labv1.RotateTokenRequest{RequestId: id(), Id: token.ID, Sha256: auth.Rotated(token.ID).Hash()})
	s.made("TokenService.RotateToken", "admin", token.ID, err)
	_, err = s.admin.Tokens.RevokeToken(ctx, &labv1.RevokeTokenRequest{RequestId: id(), Id: token.ID})
	s.made("TokenService.RevokeToken", "admin", token.ID, err)
	_, err = s.admin.Quotas.SetQuota(ctx, &labv1.SetQuotaRequest{RequestId: id(), User: "eve", Limits: []*labv1.QuotaLimit{
		{Subject: labv1.QuotaSubject_QUOTA_SUBJECT_LABS, Bound: &labv1.QuotaLimit_AtMost{AtMost: 1}}}})
	s.made("QuotaService.SetQuota", "admin", "eve", err)
	_, err = s.admin.Users.RemoveUser(ctx, &labv1.RemoveUserRequest{RequestId: id(), User: "eve"})
	s.made("UserService.RemoveUser", "admin", "user eve", err)
}

func (s *changes) class() {
	ctx, ivy, bob, id := s.t.Context(), s.as("ivy"), s.as("bob"), client.RequestID
	_, err := ivy.Classes.PublishTemplate(ctx, &labv1.PublishTemplateRequest{RequestId: id(), Name: "lab1", Spec: twoHosts("lab1", labv1.Clock_CLOCK_REAL), Checks: []*labv1.Check{
		{Id: "none", Points: 1, Verb: &labv1.Check_Never{Never: &labv1.EventSelector{Event: "tcp:connection_started"}}}}})
	s.made("ClassService.PublishTemplate", "ivy", "template lab1", err)
	_, err = bob.Classes.StartInstance(ctx, &labv1.StartInstanceRequest{RequestId: id(), Template: "lab1"})
	s.made("ClassService.StartInstance", "bob", "template lab1", err)
	_, err = bob.Classes.ResetInstance(ctx, &labv1.ResetInstanceRequest{RequestId: id(), Template: "lab1"})
	s.made("ClassService.ResetInstance", "bob", "template lab1", err)
	eventually(s.t, "the lab can be handed in", func() bool {
		_, err = bob.Classes.SubmitInstance(ctx, &labv1.SubmitInstanceRequest{RequestId: id(), Template: "lab1"})
		return err == nil
	})
	s.made("ClassService.SubmitInstance", "bob", "template lab1", err)
	_, err = ivy.Classes.RegradeTemplate(ctx, &labv1.RegradeTemplateRequest{RequestId: id(), Template: "lab1"})
	s.made("ClassService.RegradeTemplate", "ivy", "template lab1", err)
	_, err = ivy.Classes.DeleteTemplate(ctx, &labv1.DeleteTemplateRequest{RequestId: id(), Template: "lab1", Force: true})
	s.made("ClassService.DeleteTemplate", "ivy", "template lab1", err)
}

func (s *changes) cluster() {
	ctx, id := s.t.Context(), client.RequestID
	_, err := s.admin.Workers.DrainWorker(ctx, &labv1.DrainWorkerRequest{RequestId: id(), Worker: "w1", Force: true})
	s.made("WorkerService.DrainWorker", "admin", "worker w1", err)
	_, err = s.admin.Workers.UndrainWorker(ctx, &labv1.UndrainWorkerRequest{RequestId: id(), Worker: "w1"})
	s.made("WorkerService.UndrainWorker", "admin", "worker w1", err)
	_, err = s.admin.Cluster.AddMember(ctx, &labv1.AddMemberRequest{Address: s.other.Addr()})
	s.made("ClusterService.AddMember", "admin", s.other.Addr(), err)
	for _, to := range []*Daemon{s.other, s.d} {
		eventually(s.t, "it votes, and may lead", func() bool {
			_, err = s.admin.Cluster.TransferLeadership(ctx, &labv1.TransferLeadershipRequest{Server: to.Addr()})
			return err == nil
		})
		s.made("ClusterService.TransferLeadership", "admin", to.Addr(), err)
		awaitWritable(s.t, to)
	}
	_, err = s.admin.Cluster.RemoveMember(ctx, &labv1.RemoveMemberRequest{Server: s.other.Addr(), Force: true})
	s.made("ClusterService.RemoveMember", "admin", s.other.Addr(), err)
	var saved bytes.Buffer
	s.made("ClusterService.ReadSnapshot", "admin", "", s.save(ctx, &saved))
	_, err = s.admin.Users.UpdateUser(ctx, &labv1.UpdateUserRequest{RequestId: id(), User: "bob", Section: proto.String("mon")})
	s.made("UserService.UpdateUser", "admin", "user bob", err)
	s.made("ClusterService.RestoreSnapshot", "admin", "", s.restore(ctx, &saved))
	s.made("UserService.UpdateUser", "admin", "user bob", nil) // is still there, though what it changed is not
}

func (s *changes) save(ctx context.Context, to io.Writer) error {
	in, err := s.admin.Cluster.ReadSnapshot(ctx, &labv1.ReadSnapshotRequest{})
	for err == nil {
		var m *labv1.ReadSnapshotResponse
		if m, err = in.Recv(); err == nil {
			_, err = to.Write(m.GetData())
		}
	}
	if err == io.EOF {
		err = nil
	}
	return err
}

func (s *changes) restore(ctx context.Context, from *bytes.Buffer) error {
	out, err := s.admin.Cluster.RestoreSnapshot(ctx)
	if err != nil {
		return err
	}
	for from.Len() > 0 {
		if err := out.Send(&labv1.RestoreSnapshotRequest{Data: from.Next(100 << 10)}); err != nil {
			return err
		}
	}
	_, err = out.CloseAndRecv()
	return err
}
