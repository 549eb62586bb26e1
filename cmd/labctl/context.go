package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"labd.dev/client"
	"labd.dev/internal/tlsfiles"
	"labd.dev/labfile/schema"
)

// contextFile says which labd and lab are meant, who calls and by which certificates, where neither a flag nor the
// environment does.
type contextFile struct {
	server, lab, token string
	tls                tlsfiles.Files
}

var contextKeys = &schema.Object[contextFile]{
	Name: "context file",
	Keys: []schema.Key[contextFile]{
		schema.Text("server", "server", "Address of the labd, or of a cluster's servers, with commas.", func(c *contextFile, s string) { c.server = s }),
		schema.Text("lab", "lab", "Which lab.", func(c *contextFile, s string) { c.lab = s }),
		schema.Text("token", "token", "Token that says who calls; labctl login keeps it here.", func(c *contextFile, s string) { c.token = s }),
		schema.Text("tls-ca", "file", "PEM file of labd's CA.", func(c *contextFile, s string) { c.tls.CA = s }),
		schema.Text("tls-cert", "file", "PEM file of this client's certificate.", func(c *contextFile, s string) { c.tls.Cert = s }),
		schema.Text("tls-key", "file", "PEM file of its key.", func(c *contextFile, s string) { c.tls.Key = s }),
	},
}

// contextPath is $XDG_CONFIG_HOME/labctl/config.yaml, by default under ~/.config; empty where there is no home.
func contextPath() string {
	dir := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) { // the XDG specification has relative paths ignored
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".config")
	}
	return filepath.Join(dir, "labctl", "config.yaml")
}

// readContext reads the context file; that there is none is no error.
func readContext(path string) (contextFile, error) {
	var c contextFile
	src, err := schema.ReadFile(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	d, err := schema.NewDecoder(path, filepath.Dir(path), src)
	if err != nil {
		return c, err
	}
	schema.Decode(d, contextKeys, &c)
	if c.token != "" {
		if err := checkOwn(path); err != nil {
			return c, err
		}
	}
	for _, file := range []*string{&c.tls.CA, &c.tls.Cert, &c.tls.Key} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(filepath.Dir(path), *file)
		}
	}
	return c, d.Err()
}

// checkOwn refuses a file with a token that others can read.
func checkOwn(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return checkSecret(f, path)
}

// settle fills in what no flag has said: from the environment, else from the context file, else by default.
func (a *app) settle() error {
	file, err := readContext(contextPath())
	if err != nil {
		return err
	}
	a.address = firstOf(a.server, os.Getenv("LABD_SERVER"), file.server, client.DefaultAddress)
	a.lab = firstOf(a.lab, os.Getenv("LABD_LAB"), file.lab)
	a.tls = tlsfiles.Files{CA: firstOf(a.tls.CA, os.Getenv("LABD_TLS_CA"), file.tls.CA),
		Cert: firstOf(a.tls.Cert, os.Getenv("LABD_TLS_CERT"), file.tls.Cert), Key: firstOf(a.tls.Key, os.Getenv("LABD_TLS_KEY"), file.tls.Key)}
	if a.tls != (tlsfiles.Files{}) && (a.tls.CA == "" || (a.tls.Cert == "") != (a.tls.Key == "")) {
		return &usageError{"--tls-cert and --tls-key go together, and with --tls-ca; labctl tls init makes the files"}
	}
	if a.shown = firstOf(os.Getenv("LABD_TOKEN"), file.token); a.tokenFile != "" {
		a.shown, err = readSecret(a.tokenFile)
	}
	return err
}

func firstOf(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
