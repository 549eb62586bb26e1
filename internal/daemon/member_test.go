package daemon

import (
	"os"
	"strings"
	"testing"
)

// Workers of one host that are told nothing have names of their own.
func TestDefaultNames(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	for _, c := range []struct{ address, id, want string }{
		{"127.0.0.1:7411", "K3FQABCD", host + "-k3fq"},
		{"[::1]:7411", "AAAABBBB", host + "-aaaa"},
		{"10.1.2.3:7411", "K3FQABCD", host},
		{"w1.lab:7411", "K3FQABCD", host},
	} {
		if got, err := defaultName(c.address, c.id); got != c.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", c.address, got, err, c.want)
		}
	}
}
