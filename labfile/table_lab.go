package labfile

import (
	"google.golang.org/protobuf/proto"

	"labd.dev/labfile/schema"
	labv1 "labd.dev/proto/lab/v1"
)

// Draft is a lab while its file is being read.
type Draft struct {
	Spec *labv1.LabSpec
	node *labv1.NodeSpec      // topology.defaults.node
	link *labv1.DirectionSpec // topology.defaults.link
}

// NewDraft is the lab of a file that says nothing.
func NewDraft() *Draft {
	return &Draft{Spec: &labv1.LabSpec{Seed: 1}, node: &labv1.NodeSpec{}, link: &labv1.DirectionSpec{}}
}

// Where the defaults' positions are kept: they stand in for the fields of every node and link that they set.
const (
	nodeDefaultsPath = "defaults.node"
	linkDefaultsPath = "defaults.link"
)

var defaults = &schema.Object[Draft]{
	Name: "defaults",
	Keys: []schema.Key[Draft]{
		schema.Nested("node", "node", "Of every node.", nodeDefaults, func(d *Draft) *labv1.NodeSpec { return d.node }),
		schema.Nested("link", "link", "Of both directions of every link.", Direction, func(d *Draft) *labv1.DirectionSpec { return d.link }),
	},
}

var topology = &schema.Object[Draft]{
	Name: "topology",
	Keys: []schema.Key[Draft]{
		schema.Nested("defaults", "defaults", "What holds for all nodes and links that do not say else.", defaults, func(d *Draft) *Draft { return d }),
		schema.Map("nodes", "nodes", "name", "The nodes by name.", node, func(d *Draft, name string) *labv1.NodeSpec {
			n := proto.CloneOf(d.node)
			n.Name, n.Kind = name, labv1.NodeKind_NODE_KIND_HOST
			d.Spec.Nodes = append(d.Spec.Nodes, n)
			return n
		}).Must(),
		schema.List("links", "links", "The links.", link, func(d *Draft) *labv1.LinkSpec {
			l := &labv1.LinkSpec{Forward: proto.CloneOf(d.link), Reverse: proto.CloneOf(d.link)}
			d.Spec.Links = append(d.Spec.Links, l)
			return l
		}),
	},
}

var budget = &schema.Object[labv1.EventBudget]{
	Name: "budget",
	Doc:  "What ends a storm of events, and a lab that takes too much memory.",
	Keys: []schema.Key[labv1.EventBudget]{
		schema.Whole("perLab", "per_lab", "Events of each event loop in all; absent: unlimited, or 20000000 where switches form a loop.", 64, func(b *labv1.EventBudget, n uint64) { b.PerLab = n }),
		schema.Whole("perSecond", "per_second", "Events of each event loop in one simulated second; absent: 200000000, or 500000 where switches form a loop.", 64, func(b *labv1.EventBudget, n uint64) { b.PerSecond = n }),
		schema.Size("memory", "memory_bytes", "What frames, payload, connections and files may take; absent: `1GiB`.", func(b *labv1.EventBudget, n uint64) { b.MemoryBytes = n }),
	},
}

var placement = &schema.Object[labv1.Placement]{
	Name: "placement",
	Doc:  "How the lab is split. It never changes the result.",
	Keys: []schema.Key[labv1.Placement]{
		schema.Whole("loops", "loops", "Event loops in each process; absent: 1.", 32, func(p *labv1.Placement, n uint64) { p.Loops = uint32(n) }),
		schema.Whole("workers", "workers", "Worker processes, exactly so many, fewer where one is lost later and no other is there; absent: one, or as many as the lab needs.", 32, func(p *labv1.Placement, n uint64) { p.Workers = uint32(n) }),
	},
}

// Clock is the key that chooses a clock.
func Clock[T any](field, doc string, set func(*T, labv1.Clock)) schema.Key[T] {
	return schema.Enum("clock", field, doc, []string{"real", "virtual"}, []labv1.Clock{labv1.Clock_CLOCK_REAL, labv1.Clock_CLOCK_VIRTUAL}, set)
}

// Table is the table of a lab file.
var Table = &schema.Object[Draft]{
	Name: "lab",
	Keys: []schema.Key[Draft]{
		schema.Text("name", "name", "Lower-case letters, digits and `-`, at most 63.", func(d *Draft, s string) { d.Spec.Name = s }).Must(),
		schema.Whole("seed", "seed", "Of all chance in the lab; absent: 1.", 64, func(d *Draft, n uint64) { d.Spec.Seed = n }),
		Clock("clock", "What paces the lab; `--clock` overrides. Absent: `virtual` for `run`, `real` for `apply`.", func(d *Draft, c labv1.Clock) { d.Spec.Clock = c }),
		schema.Real("pace", "pace", "Lab seconds a second of wall time when the clock is real; 0.1 is slow motion. Absent: 1.", func(d *Draft, f float64) { d.Spec.Pace = f }),
		schema.Enum("checksums", "checksums", "Whether checksums are computed where nothing can see them. Absent: `lazy`.", []string{"lazy", "always"},
			[]labv1.Checksums{labv1.Checksums_CHECKSUMS_LAZY, labv1.Checksums_CHECKSUMS_ALWAYS}, func(d *Draft, c labv1.Checksums) { d.Spec.Checksums = c }),
		schema.Enum("record", "record", "What the trace holds: all, not what links do (`conns`), or nothing. It changes nothing else. Absent: `all`.", []string{"all", "conns", "none"},
			[]labv1.Record{labv1.Record_RECORD_ALL, labv1.Record_RECORD_CONNS, labv1.Record_RECORD_NONE}, func(d *Draft, r labv1.Record) { d.Spec.Record = r }),
		schema.Whole("retention", "retention_records", "Trace records that a standing lab keeps, whole connections; absent: 1000000.", 64, func(d *Draft, n uint64) { d.Spec.RetentionRecords = n }),
		schema.Nested("budget", "budget", "Bounds of its events, for each event loop by itself, and of its memory.", budget, func(d *Draft) *labv1.EventBudget { d.Spec.Budget = &labv1.EventBudget{}; return d.Spec.Budget }),
		schema.Nested("placement", "placement", "How it is split over loops and workers.", placement, func(d *Draft) *labv1.Placement { d.Spec.Placement = &labv1.Placement{}; return d.Spec.Placement }),
		schema.Nested("topology", "", "Nodes and links.", topology, func(d *Draft) *Draft { return d }).Must(),
	},
}
