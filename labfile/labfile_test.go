package labfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"labd.dev/labfile"
	labv1 "labd.dev/proto/lab/v1"
)

// wantErrors parses a file and compares all its errors, a line each.
func wantErrors(t *testing.T, src string, want ...string) {
	t.Helper()
	_, err := labfile.Parse("lab.yaml", []byte(src))
	if err == nil {
		t.Fatalf("no error; want\n%s", strings.Join(want, "\n"))
	}
	if got := err.Error(); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

const twoHosts = `name: x
topology:
  nodes: {a: {}, b: {}}
  links:
    - {endpoints: [a, b], `

func TestBadFiles(t *testing.T) {
	for _, c := range []struct {
		name, src string
		want      []string
	}{
		{"unknown key", twoHosts + "dealy: 1ms}\n", []string{`lab.yaml:5:27: unknown key "dealy" in link; did you mean "delay"?`}},
		{"missing unit", twoHosts + "delay: 10}\n", []string{`lab.yaml:5:34: delay: duration "10" has no unit; write it like 10ms (units: ns, us, ms, s, min, h)`}},
		{"unit in the wrong case", twoHosts + "rate: 10Mbit}\n", []string{`lab.yaml:5:33: rate: rate "10Mbit" has an unknown unit "Mbit"; did you mean "10mbit"?`}},
		{"negative delay", twoHosts + "delay: -1ms}\n", []string{`lab.yaml:5:34: delay: must not be negative`}},
		{"loss above 100%", twoHosts + "loss: 150%}\n", []string{`lab.yaml:5:33: loss: must not be above 100%, got 150%`}},
		{"endpoint names no node", "name: x\ntopology:\n  nodes: {client: {}, b: {}}\n  links:\n    - endpoints: [clinet, b]\n", []string{`lab.yaml:5:19: endpoints: no node "clinet"; did you mean "client"?`}},
		{"two links on one interface", twoHosts + "delay: 1ms}\n    - {endpoints: [\"a:eth0\", b]}\n    - {endpoints: [\"a:eth0\", b]}\n", []string{`lab.yaml:7:20: endpoints: a:eth0 is already an end of link 2 (a:eth0--b:eth1)`}},
		{"duplicate names", "name: x\ntopology:\n  nodes:\n    a: {}\n    a: {}\n", []string{`lab.yaml:5:5: nodes: "a" is already given in line 4`}},
		{"duplicate key", "name: x\nname: y\ntopology: {nodes: {a: {}}}\n", []string{`lab.yaml:2:1: "name" is already given in line 1`}},
		{"address clash", `name: x
topology:
  nodes:
    a: {interfaces: {eth0: {address: 10.1.0.1/24}}}
    b: {interfaces: {eth0: {address: 10.1.0.1/24}}}
  links: [{endpoints: [a, b]}]
`, []string{`lab.yaml:5:38: address: address clash: 10.1.0.1 is already the address of a:eth0`}},
		{"empty", "", []string{"lab.yaml:1:1: the file is empty"}},
		{"only a comment", "# nothing\n", []string{"lab.yaml:1:1: the file is empty"}},
		{"no map", "- a\n", []string{"lab.yaml:1:1: lab: want a map, got a list"}},
		{"two documents", "name: x\ntopology: {nodes: {a: {}}}\n---\nname: y\n", []string{"lab.yaml:3:1: a second document begins here; a file holds one"}},
		{"an experiment", "experiment: x\nlab: lab.yaml\nchecks: []\n", []string{`lab.yaml:1:1: this is an experiment's file, not a lab's; run it: labctl run lab.yaml`}},
		{"self-joined", "name: x\ntopology:\n  nodes: {a: {}}\n  links: [{endpoints: [a, a]}]\n", []string{`lab.yaml:4:27: endpoints: a link joins two different nodes, not "a" with itself`}},
		{"nothing required is there", "seed: 1\n", []string{`lab.yaml:1:1: lab: "name" is missing`, `lab.yaml:1:1: lab: "topology" is missing`}},
		{"no ring", twoHosts + "queue: {device: 0p}}\n", []string{`lab.yaml:5:43: device: must be from 1 to 65536p, got 0`}},
		{"a ring in bytes", twoHosts + "queue: {device: {ring: 64KiB}}}\n", []string{`lab.yaml:5:50: ring: number of packets "64KiB" has an unknown unit "KiB"; write it like 100p (units: p)`}},
		{"bounds of bql", twoHosts + "queue: {device: {ring: 9p, bql: {limitMin: 2KiB, limitMax: 1KiB, holdTime: -1s}}}}\n",
			[]string{`lab.yaml:5:70: limitMin: must be at most the largest limit, 1024 B`, `lab.yaml:5:102: holdTime: must not be negative`}},
		{"exclusive keys", twoHosts + "loss: {every: 3, random: 1%}}\n", []string{`lab.yaml:5:34: loss: "random" and "every" exclude each other`}},
		{"wrong default, told once", "name: x\ntopology:\n  defaults: {link: {loss: 200%}}\n  nodes: {a: {}, b: {}, c: {}}\n  links: [{endpoints: [a, b]}, {endpoints: [b, c]}]\n",
			[]string{`lab.yaml:3:27: loss: must not be above 100%, got 200%`}},
		{"all are told", twoHosts + "dealy: 1ms, rate: 5}\n", []string{
			`lab.yaml:5:27: unknown key "dealy" in link; did you mean "delay"?`,
			`lab.yaml:5:45: rate: rate "5" has no unit; write it like 10mbit (units: bit, kbit, mbit, gbit)`}},
		{"bad enum", "name: x\nclock: vitual\ntopology: {nodes: {a: {}}}\n", []string{`lab.yaml:2:8: clock: unknown value "vitual"; did you mean "virtual"?`}},
		{"alias inside itself", "name: x\ntopology: &t {nodes: *t}\n", []string{"lab.yaml:2:22: the alias *t lies inside what it stands for"}},
	} {
		t.Run(c.name, func(t *testing.T) { wantErrors(t, c.src, c.want...) })
	}
}

func TestErrorsAreBounded(t *testing.T) {
	var b strings.Builder
	b.WriteString("name: x\ntopology: {nodes: {a: {}}}\n")
	for i := range 100 {
		fmt.Fprintf(&b, "zz%d: 1\n", i)
	}
	_, err := labfile.Parse("lab.yaml", []byte(b.String()))
	if n := strings.Count(err.Error(), "\n"); n != 20 {
		t.Errorf("%d lines of errors, want 20 and a last one", n+1)
	}
	if !strings.HasSuffix(err.Error(), "... and more: only the first 20 are listed") {
		t.Errorf("does not say that there is more:\n%v", err)
	}
}

// Hostile files are refused at once: nothing is expanded, nothing recursed into without a bound.
func TestHostileFiles(t *testing.T) {
	laughs := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 20; i++ {
		laughs += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	for name, c := range map[string]struct{ src, want string }{
		"flow 10,000 deep":     {"name: " + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), "lab.yaml:1:39: nested more than 32 deep"},
		"flow 100,000 deep":    {"name: " + strings.Repeat("[", 100_000), "exceeded max depth"},
		"block 10,000 deep":    {block(1200), "nested more than 32 deep"},
		"dashes 10,000 deep":   {strings.Repeat("- ", 10_000) + "x", "nested more than 32 deep"},
		"endless aliases":      {laughs, "with its aliases followed the file holds more than 1048576 values"},
		"larger than 1 MiB":    {strings.Repeat("#", 1<<20+1), "lab.yaml:1:1: the file is larger than 1024 KiB"},
		"unclosed":             {"name: [", "lab.yaml:1:1: not YAML:"},
		"binary":               {"\x00\x01\x02", "lab.yaml:1:1: not YAML:"},
		"tab":                  {"name: x\ntopology:\n\tnodes: {}\n", "lab.yaml:3:1: not YAML:"},
		"alias without anchor": {"name: *nobody\n", "not YAML: unknown anchor"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, err := labfile.Parse("lab.yaml", []byte(c.src))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if d := time.Since(start); d > time.Minute {
				t.Errorf("took %v", d)
			}
		})
	}
}

func block(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i%1000))
		if i < 1000 {
			b.WriteString("k:\n")
		}
	}
	return b.String()
}

func TestDefaultsAndInterfaces(t *testing.T) {
	f, err := labfile.Parse("lab.yaml", []byte(`name: x
topology:
  links:
    - {endpoints: [a, b], delay: 5ms, reverse: {loss: 2.5%}}
    - {endpoints: ["a:eth0", "b:eth1"]}
    - {endpoints: [a, b]}
  nodes:
    a: {tcp: {sack: off}}
    b:
  defaults:
    node: {tcp: {congestion: reno, delayedAck: 0s}}
    link: {rate: 1.5mbit, delay: 1ms, queue: 100p}
`))
	if err != nil {
		t.Fatal(err)
	}
	s := f.Spec
	if s.Seed != 1 {
		t.Errorf("seed %d, want 1 where the file has none", s.Seed)
	}
	a := s.Nodes[0].Tcp
	if a.GetSack() || a.Sack == nil || a.GetCongestion() != "reno" || a.DelayedAckNs == nil || a.GetDelayedAckNs() != 0 {
		t.Errorf("node a has %v, want its own setting beside the defaults", a)
	}
	var ends []string
	for _, l := range s.Links {
		ends = append(ends, l.A.Interface+"-"+l.B.Interface)
	}
	if got := strings.Join(ends, " "); got != "eth1-eth0 eth0-eth1 eth2-eth2" {
		t.Errorf("interfaces %s; want those named kept and the next free ones for the others", got)
	}
	l := s.Links[0]
	if l.Forward.DelayNs != 5e6 || l.Reverse.DelayNs != 5e6 || l.Forward.RateBps != 1_500_000 || l.Forward.Loss != nil || l.Reverse.Loss.GetRandom() != 0.025 {
		t.Errorf("link %v", l)
	}
	if s.Links[1].Forward.DelayNs != 1e6 || s.Links[1].Reverse.Queue.GetLimitPackets() != 100 {
		t.Errorf("defaults of links are not applied: %v", s.Links[1])
	}
	if p := f.Position("links[0].reverse.loss.random").String(); p != "lab.yaml:4:55" {
		t.Errorf("position %s", p)
	}
	if p := f.Position("links[1].forward.rate_bps").String(); p != "lab.yaml:12:18" {
		t.Errorf("position of a default %s", p)
	}
}

func TestQueueDevice(t *testing.T) {
	for text, want := range map[string]*labv1.QueueDevice{
		"256p":                {RingPackets: 256},
		"{ring: 3p, bql: {}}": {RingPackets: 3, Bql: &labv1.ByteQueueLimits{}},
		"{ring: 3p, bql: {holdTime: 1ms, limitMin: 2KiB, limitMax: 1MB}}": {RingPackets: 3,
			Bql: &labv1.ByteQueueLimits{HoldTimeNs: 1e6, LimitMinBytes: 2048, LimitMaxBytes: 1_000_000}},
	} {
		f, err := labfile.Parse("lab.yaml", []byte(twoHosts+"queue: {limit: 50p, device: "+text+"}}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Spec.Links[0].Forward.Queue; !proto.Equal(got.Device, want) || got.LimitPackets != 50 {
			t.Errorf("%s: %v", text, got)
		}
	}
}

func TestWebRoot(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("secret", "not for the web")
	write("www/index.html", "hello")
	write("www/sub/a.txt", "a")
	const lab = "name: x\ntopology:\n  nodes: {s: {apps: [{http: {root: ./www}}]}}\n"
	write("lab.yaml", lab)
	if err := os.Symlink("index.html", filepath.Join(dir, "www/home")); err != nil {
		t.Fatal(err)
	}
	f, err := labfile.Load(filepath.Join(dir, "lab.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, r := range f.Spec.Nodes[0].Apps[0].GetHttp().Files {
		paths = append(paths, r.Path)
	}
	if got := strings.Join(paths, " "); got != "home index.html sub/a.txt" {
		t.Errorf("files %s", got)
	}
	if len(f.Uploads) != 2 {
		t.Errorf("%d contents to upload, want 2: a link and its target are one", len(f.Uploads))
	}

	if err := os.Symlink("../secret", filepath.Join(dir, "www/leak")); err != nil {
		t.Fatal(err)
	}
	_, err = labfile.Load(filepath.Join(dir, "lab.yaml"))
	if err == nil || !strings.Contains(err.Error(), "lab.yaml:3:36: root: ") || !strings.Contains(err.Error(), "www/leak is a symbolic link that leads out of ") {
		t.Errorf("a link out of the root: got %v", err)
	}
	wantErrors(t, strings.Replace(lab, "./www", "./nowhere", 1), "lab.yaml:3:36: root: open nowhere: no such file or directory")
}

func TestExamplesLoad(t *testing.T) {
	files, err := filepath.Glob("../examples/*/lab*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d example labs found, %v", len(files), err)
	}
	for _, path := range files {
		if _, err := labfile.Load(path); err != nil {
			t.Error(err)
		}
	}
}

// A file of 100 MB is refused by its size: it is never read.
func TestHugeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lab.yaml")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(100 << 20); err != nil {
		t.Fatal(err)
	}
	if _, err := labfile.Load(path); err == nil || err.Error() != path+":1:1: the file is larger than 1024 KiB" {
		t.Errorf("got %v", err)
	}
}
