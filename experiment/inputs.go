package experiment

import (
	"cmp"
	"fmt"
	"slices"

	"labd.dev/internal/validate"
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

// placed is an input and where in its file it stands.
type placed struct {
	in    *labv1.TimedInput
	list  string // "faults" or "workload"
	place string // "workload[3]"
}

// inputs takes workload and faults, and checks them against the lab. Faults come first, so that one of the same instant is
// in force when the workload begins. An error is that of a lab file which the workload names.
func (x *Experiment) inputs(d *schema.Decoder, draft *draft, dir string) error {
	var all []placed
	for i, in := range draft.faults {
		all = append(all, placed{in, "faults", fmt.Sprintf("faults[%d]", i)})
	}
	for i, s := range draft.workload {
		p := placed{s.TimedInput, "workload", fmt.Sprintf("workload[%d]", i)}
		if a := s.GetInput().GetApply(); a != nil {
			f, err := loadLab(d, s.path, p.place+".input.apply.spec", dir)
			if err != nil {
				return err
			}
			if f == nil {
				continue
			}
			x.take(f)
			draft.seeds(f.Spec)
			a.Spec = f.Spec
		}
		all = append(all, p)
	}
	x.check(d, all)
	for _, p := range all {
		x.Inputs = append(x.Inputs, p.in)
	}
	return nil
}

// check holds each input against the lab as it is by then, as the run will.
func (x *Experiment) check(d *schema.Decoder, all []placed) {
	// Rules about values that could not be read would only be noise.
	readable := d.Err() == nil && len(x.Spec.Nodes) > 0
	ids := map[string]bool{}
	spec := x.Spec
	inTime := slices.SortedStableFunc(slices.Values(all), func(a, b placed) int { return cmp.Compare(a.in.AtNs, b.in.AtNs) })
	for _, p := range inTime {
		if p.in.AtNs < 0 {
			d.Refuse(d.Place(p.place+".at_ns"), "must not be negative", "")
		}
		if x.EndNs > 0 && p.in.AtNs >= x.EndNs {
			d.Refuse(d.Place(p.place+".at_ns"), "the run has ended by then: see duration", "")
		}
		if p.in.Input == nil {
			continue
		}
		a := p.in.Input.GetApply()
		if readable {
			for _, v := range validate.Input(spec, p.in.Input) {
				path := p.place + ".input." + v.Path
				if a != nil {
					path, v.Message = p.place+".input.apply.spec", v.Path+": "+v.Message
				}
				d.Refuse(d.Place(path), v.Message, v.Suggestion)
			}
		}
		if a != nil {
			spec = a.Spec
		}
		if id := inputID(p.in.Input); id != "" {
			if key := p.list + id; ids[key] {
				d.Refuse(d.Place(p.place), fmt.Sprintf("the id %q is taken", id), "")
			} else {
				ids[key] = true
			}
		}
	}
}

// inputID is the id that an input was given, by whichever kind it is.
func inputID(in *labv1.Input) string {
	switch k := in.Kind.(type) {
	case *labv1.Input_Transfer:
		return k.Transfer.Id
	case *labv1.Input_HttpGet:
		return k.HttpGet.Id
	case *labv1.Input_Udp:
		return k.Udp.Id
	case *labv1.Input_Ping:
		return k.Ping.Id
	case *labv1.Input_Traceroute:
		return k.Traceroute.Id
	case *labv1.Input_Send:
		return k.Send.Id
	case *labv1.Input_Fault:
		return k.Fault.Id
	}
	return ""
}
