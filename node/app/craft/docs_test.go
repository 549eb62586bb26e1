package craft

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/send.md anew")

func TestDocumentationIsCurrent(t *testing.T) {
	const path, begin, end = "../../../docs/send.md", "<!-- keys -->\n", "<!-- /keys -->"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(page), begin)
	table, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no table between %q and %q", path, begin, end)
	}
	want := "| field | |\n| --- | --- |\n"
	for _, k := range Keys() {
		want += fmt.Sprintf("| `%s` | %s |\n", k.Name, k.Doc)
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if table != want {
		t.Errorf("the table of %s is not what the package has; go test ./node/app/craft -update writes it", path)
	}
}
