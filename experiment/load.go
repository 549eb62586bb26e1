package experiment

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"labd.dev/experiment/checks"
	"labd.dev/internal/validate"
	"labd.dev/labfile"
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

// Experiment is an experiment file that was read and found right.
type Experiment struct {
	Name    string
	Spec    *labv1.LabSpec // the lab, with the experiment's seed, clock and pace
	Inputs  []*labv1.TimedInput
	EndNs   int64
	Expect  []*Expectation
	Checks  []*labv1.Check
	Uploads map[string]string // the files that lab and experiment name: SHA-256 to a path on this machine

	source    []byte
	labSource []byte
}

// Load reads an experiment file and the lab file it names. Its error, if the files can be read at all, is a *schema.Error
// or *schema.Errors.
func Load(path string) (*Experiment, error) {
	src, err := schema.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, src)
}

// Parse reads an experiment file's bytes; the files that it names are looked up beside path.
func Parse(path string, src []byte) (*Experiment, error) {
	d, err := schema.NewDecoder(path, filepath.Dir(path), src)
	if err != nil {
		return nil, err
	}
	if err := d.OfKind("topology", "this is a lab's file, not an experiment's; start it: labctl apply -f "+path); err != nil {
		return nil, err
	}
	draft := &draft{}
	schema.Decode(d, table, draft)
	x := &Experiment{Name: draft.name, EndNs: draft.duration, Expect: draft.expect, Checks: draft.checks, Uploads: d.Files.Uploads(), source: src, labSource: src}
	if err := x.lab(d, draft, filepath.Dir(path)); err != nil {
		return nil, err
	}
	x.settings(d, draft)
	if err := x.inputs(d, draft, filepath.Dir(path)); err != nil {
		return nil, err
	}
	x.expectations(d, draft)
	refuse(d, "checks", checks.Validate(x.Checks))
	if err := d.Err(); err != nil {
		return nil, err
	}
	return x, nil
}

// lab takes the lab out of its own file or out of the experiment's. A lab file's errors are returned as they are: they
// name that file.
func (x *Experiment) lab(d *schema.Decoder, draft *draft, dir string) error {
	x.Spec = &labv1.LabSpec{}
	if draft.lab != nil {
		draft.lab.Finish(d, "lab")
		x.Spec = draft.lab.Spec
		return nil
	}
	if draft.path == "" {
		return nil
	}
	f, err := loadLab(d, draft.path, "lab", dir)
	if f == nil {
		return err
	}
	x.labSource = f.Source
	x.take(f)
	x.Spec = f.Spec
	return nil
}

// take notes the files that a lab names.
func (x *Experiment) take(f *labfile.File) {
	for sum, at := range f.Uploads {
		x.Uploads[sum] = at
	}
}

// loadLab reads a lab file that the experiment names in a field; nil: it cannot be read, which the decoder then knows, or
// it is wrong.
func loadLab(d *schema.Decoder, path, field, dir string) (*labfile.File, error) {
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	f, err := labfile.Load(path)
	var one *schema.Error
	var many *schema.Errors
	switch {
	case errors.As(err, &one), errors.As(err, &many):
		// What is wrong with the experiment itself is told beside it.
		if own := d.Err(); own != nil {
			return nil, errors.Join(own, err)
		}
		return nil, err
	case err != nil:
		d.Refuse(d.Place(field), err.Error(), "")
		return nil, nil
	}
	return f, nil
}

func (x *Experiment) settings(d *schema.Decoder, draft *draft) {
	if draft.name != "" && !validate.RunName(draft.name) {
		d.Refuse(d.Place("name"), fmt.Sprintf("%q is not a name: lower-case letters, digits and -, at most 63", draft.name), "")
	}
	if draft.duration < 0 {
		d.Refuse(d.Place("duration"), "must not be negative", "")
	}
	if draft.clock != labv1.Clock_CLOCK_UNSPECIFIED {
		x.Spec.Clock = draft.clock
	}
	if draft.pace != nil {
		x.Spec.Pace = *draft.pace
		if !(x.Spec.Pace >= 0) {
			d.Refuse(d.Place("pace"), "must not be negative", "")
		}
	}
	draft.seeds(x.Spec)
}

// seeds gives a lab, and those that it is changed to, the experiment's seed.
func (draft *draft) seeds(spec *labv1.LabSpec) {
	if draft.seed != nil {
		spec.Seed = *draft.seed
	}
}

func (x *Experiment) expectations(d *schema.Decoder, draft *draft) {
	var ids []string
	known := map[string]bool{}
	for _, in := range draft.workload {
		switch in.GetInput().GetKind().(type) {
		case *labv1.Input_Transfer, *labv1.Input_HttpGet, *labv1.Input_Udp:
			if id := inputID(in.Input); id != "" {
				ids = append(ids, id)
				known[id] = true
			}
		}
	}
	for i, e := range x.Expect {
		if !known[e.ID] {
			d.Refuse(d.Place(fmt.Sprintf("expect[%d]", i)), fmt.Sprintf("no transfer has the id %q", e.ID), validate.Nearest(e.ID, ids))
		}
	}
}

// Request is what starts a run of the experiment.
func (x *Experiment) Request(capture bool) (*labv1.CreateRunRequest, error) {
	manifest, err := json.Marshal(map[string]string{"experiment": x.Name, "experiment_yaml": string(x.source)})
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	spec := proto.CloneOf(x.Spec)
	if spec.Clock == labv1.Clock_CLOCK_UNSPECIFIED {
		spec.Clock = labv1.Clock_CLOCK_VIRTUAL
	}
	return &labv1.CreateRunRequest{
		Name: x.Name, Spec: spec, Inputs: x.Inputs, EndNs: x.EndNs, Capture: capture, LabYaml: x.labSource, Manifest: manifest,
	}, nil
}

// JSONSchema is the JSON schema of experiment files, for editors.
func JSONSchema() []byte { return schema.JSONSchema(table, "labd experiment file") }
