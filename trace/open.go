package trace

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"labd.dev/journal"
	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// ErrNotRun says that a directory holds no run.
var ErrNotRun = errors.New("not a run directory")

// Run is a run directory that is read.
type Run struct {
	Path     string
	Manifest Manifest
}

// Open checks that path is a run directory and reads its manifest.
func Open(path string) (*Run, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist: %w (a run prints where its directory lies: ./labd-runs/NAME-N, or what --out said)", path, ErrNotRun)
	case err != nil:
		return nil, fmt.Errorf("run directory: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("%s is a file: %w", path, ErrNotRun)
	}
	r := &Run{Path: path}
	b, err := readSmall(filepath.Join(path, ManifestFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s holds no %s: %w", path, ManifestFile, ErrNotRun)
	case err != nil:
		return nil, fmt.Errorf("run directory: %w", err)
	}
	if err := json.Unmarshal(b, &r.Manifest); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(path, ManifestFile), err)
	}
	if f := r.Manifest.Format; f != runFormat {
		return nil, fmt.Errorf("%s is of a newer labd (%s): format %d, this one reads %d", path, r.Manifest.Version, f, runFormat)
	}
	return r, nil
}

// maxSmallFile bounds manifest.json and summary.json: a thousand transfers are far below.
const maxSmallFile = 64 << 20

func readSmall(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSmallFile+1))
	if err == nil && len(b) > maxSmallFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxSmallFile)
	}
	return b, err
}

// Summary reads summary.json; an error of fs.ErrNotExist where the run was killed before it had one.
func (r *Run) Summary() (*Summary, error) {
	b, err := readSmall(filepath.Join(r.Path, SummaryFile))
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	s := new(Summary)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(r.Path, SummaryFile), err)
	}
	return s, nil
}

// Trace is the records of a run, or of one connection of it, and the names in them.
type Trace struct {
	Names   Names
	Records []sim.Record
}

// Events expands the records.
func (t *Trace) Events() []Event { return Expand(t.Records, &t.Names) }

// Trace reads all records of the run.
func (r *Run) Trace() (*Trace, error) { return r.read("") }

// Conn reads the records of one connection, "client/3". One without any is an error that lists those there are.
func (r *Run) Conn(conn string) (*Trace, error) { return r.read(conn) }

func (r *Run) read(conn string) (*Trace, error) {
	f, err := os.Open(filepath.Join(r.Path, EventsFile))
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	defer f.Close()
	t, err := ReadTrace(f, conn)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	// A journal that is torn or not there takes nothing from the events but what inputs were.
	entries, _ := journal.ReadFile(filepath.Join(r.Path, JournalFile))
	t.Names.Inputs = make(map[uint32]*labv1.Input, len(entries))
	for _, e := range entries {
		t.Names.Inputs[uint32(e.Index)] = e.Input
	}
	return t, nil
}

// NoConnError says that a trace holds nothing of a connection.
type NoConnError struct {
	Conn string
	Have []string // connections that it does hold, at most maxListed
}

func (e *NoConnError) Error() string {
	if len(e.Have) == 0 {
		return fmt.Sprintf("no connection %s: there is none in the trace", e.Conn)
	}
	return fmt.Sprintf("no connection %s; there are %s", e.Conn, strings.Join(e.Have, ", "))
}

// maxListed bounds how many connections an error lists.
const maxListed = 10

// ReadTrace reads the records of one connection ("" for all) from an events.bin stream; what a simultaneous open made
// two names for is read under both. It reads the stream twice.
func ReadTrace(in io.ReadSeeker, conn string) (*Trace, error) {
	rd, err := NewReader(in)
	if err != nil {
		return nil, err
	}
	t := &Trace{Names: *rd.Names()}
	if conn == "" {
		return t, t.read(rd, func(*sim.Record) bool { return true })
	}
	id, err := t.Names.ParseConn(conn)
	if err != nil {
		return nil, err
	}
	keep := NewFilter(id)
	for rec, err := range rd.All() {
		if err != nil {
			return nil, err
		}
		keep.Learn(&rec)
	}
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if rd, err = NewReader(in); err != nil {
		return nil, err
	}
	if err := t.read(rd, keep.Keeps); err != nil {
		return nil, err
	}
	if len(t.Records) == 0 {
		return nil, &NoConnError{Conn: conn, Have: keep.others(&t.Names)}
	}
	return t, nil
}

func (t *Trace) read(rd *Reader, keeps func(*sim.Record) bool) error {
	for rec, err := range rd.All() {
		if err != nil {
			return err
		}
		if keeps(&rec) {
			t.Records = append(t.Records, rec)
		}
	}
	return nil
}

// Filter keeps the records of one connection, records that continue them included.
type Filter struct {
	ids     []sim.ConnID // the connection's names
	keeping bool
	seen    []sim.ConnID
}

// NewFilter makes a filter for a connection.
func NewFilter(conn sim.ConnID) *Filter { return &Filter{ids: []sim.ConnID{conn}} }

// maxAliases bounds the names of one connection: an open has two ends.
const maxAliases = 2

// Learn looks at a record before any is asked about: one of a simultaneous open gives the connection a second name.
func (f *Filter) Learn(r *sim.Record) {
	if r.Kind != tcpstack.KindTCPConnAlias || len(f.ids) == maxAliases {
		return
	}
	switch a, b := r.Conn, sim.ConnID(r.Pkt); f.ids[0] {
	case a:
		f.ids = append(f.ids, b)
	case b:
		f.ids = append(f.ids, a)
	}
}

// Keeps reports whether r, which comes after the records asked about before, is of the connection.
func (f *Filter) Keeps(r *sim.Record) bool {
	if r.Kind != sim.KindMore {
		f.keeping = slices.Contains(f.ids, r.Conn)
		if !f.keeping && r.Conn != 0 && len(f.seen) < maxListed && !slices.Contains(f.seen, r.Conn) {
			f.seen = append(f.seen, r.Conn)
		}
	}
	return f.keeping
}

func (f *Filter) others(names *Names) []string {
	var list []string
	for _, c := range f.seen {
		list = append(list, names.Conn(c))
	}
	return list
}

// maxHops bounds how many sightings of one packet are gathered: more than any path's interfaces, with duplicates.
const maxHops = 1000

// Packet gathers how a packet, "client:1042", looked on every interface whose capture holds it, in the order of time. At
// most maxHops sightings are gathered.
func (r *Run) Packet(packet string) ([]*labv1.PacketHop, error) {
	names, err := r.names()
	if err != nil {
		return nil, err
	}
	id, err := names.ParsePacket(packet)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(r.Path, CaptureDir))
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	var hops []*labv1.PacketHop
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".pcapng")
		if !ok {
			continue
		}
		i := strings.LastIndexByte(name, '-')
		if i < 0 {
			continue
		}
		path := filepath.Join(r.Path, CaptureDir, e.Name())
		hops, err = appendHops(hops, path, name[:i], name[i+1:], id)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if len(hops) == 0 {
		return nil, fmt.Errorf("no packet %s in the captures of %s", packet, r.Path)
	}
	SortHops(hops)
	return hops, nil
}

func (r *Run) names() (*Names, error) {
	f, err := os.Open(filepath.Join(r.Path, EventsFile))
	if err != nil {
		return nil, fmt.Errorf("run directory: %w", err)
	}
	defer f.Close()
	rd, err := NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return rd.Names(), nil
}

func appendHops(hops []*labv1.PacketHop, path, node, ifc string, id sim.PacketID) ([]*labv1.PacketHop, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := NewCaptureReader(f)
	if err != nil {
		return nil, err
	}
	for len(hops) < maxHops {
		p, err := c.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if p.Pkt != id {
			continue
		}
		hops = append(hops, &labv1.PacketHop{TNs: int64(p.T), Node: node, Interface: ifc, Out: p.Out,
			Data: slices.Clone(p.Data), Length: uint32(p.Length), State: p.State()})
	}
	return hops, nil
}

// SortHops puts a packet's sightings in the order of its way: by time, and into a router before out of it.
func SortHops(hops []*labv1.PacketHop) {
	slices.SortStableFunc(hops, func(a, b *labv1.PacketHop) int {
		switch {
		case a.TNs != b.TNs:
			return cmpInt(a.TNs < b.TNs)
		case a.Out != b.Out:
			return cmpInt(!a.Out)
		}
		return 0
	})
}
