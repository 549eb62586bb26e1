package daemon

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"labd.dev/internal/port"
	"labd.dev/orchestrator"
)

// Auth says whether callers are asked who they are.
type Auth string

const (
	AuthAuto Auth = "auto" // off loopback; on loopback as soon as there is a first administrator
	AuthOn   Auth = "on"
	AuthOff  Auth = "off" // whoever reaches it may do everything: on loopback only
)

// IdentityConfig says how people show who they are.
type IdentityConfig struct {
	Auth Auth // empty: AuthAuto
	// TokenFile gets the first administrator's token, once; empty: it is printed to Out.
	TokenFile string
	Out       io.Writer
	// Renew has the first administrator made again, because the tokens were lost.
	Renew bool
}

// asks tells whether callers are asked who they are.
func (d *Daemon) asks() (orchestrator.Ask, error) {
	conf := d.conf
	outside := conf.Listen != "" && !onLoopback(conf.Listen)
	switch conf.Identity.Auth {
	case "", AuthAuto:
		if !outside && !conf.Identity.Renew {
			return orchestrator.AskOnceKnown, nil
		}
	case AuthOff:
		if outside {
			return 0, fmt.Errorf("listen address %q is not on loopback: whoever reaches it would own every lab; leave --auth off away", conf.Listen)
		}
		return orchestrator.AskNever, nil
	case AuthOn:
	default:
		return 0, fmt.Errorf("auth: %q is none of auto, on, off", conf.Identity.Auth)
	}
	if conf.Cluster != nil && conf.Security == nil {
		return 0, errors.New("a cluster that asks people for tokens needs certificates between its servers and workers, on loopback too: " +
			"labctl tls init makes them, --tls.ca, --tls.cert and --tls.key name them")
	}
	return orchestrator.AskAlways, nil
}

// onLoopback tells whether an address to listen at is reached from its own machine only.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// forPeople is the security of a port at which people show tokens: they need no certificate. Who shows one must still show one
// that is good, and what is for servers and workers asks for theirs.
type forPeople struct{ port.Security }

func (p forPeople) Server() (*tls.Config, error) {
	conf, err := p.Security.Server()
	if err == nil {
		conf = conf.Clone()
		conf.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return conf, err
}

// firstToken hands out the first administrator's token: into a file that its owner alone reads, or to whoever started labd.
type firstToken struct{ conf IdentityConfig }

func (f *firstToken) Again() bool { return f.conf.Renew }

// Keep writes the file before the token is valid: a death in between costs a token that is of no use.
func (f *firstToken) Keep(text string) error {
	if f.conf.TokenFile == "" {
		return nil
	}
	// A file of a name that nobody can have made before, so that nobody else owns it or has it open.
	half, err := os.CreateTemp(filepath.Dir(f.conf.TokenFile), ".token-*")
	if err != nil {
		return err
	}
	_, err = half.WriteString(text + "\n")
	err = errors.Join(err, half.Sync(), half.Close())
	if err == nil {
		err = os.Rename(half.Name(), f.conf.TokenFile)
	}
	if err != nil {
		return errors.Join(err, os.Remove(half.Name()))
	}
	return nil
}

// Made tells where the token is, or shows it, this once.
func (f *firstToken) Made(text string) {
	out := f.conf.Out
	if out == nil {
		out = io.Discard
	}
	if f.conf.TokenFile != "" {
		fmt.Fprintf(out, "labd asks who calls. The token of its administrator is in %s; it is kept nowhere else.\n", f.conf.TokenFile)
		return
	}
	fmt.Fprintf(out, "labd asks who calls. The token of its administrator, which is shown this once and kept nowhere:\n\n  %s\n\n", text)
}

// Void takes away the file of a token that is none.
func (f *firstToken) Void() {
	if f.conf.TokenFile != "" {
		os.Remove(f.conf.TokenFile) // what cannot be removed is of no use to anybody
	}
}
