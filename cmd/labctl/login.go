package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"labd.dev/client"
	"labd.dev/internal/auth"
	"labd.dev/internal/output"
	labv1 "labd.dev/proto/lab/v1"
)

type loginOptions struct {
	*app
	in    io.Reader
	token string
}

func newLoginCommand(a *app) *cobra.Command {
	o := &loginOptions{app: a}
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Show a labd a token from now on, and keep both in the context file",
		Long: `Ask a labd whose token it is, and keep the token, labd's address and its CA in the context file, which nobody else can
read: from then on every command shows the token.

The token comes from --token-file, from $LABD_TOKEN, or from standard input: with --token -, or when nothing else is
given. Given as --token TOKEN it is seen by everybody on this machine who lists processes, and kept in the shell's
history; labctl says so.`,
		Example: `  labctl login --server labs.example:7070 --tls-ca ca.crt --token-file bob.token
  labctl login --server labs.example:7070 --tls-ca ca.crt < bob.token`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.in = cmd.InOrStdin()
			return o.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&o.token, "token", "", "the token, or - to read it from standard input")
	return cmd
}

func (o *loginOptions) run(ctx context.Context) error {
	text, err := o.tokenText()
	if err != nil {
		return err
	}
	token, err := auth.ParseToken(text)
	if err != nil {
		return &usageError{err.Error()}
	}
	o.shown = token.Text()
	return o.with(ctx, func(ctx context.Context, c *client.Client) error {
		r, err := c.Users.WhoAmI(ctx, &labv1.WhoAmIRequest{})
		if err != nil {
			return err
		}
		if !r.GetIdentity() {
			return &usageError{fmt.Sprintf("labd at %s asks nobody who they are: no login is needed", o.address)}
		}
		path, err := o.keepLogin()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(o.out, "%s, %s, at %s\n  kept in %s\n", r.GetUser().GetName(), auth.RoleName(r.GetUser().GetRole()), o.address, path)
		return err
	})
}

// tokenText is the token that the command line says, or says where it is.
func (o *loginOptions) tokenText() (string, error) {
	switch {
	case o.tokenFile != "":
		return readSecret(o.tokenFile)
	case o.token != "" && o.token != "-":
		fmt.Fprintln(o.err, "labctl: warning: a token on the command line is seen by everybody on this machine who lists processes, and stays in the "+
			"shell's history; --token-file and --token - keep it from them")
		return o.token, nil
	case o.token == "" && os.Getenv("LABD_TOKEN") != "":
		return os.Getenv("LABD_TOKEN"), nil
	}
	if terminal(o.err) {
		fmt.Fprint(o.err, "token: ")
	}
	return firstLine(o.in)
}

// maxTokenText bounds what is read in search of a token.
const maxTokenText = 4096

func firstLine(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxTokenText))
	line, _, _ := strings.Cut(strings.TrimSpace(string(b)), "\n")
	return strings.TrimSpace(line), err
}

func newLogoutCommand(a *app) *cobra.Command {
	var revoke bool
	cmd := &cobra.Command{
		Use: "logout", Short: "Forget the token in the context file", Example: "  labctl logout --revoke",
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := contextPath()
			if revoke {
				err := a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
					_, err := c.Tokens.RevokeToken(ctx, &labv1.RevokeTokenRequest{RequestId: client.RequestID()})
					return err
				})
				if err != nil {
					return err
				}
			}
			if err := changeContext(path, map[string]string{"token": ""}); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.out, "no token is kept in %s\n", path)
			return err
		},
	}
	cmd.Flags().BoolVar(&revoke, "revoke", false, "take the token back as well: nobody can use it any more")
	return cmd
}

// identity is what whoami prints for programs.
type identity struct {
	Identity bool   `json:"identity"`
	User     string `json:"user,omitempty"`
	Role     string `json:"role,omitempty"`
	Section  string `json:"section,omitempty"`
	Token    string `json:"token,omitempty"`
	Expires  string `json:"expires,omitempty"`
	Most     string `json:"most,omitempty"`
	Lab      string `json:"lab,omitempty"`
	From     string `json:"from,omitempty"`
	Server   string `json:"server"`
}

func newWhoAmICommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Tell who labd takes this user for", Example: "  labctl whoami",
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.with(cmd.Context(), func(ctx context.Context, c *client.Client) error {
				r, err := c.Users.WhoAmI(ctx, &labv1.WhoAmIRequest{})
				if err != nil {
					return err
				}
				return a.printIdentity(r)
			})
		},
	}
}

func (a *app) printIdentity(r *labv1.WhoAmIResponse) error {
	if !r.GetIdentity() && a.format.ForPeople() {
		_, err := fmt.Fprintf(a.out, "labd at %s asks nobody who they are: it serves its own machine, and whoever reaches it may do everything\n", a.address)
		return err
	}
	u, t := r.GetUser(), r.GetToken()
	id := identity{Identity: r.GetIdentity(), User: u.GetName(), Section: u.GetSection(), Token: t.GetId(), Lab: t.GetScope().GetLab(), From: r.GetFrom(), Server: a.address}
	if u != nil {
		id.Role = auth.RoleName(u.GetRole())
	}
	if t.GetExpiresAt() != nil {
		id.Expires = t.GetExpiresAt().AsTime().UTC().Format(time.RFC3339)
	}
	if most := t.GetScope().GetMost(); most != 0 {
		id.Most = auth.PermissionName(most)
	}
	l := &output.List{Columns: []string{"USER", "ROLE", "SECTION", "TOKEN", "EXPIRES", "MOST", "LAB", "FROM"}}
	l.Add(id, id.User, id.Role, id.Section, id.Token, cmp.Or(id.Expires, "never"), id.Most, id.Lab, id.From)
	return a.format.Write(a.out, l)
}

// readSecret reads the token in a file. As ssh does with keys, one that others can read is not taken.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := checkSecret(f, path); err != nil {
		return "", err
	}
	text, err := firstLine(f)
	if err == nil && text == "" {
		err = &usageError{path + " holds no token"}
	}
	return text, err
}

// errNoHome is that there is no place for a context file.
var errNoHome = errors.New("there is no place for the context file: set $XDG_CONFIG_HOME or $HOME")
