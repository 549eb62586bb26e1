package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// keepLogin writes what a login has shown to be right into the context file, and says where that is.
func (a *app) keepLogin() (path string, err error) {
	path = contextPath()
	values := map[string]string{"server": a.address, "token": a.shown}
	for key, file := range map[string]string{"tls-ca": a.tls.CA, "tls-cert": a.tls.Cert, "tls-key": a.tls.Key} {
		if file == "" {
			continue
		}
		if values[key], err = filepath.Abs(file); err != nil {
			return path, err
		}
	}
	return path, changeContext(path, values)
}

// changeContext changes keys of the context file; an empty value removes its key. The rest of the file stays as it was
// written. What is written is its owner's alone, whatever it was before.
func changeContext(path string, values map[string]string) error {
	if path == "" {
		return errNoHome
	}
	src, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var lines []string
	written := make(map[string]bool)
	for line := range strings.Lines(string(src)) {
		line = strings.TrimRight(line, "\r\n")
		key, _, _ := strings.Cut(line, ":")
		if value, changes := values[key]; !changes {
			lines = append(lines, line)
		} else if value != "" && !written[key] {
			lines, written[key] = append(lines, key+": "+strconv.Quote(value)), true
		}
	}
	var keys []string
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if values[key] != "" && !written[key] {
			lines = append(lines, key+": "+strconv.Quote(values[key]))
		}
	}
	return writeOwn(path, strings.Join(lines, "\n")+"\n")
}

// writeOwn writes a file that its owner alone can read, as a whole or not at all.
func writeOwn(path, text string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	half, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = half.WriteString(text)
	err = errors.Join(err, half.Close())
	if err == nil {
		err = os.Rename(half.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(half.Name()))
	}
	return nil
}
