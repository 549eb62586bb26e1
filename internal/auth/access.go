package auth

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	labv1 "labd.dev/proto/lab/v1"
)

// AccessOf is what a call, "/lab.v1.LabService/GetLab", asks of its caller; nil if its definition does not say, or there is
// no such call: it is then for nobody.
func AccessOf(method string) *labv1.Access {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil
	}
	s, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil
	}
	m := s.Methods().ByName(protoreflect.Name(name))
	if m == nil || !proto.HasExtension(m.Options(), labv1.E_Access) {
		return nil
	}
	return proto.GetExtension(m.Options(), labv1.E_Access).(*labv1.Access)
}

// AnswersOf is what a call comes to that lacks what it asks for: the permission's answers, and over them the call's own.
func AnswersOf(a *labv1.Access) *labv1.Answers {
	answers := &labv1.Answers{}
	value := a.GetPermission().Descriptor().Values().ByNumber(a.GetPermission().Number())
	if value != nil && proto.HasExtension(value.Options(), labv1.E_Answers) {
		proto.Merge(answers, proto.GetExtension(value.Options(), labv1.E_Answers).(*labv1.Answers))
	}
	proto.Merge(answers, a.GetAnswers())
	return answers
}

// Short is a call's name without its package, "LabService.DeleteLab".
func Short(method string) string {
	_, short, _ := strings.Cut(strings.TrimPrefix(method, "/"), ".v1.")
	return strings.Replace(short, "/", ".", 1)
}

// Denied tells a caller that a call is not for them, and why.
type Denied struct{ Why string }

func (d *Denied) Error() string { return d.Why }

func denied(format string, args ...any) error { return &Denied{Why: fmt.Sprintf(format, args...)} }

// Allowed tells whether a caller's role and the scope of the token allow a call at all; what the call names may still be
// somebody else's. The error is a *Denied.
func Allowed(c Caller, a *labv1.Access) error {
	p := a.GetPermission()
	switch {
	case p == labv1.Permission_PERMISSION_ANYONE:
		return nil
	case c.Role == labv1.Role_ROLE_UNSPECIFIED:
		return denied("%s is for people whom this labd knows", c.Method)
	case p == labv1.Permission_PERMISSION_UNSPECIFIED || p >= labv1.Permission_PERMISSION_DAEMON:
		return denied("%s is for servers and workers", c.Method)
	case p > MostOf(c.Role):
		return denied("%s is for %s; %s is %s", c.Method, whoMay(p), c.Person, RoleName(c.Role))
	}
	return c.Scope.allows(c.Method, a)
}

// MostOf is the greatest permission that people of a role may have.
func MostOf(r labv1.Role) labv1.Permission {
	switch r {
	case Admin:
		return labv1.Permission_PERMISSION_ADMIN
	case Instructor:
		return labv1.Permission_PERMISSION_INSTRUCTOR
	case Student:
		return labv1.Permission_PERMISSION_OWNER
	}
	return labv1.Permission_PERMISSION_UNSPECIFIED
}

func whoMay(p labv1.Permission) string {
	if p == labv1.Permission_PERMISSION_ADMIN {
		return "administrators"
	}
	return "instructors"
}

// RoleName is a role in words: "student".
func RoleName(r labv1.Role) string { return nameOf(r.String(), "ROLE_") }

// PermissionName is a permission in a word: "viewer".
func PermissionName(p labv1.Permission) string { return nameOf(p.String(), "PERMISSION_") }

func nameOf(name, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(name, prefix))
}

// ParseRole reads a role's name.
func ParseRole(name string) (labv1.Role, error) {
	switch r := labv1.Role(labv1.Role_value["ROLE_"+strings.ToUpper(name)]); {
	case r == labv1.Role_ROLE_UNSPECIFIED:
		return r, fmt.Errorf("%q is no role: there are student, instructor and admin", name)
	default:
		return r, nil
	}
}
