package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"testing"
	"time"

	"labd.dev/internal/runbook"
)

// Beyond its limit a worker lets go of the contents that nobody has asked for the longest, and of none that was asked for
// just now.
func TestOldContentsGo(t *testing.T) {
	b, err := newBlobs(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	b.limit = 10
	put := func(content string, age time.Duration) string {
		raw := sha256.Sum256([]byte(content))
		sum := hex.EncodeToString(raw[:])
		in, err := b.create(sum)
		if err == nil {
			err = in.write([]byte(content))
		}
		if err == nil {
			err = in.commit()
		}
		if err == nil {
			at := time.Now().Add(-age)
			err = os.Chtimes(b.path(sum), at, at)
		}
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	oldest, asked, recent := put("aaaa", 3*time.Hour), put("bbbb", 2*time.Hour), put("cc", time.Minute)
	if !b.has(asked) {
		t.Fatal("it is gone within the limit")
	}
	last := put("dddddd", 0)
	for sum, want := range map[string]bool{oldest: false, asked: true, recent: true, last: true} {
		if b.has(sum) != want {
			t.Errorf("content %s is there: %v", sum, !want)
		}
	}
}

// A content that has changed on the disk is not taken for what it was.
func TestDamagedContent(t *testing.T) {
	b, err := newBlobs(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	raw := sha256.Sum256([]byte("content"))
	sum := hex.EncodeToString(raw[:])
	if err := os.WriteFile(b.path(sum), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.read(sum); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.path(sum), []byte("contend"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := b.read(sum)
	if err == nil {
		t.Fatalf("%q", got)
	}
	runbook.Says(t, "a file in `files/` or `blobs/` has changed on disk", err.Error())
}
