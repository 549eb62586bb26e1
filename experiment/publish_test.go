package experiment

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"labd.dev/labfile"
	"labd.dev/labfile/schema"
)

var update = flag.Bool("update", false, "write schema.json and the key tables of docs/experiment.md anew")

// The schema for editors and the documentation come from the table that the decoder uses.
func TestJSONSchemaIsCurrent(t *testing.T) {
	want := JSONSchema()
	if *update {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("schema.json")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("schema.json is not what the table says (%v); go test ./experiment -update writes it", err)
	}
}

func TestDocumentationIsCurrent(t *testing.T) {
	const path, begin, end = "../docs/experiment.md", "<!-- keys -->\n", "<!-- /keys -->"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), begin)
	keys, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no key tables between %q and %q", path, begin, end)
	}
	want := schema.Markdown(table, schema.Titles(labfile.Table)...)
	for _, title := range schema.Titles(labfile.Table) {
		link := "(#" + strings.ReplaceAll(strings.ToLower(title), " ", "-") + ")"
		want = strings.ReplaceAll(want, "["+title+"]"+link, "["+title+"](labfile.md"+link[1:])
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if keys != want {
		t.Errorf("the key tables of %s are not what the table says; go test ./experiment -update writes them", path)
	}
}
