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

var update = flag.Bool("update", false, "write schema.json and the key tables of the documentation anew")

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
	keys := schema.Markdown(table, schema.Titles(labfile.Table)...)
	for _, title := range schema.Titles(labfile.Table) {
		keys = linked(keys, title, "labfile.md")
	}
	current(t, "../docs/experiment.md", keys)
	keys = schema.Markdown(checkTable, schema.Titles(check)...)
	for _, title := range schema.Titles(check) {
		keys = linked(keys, title, "experiment.md")
	}
	current(t, "../docs/checks.md", keys)
}

// linked makes references to an object ones to another page.
func linked(keys, title, page string) string {
	link := "(#" + strings.ReplaceAll(strings.ToLower(title), " ", "-") + ")"
	return strings.ReplaceAll(keys, "["+title+"]"+link, "["+title+"]("+page+link[1:])
}

// current holds a page's key tables against what they should be.
func current(t *testing.T, path, want string) {
	t.Helper()
	const begin, end = "<!-- keys -->\n", "<!-- /keys -->"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), begin)
	keys, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no key tables between %q and %q", path, begin, end)
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
