package experiment

import (
	"labd.dev/labfile"
	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

// draft is an experiment while its file is being read.
type draft struct {
	name     string
	lab      *labfile.Draft // inline; nil if by path
	path     string
	duration int64
	clock    labv1.Clock
	pace     *float64
	seed     *uint64
	workload []*step
	faults   []*labv1.TimedInput
	expect   []*Expectation
	checks   []*labv1.Check
}

// Expectation says how a transfer must end, if not well.
type Expectation struct {
	ID  string
	End End
}

// End is how a transfer ends.
type End string

// Ends that may be expected.
const (
	EndMatch    End = "match"
	EndMismatch End = "mismatch" // it arrived, and is not what was sent
	EndFailure  End = "failure"  // it did not arrive
	EndAny      End = "any"
)

// table is the table of an experiment file.
var table = &schema.Object[draft]{
	Name: "experiment",
	Keys: []schema.Key[draft]{
		schema.Text("experiment", "name", "Its name: lower-case letters, digits and `-`; runs are named after it.", func(d *draft, s string) { d.name = s }).Must(),
		schema.PathOr("lab", "lab", "The lab: the path of its file, relative to this one, or the lab itself.", labfile.Table,
			func(d *draft, path string) { d.path = path },
			func(d *draft) *labfile.Draft { d.lab = labfile.NewDraft(); return d.lab }).Must(),
		schema.Duration("duration", "duration", "Lab time at which the run ends; absent: when the workload is done and all connections are closed.", func(d *draft, ns int64) { d.duration = ns }),
		labfile.Clock("clock", "What paces the run; `--clock` overrides. Absent: the lab's, else `virtual`.", func(d *draft, c labv1.Clock) { d.clock = c }),
		schema.Real("pace", "pace", "Lab seconds a second of wall time when the clock is real. Absent: the lab's.", func(d *draft, f float64) { d.pace = &f }),
		schema.Whole("seed", "seed", "Overrides the lab's.", 64, func(d *draft, n uint64) { d.seed = &n }),
		schema.List("workload", "workload", "What the nodes do, and how the lab changes.", item, func(d *draft) *step {
			i := &step{TimedInput: &labv1.TimedInput{}}
			d.workload = append(d.workload, i)
			return i
		}),
		schema.List("faults", "faults", "What breaks, and when.", fault, func(d *draft) *labv1.TimedInput {
			i := &labv1.TimedInput{}
			d.faults = append(d.faults, i)
			return i
		}),
		schema.Words("expect", "expect", "How transfers, by id, end that do not end well; a transfer that is not named must match.", []string{"match", "mismatch", "failure", "any"},
			func(d *draft, id, end string) { d.expect = append(d.expect, &Expectation{id, End(end)}) }),
		schema.List("checks", "checks", "What must hold of the trace.", check, func(d *draft) *labv1.Check {
			c := newCheck()
			d.checks = append(d.checks, c)
			return c
		}),
	},
}
