package auth

import labv1 "labd.dev/proto/lab/v1"

// Scope narrows what a token allows below what its person may. The zero Scope narrows nothing.
type Scope struct {
	Most labv1.Permission // the greatest permission that the token gives; 0: its person's
	Lab  string           // OWNER/NAME, the only lab that the token is for; empty: all
}

// allows tells whether a call is within the scope, but for which lab it names: whoever finds the lab asks Covers.
func (s Scope) allows(method string, a *labv1.Access) error {
	p := a.GetPermission()
	if s.Most != 0 && p > s.Most {
		return denied("%s asks for %s; this token gives no more than %s", method, PermissionName(p), PermissionName(s.Most))
	}
	names := a.GetLab() != "" || a.GetRun() != ""
	if s.Lab != "" && !names && p >= labv1.Permission_PERMISSION_OWNER {
		return denied("%s is not about lab %s, which is all that this token is for", method, s.Lab)
	}
	return nil
}

// Covers tells whether the scope lets a token reach a lab or a run.
func (s Scope) Covers(owner, name string) bool { return s.Lab == "" || s.Lab == owner+"/"+name }

// Within tells whether a scope allows nothing that another does not.
func (s Scope) Within(other Scope) bool {
	return (other.Most == 0 || s.Most != 0 && s.Most <= other.Most) && (other.Lab == "" || s.Lab == other.Lab)
}
