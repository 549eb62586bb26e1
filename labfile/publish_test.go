package labfile_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"labd.dev/labfile"
	"labd.dev/labfile/schema"
)

var update = flag.Bool("update", false, "write schema.json and the key tables of docs/labfile.md anew")

// The schema for editors and the documentation come from the table that the decoder uses.
func TestJSONSchemaIsCurrent(t *testing.T) {
	want := labfile.JSONSchema()
	if *update {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("schema.json")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("schema.json is not what the table says (%v); go test ./labfile -update writes it", err)
	}
}

func TestDocumentationIsCurrent(t *testing.T) {
	const path, begin, end = "../docs/labfile.md", "<!-- keys -->\n", "<!-- /keys -->"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), begin)
	keys, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no key tables between %q and %q", path, begin, end)
	}
	want := schema.Markdown(labfile.Table)
	if *update {
		if err := os.WriteFile(path, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if keys != want {
		t.Errorf("the key tables of %s are not what the table says; go test ./labfile -update writes them", path)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(twoHosts + "delay: 1ms}\n"))
	f.Add([]byte("name: &a [*a]\n"))
	f.Add([]byte("topology: {<<: {nodes: 1}}\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		start := time.Now()
		lab, err := labfile.Parse("lab.yaml", src)
		if d := time.Since(start); d > time.Minute {
			t.Errorf("took %v", d)
		}
		if (lab == nil) == (err == nil) {
			t.Errorf("neither a lab nor an error, or both")
		}
	})
}
