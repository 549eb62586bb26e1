package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/tools/txtar"

	"labd.dev/internal/output"
)

// What people see fits a terminal of 80 columns: no line of a golden output is wider. CSV is for programs.
func TestGoldenOutputsFit(t *testing.T) {
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, path := range scripts {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range txtar.Parse(text).Files {
			if !strings.HasSuffix(f.Name, ".golden") || strings.HasSuffix(f.Name, "-csv.golden") {
				continue
			}
			checked++
			for line := range strings.Lines(string(f.Data)) {
				if line = strings.TrimSuffix(line, "\n"); utf8.RuneCountInString(line) > output.Columns {
					t.Errorf("%s, %s: %d columns\n%s", path, f.Name, utf8.RuneCountInString(line), line)
				}
			}
		}
	}
	if checked < 40 {
		t.Errorf("only %d golden outputs found", checked)
	}
}
