package cluster

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"labd.dev/internal/tlsfiles"
)

// identity is what a cluster needs that asks who calls: certificates, and where the first administrator's token is.
type identity struct {
	files     tlsfiles.Files
	tokenFile string
}

func newIdentity(dir string) (*identity, error) {
	in := func(name string) string { return filepath.Join(dir, name) }
	i := &identity{files: tlsfiles.Files{CA: in("ca.crt"), Cert: in("labd.crt"), Key: in("labd.key")}, tokenFile: in("admin.token")}
	now := time.Now()
	ca, _, err := tlsfiles.OpenAuthority(i.files.CA, in("ca.key"), now)
	if err != nil {
		return nil, err
	}
	return i, ca.IssueTo(i.files.Cert, i.files.Key, "labd", []string{"127.0.0.1"}, tlsfiles.ForDaemon, now)
}

func (i *identity) tlsFlags() []string {
	return []string{"--tls.ca", i.files.CA, "--tls.cert", i.files.Cert, "--tls.key", i.files.Key}
}

func (i *identity) serverFlags() []string {
	return []string{"--auth", "on", "--bootstrap-token-file", i.tokenFile}
}

// forPeople has no certificate of a person's own: a token says who it is.
func (i *identity) forPeople() *tlsfiles.Files { return &tlsfiles.Files{CA: i.files.CA} }

// firstToken waits for the first administrator's token, which a server writes once it leads.
func (i *identity) firstToken() (token string, err error) {
	err = Await("the first administrator's token", func(context.Context) bool {
		text, err := os.ReadFile(i.tokenFile)
		token = strings.TrimSpace(string(text))
		return err == nil
	})
	return token, err
}
