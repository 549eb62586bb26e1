package auth_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"labd.dev/internal/auth"
	labv1 "labd.dev/proto/lab/v1"
	_ "labd.dev/proto/server/v1"
	_ "labd.dev/proto/worker/v1"
)

// eachMethod visits every call of every service of ours.
func eachMethod(visit func(name string, m protoreflect.MethodDescriptor)) {
	protoregistry.GlobalFiles.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		switch f.Package() {
		case "lab.v1", "server.v1", "worker.v1":
			for i := range f.Services().Len() {
				s := f.Services().Get(i)
				for j := range s.Methods().Len() {
					m := s.Methods().Get(j)
					visit("/"+string(s.FullName())+"/"+string(m.Name()), m)
				}
			}
		}
		return true
	})
}

// Every call says what it asks of its caller; what is between servers and workers is for nobody else.
func TestEveryCallDeclaresItsAccess(t *testing.T) {
	calls := 0
	eachMethod(func(name string, m protoreflect.MethodDescriptor) {
		calls++
		a := auth.AccessOf(name)
		if a.GetPermission() == labv1.Permission_PERMISSION_UNSPECIFIED {
			t.Errorf("%s declares no permission: option (lab.v1.access)", name)
			return
		}
		daemons := a.GetPermission() == labv1.Permission_PERMISSION_DAEMON
		if public := strings.HasPrefix(name, "/lab.v1."); public == daemons {
			t.Errorf("%s asks for %v", name, a.GetPermission())
		}
		for _, path := range paths(a) {
			if err := leadsToNames(m.Input(), path); err != "" {
				t.Errorf("%s: %q: %s", name, path, err)
			}
		}
	})
	if calls < 70 {
		t.Errorf("only %d calls found", calls)
	}
}

func paths(a *labv1.Access) []string {
	var all []string
	for _, p := range append([]string{a.GetLab(), a.GetRun()}, append(append(a.GetNodes(), a.GetViewed()...), a.GetLinks()...)...) {
		if p != "" {
			all = append(all, p)
		}
	}
	return all
}

// leadsToNames tells what is wrong with a field's path; empty: nothing.
func leadsToNames(m protoreflect.MessageDescriptor, path string) string {
	parts := strings.Split(path, ".")
	for i, part := range parts {
		f := m.Fields().ByName(protoreflect.Name(part))
		switch last := i == len(parts)-1; {
		case f == nil:
			return "there is no field " + part
		case last && f.Kind() != protoreflect.StringKind:
			return part + " is no string"
		case !last && f.Message() == nil:
			return part + " is no message"
		}
		m = f.Message()
	}
	return ""
}

// Each permission says what becomes of a call without it, and every role's people may do what those of the lesser ones may.
func TestPermissionsAreALadder(t *testing.T) {
	values := labv1.Permission(0).Descriptor().Values()
	for i := range values.Len() {
		p := labv1.Permission(values.Get(i).Number())
		a := &labv1.Access{Permission: p}
		answers := auth.AnswersOf(a)
		if open := p <= labv1.Permission_PERMISSION_ANYONE; open != (answers.NoToken == nil) {
			t.Errorf("%v without a token: %v", p, answers.NoToken)
		}
		for _, r := range []labv1.Role{auth.Student, auth.Instructor, auth.Admin} {
			want := p <= auth.MostOf(r) && p != labv1.Permission_PERMISSION_UNSPECIFIED
			if err := auth.Allowed(auth.Caller{Person: "p", Role: r}, a); (err == nil) != want {
				t.Errorf("%v asked of a %s: %v", p, auth.RoleName(r), err)
			}
		}
		if err := auth.Allowed(auth.Caller{}, a); (err == nil) != (p == labv1.Permission_PERMISSION_ANYONE) {
			t.Errorf("%v asked of nobody: %v", p, err)
		}
	}
}

// A call's own answers go before its permission's.
func TestAnswersOfACall(t *testing.T) {
	run := auth.AnswersOf(auth.AccessOf(labv1.RunService_GetRun_FullMethodName))
	if run.GetStranger() != labv1.ErrorReason_ERROR_REASON_RUN_NOT_FOUND || run.GetWrong() != labv1.ErrorReason_ERROR_REASON_TOKEN_WRONG {
		t.Errorf("GetRun: %v", run)
	}
	if auth.AccessOf("/lab.v1.LabService/NoSuchCall") != nil || auth.AccessOf("/grpc.health.v1.Health/Check") != nil || auth.AccessOf("x") != nil {
		t.Error("what declares nothing has an access")
	}
}

// A token gives no more than its scope, and what it makes is no more than itself.
func TestScopes(t *testing.T) {
	call := func(p labv1.Permission, lab string) *labv1.Access { return &labv1.Access{Permission: p, Lab: lab} }
	viewer := auth.Scope{Most: labv1.Permission_PERMISSION_VIEWER}
	arena := auth.Scope{Lab: "ann/arena"}
	for _, c := range []struct {
		scope auth.Scope
		call  *labv1.Access
		want  bool
	}{
		{auth.Scope{}, call(labv1.Permission_PERMISSION_OWNER, "lab"), true},
		{viewer, call(labv1.Permission_PERMISSION_VIEWER, "lab"), true},
		{viewer, call(labv1.Permission_PERMISSION_OPERATOR, "lab"), false},
		{arena, call(labv1.Permission_PERMISSION_OWNER, "lab"), true},
		{arena, call(labv1.Permission_PERMISSION_OWNER, ""), false},
		{arena, call(labv1.Permission_PERMISSION_VIEWER, ""), true},
		{arena, call(labv1.Permission_PERMISSION_ADMIN, ""), false},
	} {
		err := auth.Allowed(auth.Caller{Person: "ann", Role: auth.Admin, Scope: c.scope}, c.call)
		if (err == nil) != c.want {
			t.Errorf("scope %+v, call %v: %v", c.scope, c.call, err)
		}
	}
	if !arena.Covers("ann", "arena") || arena.Covers("bob", "arena") || !viewer.Covers("bob", "x") {
		t.Error("Covers")
	}
	both := auth.Scope{Most: viewer.Most, Lab: arena.Lab}
	if !both.Within(arena) || !both.Within(viewer) || !viewer.Within(auth.Scope{}) || viewer.Within(arena) || arena.Within(viewer) || (auth.Scope{}).Within(viewer) {
		t.Error("Within")
	}
}
