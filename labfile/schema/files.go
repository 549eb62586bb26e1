package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	// maxRootFiles bounds the files under one directory: what a single question for missing content may name.
	maxRootFiles = 10_000
	// maxRootBytes bounds the content under one directory, so that a wrong root is not read for hours.
	maxRootBytes = 1 << 30
)

// File is a file of this machine that a lab is given by content.
type File struct {
	Path   string // as the lab sees it: relative to its root, "/"-separated
	SHA256 string // hex
	Size   uint64 // bytes
	Source string // where it lies on this machine
}

// Files collects the files that a YAML file names.
type Files struct {
	dir    string
	byHash map[string]string
	dirs   map[string][]File
}

// Uploads maps the SHA-256 of each content to a file that holds it.
func (f *Files) Uploads() map[string]string { return f.byHash }

func (f *Files) locate(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(f.dir, path)
}

// Add takes up one file.
func (f *Files) Add(path string) (File, error) {
	at := f.locate(path)
	file, err := HashFile(at)
	if err != nil {
		return File{}, err
	}
	file.Path = filepath.Base(at)
	f.byHash[file.SHA256] = at
	return file, nil
}

// HashFile reads a regular file for its SHA-256 and size; Path is the file's base name.
func HashFile(path string) (File, error) {
	r, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer r.Close()
	info, err := r.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return File{}, err
	}
	sum, size, err := hash(r)
	if err != nil {
		return File{}, err
	}
	return File{Path: filepath.Base(path), SHA256: sum, Size: size, Source: path}, nil
}

func hash(r io.Reader) (sum string, size uint64, err error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil)), uint64(n), err
}

// AddDirectory takes up all regular files below a directory. A symbolic link may point to a file inside it, not out of
// it.
func (f *Files) AddDirectory(path string) ([]File, error) {
	at := f.locate(path)
	if files, ok := f.dirs[at]; ok {
		return files, nil
	}
	root, err := os.OpenRoot(at)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var files []File
	total := uint64(0)
	err = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		file, err := hashIn(root, name)
		if err != nil {
			return err
		}
		file.Source = filepath.Join(at, filepath.FromSlash(name))
		total += file.Size
		files = append(files, file)
		switch {
		case len(files) > maxRootFiles:
			return fmt.Errorf("%s holds more than %d files", at, maxRootFiles)
		case total > maxRootBytes:
			return fmt.Errorf("%s holds more than %d MiB", at, maxRootBytes>>20)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		f.byHash[file.SHA256] = file.Source
	}
	if f.dirs == nil {
		f.dirs = map[string][]File{}
	}
	f.dirs[at] = files
	return files, nil
}

// hashIn hashes one file inside a root, from which no symbolic link leads out.
func hashIn(root *os.Root, name string) (File, error) {
	shown := filepath.Join(root.Name(), filepath.FromSlash(name))
	info, err := root.Stat(name)
	switch {
	case err != nil && errors.Is(err, fs.ErrNotExist):
		return File{}, fmt.Errorf("%s is a symbolic link to nothing", shown)
	case err != nil && isLink(root, name):
		return File{}, fmt.Errorf("%s is a symbolic link that leads out of %s", shown, root.Name())
	case err != nil:
		return File{}, err
	case !info.Mode().IsRegular():
		return File{}, fmt.Errorf("%s is not a regular file", shown)
	case info.Size() > maxRootBytes:
		return File{}, fmt.Errorf("%s is larger than %d MiB", shown, maxRootBytes>>20)
	}
	r, err := root.Open(name)
	if err != nil {
		return File{}, err
	}
	defer r.Close()
	sum, size, err := hash(io.LimitReader(r, maxRootBytes))
	return File{Path: filepath.ToSlash(name), SHA256: sum, Size: size}, err
}

func isLink(root *os.Root, name string) bool {
	info, err := root.Lstat(name)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}
