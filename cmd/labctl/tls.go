package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"labd.dev/internal/output"
	"labd.dev/internal/tlsfiles"
)

func newTLSCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "tls init", Short: "Make certificates for labd and its clients", Example: "  labctl tls init --host s1.example,10.0.0.1",
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTLSInitCommand(a))
	return cmd
}

type tlsInitOptions struct {
	*app
	dir, name string
	hosts     []string
}

func newTLSInitCommand(a *app) *cobra.Command {
	o := &tlsInitOptions{app: a}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a CA, a certificate for labd and one for its clients",
		Long: `Make a CA of one's own, a certificate for labd, which servers and workers show each other, and one for their clients.
Each labd needs ca.crt and a certificate for the hosts that it is reached as; ca.key stays where it was made. Run again,
it keeps the CA that is there and renews the rest; a labd that runs takes new files at the next connection. A CA lasts ten
years, what it signs thirteen months.`,
		Example: `  labctl tls init --dir tls --host s1.example,s2.example,s3.example
  labctl tls init --dir tls --name s4 --host s4.example
  labd server --listen s1.example:7070 --tls.ca tls/ca.crt --tls.cert tls/labd.crt --tls.key tls/labd.key ...`,
		Args: arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return o.run(time.Now()) },
	}
	cmd.Flags().StringVar(&o.dir, "dir", ".", "directory for the files")
	cmd.Flags().StringVar(&o.name, "name", "labd", "name of labd's files, NAME.crt and NAME.key")
	cmd.Flags().StringSliceVar(&o.hosts, "host", []string{"localhost", "127.0.0.1", "::1"}, "what labd is reached as: names and IP addresses")
	return cmd
}

// madeFile is a file that was made, and what it is for.
type madeFile struct {
	Path string `json:"path"`
	For  string `json:"for"`
}

func (o *tlsInitOptions) run(now time.Time) error {
	if o.name == "" || o.name != filepath.Base(o.name) || o.name == "ca" || o.name == "client" {
		return &usageError{fmt.Sprintf("--name: %q is no name for labd's files", o.name)}
	}
	if err := os.MkdirAll(o.dir, 0o700); err != nil {
		return err
	}
	path := func(name string) string { return filepath.Join(o.dir, name) }
	ca, made, err := tlsfiles.OpenAuthority(path("ca.crt"), path("ca.key"), now)
	if err != nil {
		return &usageError{err.Error()}
	}
	var files []madeFile
	if made {
		files = append(files, madeFile{path("ca.crt"), "every labd and client"}, madeFile{path("ca.key"), "this command alone; keep it"})
	}
	for _, f := range []struct {
		name, purpose string
		hosts         []string
		usage         tlsfiles.Usage
	}{{o.name, "labd", o.hosts, tlsfiles.ForDaemon}, {"client", "labctl", nil, tlsfiles.ForClient}} {
		if err := ca.IssueTo(path(f.name+".crt"), path(f.name+".key"), f.name, f.hosts, f.usage, now); err != nil {
			return err
		}
		files = append(files, madeFile{path(f.name + ".crt"), f.purpose}, madeFile{path(f.name + ".key"), f.purpose})
	}
	l := &output.List{Columns: []string{"FILE", "FOR"}}
	for _, f := range files {
		l.Add(f, f.Path, f.For)
	}
	return o.format.Write(o.out, l)
}
