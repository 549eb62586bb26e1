package packetdrill

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The scripts of testdata/sockets pass, those named fail-* fail, those named skip-* are skipped.
func TestSocketScripts(t *testing.T) {
	found := 0
	err := filepath.WalkDir("testdata/sockets", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".pkt" {
			return err
		}
		found++
		t.Run(strings.TrimSuffix(d.Name(), ".pkt"), func(t *testing.T) {
			src, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want := Pass
			for _, s := range []Status{Fail, Skip} {
				if strings.HasPrefix(d.Name(), string(s)+"-") {
					want = s
				}
			}
			if r := Run(path, src, Options{}); r.Status != want {
				t.Errorf("%s:%d: %s: %s", path, r.Line, r.Status, r.Reason)
			}
		})
		return nil
	})
	if err != nil || found == 0 {
		t.Fatalf("%d scripts found: %v", found, err)
	}
}
