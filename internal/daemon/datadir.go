package daemon

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// dataVersion is the layout of a data directory that this labd writes, and the newest that it reads.
const dataVersion = 1

// dataDir is a labd's own directory, held by a lock.
type dataDir struct {
	dir       string
	temporary bool
	lock      *os.File
	serverID  string
}

// InUseError says that another labd uses a data directory.
type InUseError struct {
	Dir string
	PID int // 0: not known
}

func (e *InUseError) Error() string {
	who := "a labd"
	if e.PID != 0 {
		who = fmt.Sprintf("a labd (pid %d)", e.PID)
	}
	return fmt.Sprintf("%s already uses %s", who, e.Dir)
}

// NewerDataError says that a data directory is of a later version than this labd understands.
type NewerDataError struct {
	Dir     string
	Version int
}

func (e *NewerDataError) Error() string {
	return fmt.Sprintf("%s was written by a newer labd (its layout is version %d, this labd knows %d); nothing was changed",
		e.Dir, e.Version, dataVersion)
}

// openDataDir takes hold of a data directory, made if it is not there; of a temporary one if dir is empty.
func openDataDir(dir string) (*dataDir, error) {
	d := &dataDir{dir: dir}
	var err error
	if dir == "" {
		d.temporary = true
		if d.dir, err = os.MkdirTemp("", "labd-"); err != nil {
			return nil, fmt.Errorf("temporary data directory: %w", err)
		}
	} else if d.dir, err = filepath.Abs(dir); err == nil {
		err = os.MkdirAll(d.dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := d.take(); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *dataDir) path(name string) string { return filepath.Join(d.dir, name) }

// take locks the directory before anything in it is read.
func (d *dataDir) take() (err error) {
	f, err := os.OpenFile(d.path("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if held, err := lockFile(f); err != nil {
		defer f.Close()
		if held {
			return &InUseError{Dir: d.dir, PID: lockHolder(f)}
		}
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	d.lock = f
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := d.checkVersion(); err != nil {
		return err
	}
	d.serverID, err = d.readOrMake("server-id", rand.Text)
	return err
}

// lockHolder reads the process id that the holder wrote; 0 if it has not yet.
func lockHolder(f *os.File) int {
	buf := make([]byte, 32)
	n, _ := f.ReadAt(buf, 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	return pid
}

func (d *dataDir) checkVersion() error {
	text, err := d.readOrMake("version", func() string { return strconv.Itoa(dataVersion) })
	if err != nil {
		return err
	}
	version, err := strconv.Atoi(text)
	if err != nil || version < 1 {
		return fmt.Errorf("%s does not hold a version but %q", d.path("version"), text)
	}
	if version > dataVersion {
		return &NewerDataError{Dir: d.dir, Version: version}
	}
	return nil
}

// readOrMake reads a small file, or makes it with fresh content.
func (d *dataDir) readOrMake(name string, fresh func() string) (string, error) {
	b, err := os.ReadFile(d.path(name))
	if err == nil && len(b) > 0 {
		return strings.TrimSpace(string(b)), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("data directory: %w", err)
	}
	text := fresh()
	return text, d.keep(name, text)
}

// keep writes a small file, in place of the one that may be there.
func (d *dataDir) keep(name, text string) error {
	half := d.path(name + ".new")
	if err := writeDurably(half, text+"\n"); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := os.Rename(half, d.path(name)); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return nil
}

// writeDurably writes a file that is whole on the disk before it gets its name: a server that forgot its id would not
// know its own log again.
func writeDurably(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// close lets go of the directory.
func (d *dataDir) close() error {
	var err error
	if d.lock != nil {
		err = d.lock.Close() // which unlocks it
	}
	if d.temporary {
		err = errors.Join(err, os.RemoveAll(d.dir))
	}
	return err
}
