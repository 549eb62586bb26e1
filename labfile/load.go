package labfile

import (
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"

	"labd.dev/internal/validate"
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

// File is a lab file that was read and found right.
type File struct {
	Spec    *labv1.LabSpec
	Source  []byte            // as it was written
	Uploads map[string]string // the files it names: SHA-256 to a path on this machine

	decoder *schema.Decoder
}

// Load reads a lab file. Its error, if the file can be read at all, is a *schema.Error or *schema.Errors.
func Load(path string) (*File, error) {
	src, err := schema.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, src)
}

// Parse reads a lab file's bytes; the files that it names are looked up beside path.
func Parse(path string, src []byte) (*File, error) {
	d, err := schema.NewDecoder(path, filepath.Dir(path), src)
	if err != nil {
		return nil, err
	}
	if err := d.OfKind("experiment", "this is an experiment's file, not a lab's; run it: labctl run "+path); err != nil {
		return nil, err
	}
	draft := NewDraft()
	schema.Decode(d, Table, draft)
	draft.Finish(d, "")
	if err := d.Err(); err != nil {
		return nil, err
	}
	return &File{Spec: draft.Spec, Source: src, Uploads: d.Files.Uploads(), decoder: d}, nil
}

// Position tells where a field of the spec was written.
func (f *File) Position(path string) schema.Position {
	return position(f.decoder, "", path).Position
}

// Finish completes a draft that was decoded at path at, and notes all that is wrong with the lab as a whole.
func (d *Draft) Finish(dec *schema.Decoder, at string) {
	d.clearSwitches()
	assignInterfaces(d.Spec)
	if dec.Err() != nil {
		// A value that could not be read is left zero, so a rule about it would only be noise; names still count.
		d.note(dec, at, validate.Names(d.Spec))
		return
	}
	d.note(dec, at, validate.Lab(d.Spec))
}

// clearSwitches takes the nodes' defaults back where they have nothing to set: a switch has no TCP/IP stack.
func (d *Draft) clearSwitches() {
	for _, n := range d.Spec.Nodes {
		if n.GetKind() != labv1.NodeKind_NODE_KIND_SWITCH {
			continue
		}
		if proto.Equal(n.Tcp, d.node.GetTcp()) {
			n.Tcp = nil
		}
		if proto.Equal(n.Ip, d.node.GetIp()) {
			n.Ip = nil
		}
	}
}

func (d *Draft) note(dec *schema.Decoder, at string, violations []validate.Violation) {
	for _, v := range violations {
		dec.Refuse(position(dec, at, v.Path), v.Message, v.Suggestion)
	}
}

// position finds where a field of the spec was written: itself, else the default that set it, else what is around it.
func position(d *schema.Decoder, at, path string) schema.Place {
	full := path
	if at != "" {
		full = at + "." + path
	}
	if p, ok := d.Written(full); ok {
		return p
	}
	if p, ok := defaultPosition(d, at, path); ok {
		return p
	}
	return d.Place(full)
}

func defaultPosition(d *schema.Decoder, at, path string) (schema.Place, bool) {
	list, rest, ok := strings.Cut(path, "[")
	_, rest, inside := strings.Cut(rest, "].")
	if !ok || !inside {
		return schema.Place{}, false
	}
	under := nodeDefaultsPath
	if list == "links" {
		under = linkDefaultsPath
		_, rest, _ = strings.Cut(rest, ".") // forward or reverse
	}
	if at != "" {
		under = at + "." + under
	}
	return d.Written(under + "." + rest)
}

// JSONSchema is the JSON schema of lab files, for editors.
func JSONSchema() []byte { return schema.JSONSchema(Table, "labd lab file") }
