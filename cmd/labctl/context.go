package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"labd.dev/client"
	"labd.dev/labfile/schema"
)

// contextFile says which labd and lab are meant where neither a flag nor the environment does.
type contextFile struct{ server, lab string }

var contextKeys = &schema.Object[contextFile]{
	Name: "context file",
	Keys: []schema.Key[contextFile]{
		schema.Text("server", "server", "Address of the labd.", func(c *contextFile, s string) { c.server = s }),
		schema.Text("lab", "lab", "Which lab.", func(c *contextFile, s string) { c.lab = s }),
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
	return c, d.Err()
}

// settle fills in what no flag has said: from the environment, else from the context file, else by default.
func (a *app) settle() error {
	file, err := readContext(contextPath())
	if err != nil {
		return err
	}
	a.address = firstOf(a.server, os.Getenv("LABD_SERVER"), file.server, client.DefaultAddress)
	a.lab = firstOf(a.lab, os.Getenv("LABD_LAB"), file.lab)
	return nil
}

func firstOf(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}
