package daemon

import (
	"testing"

	labv1 "labd.dev/proto/lab/v1"
)

// Whatever a labd serves says to whom: a call that does not would be refused to everybody.
func TestEveryServedCallHasAnAccess(t *testing.T) {
	d, err := Start(Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, d) })
	calls := 0
	for service, info := range d.server.GetServiceInfo() {
		for _, m := range info.Methods {
			calls++
			if method := "/" + service + "/" + m.Name; accessOf(method).GetPermission() == labv1.Permission_PERMISSION_UNSPECIFIED {
				t.Errorf("nobody may call %s: it declares no access", method)
			}
		}
	}
	if calls < 40 {
		t.Errorf("only %d calls are served", calls)
	}
}
