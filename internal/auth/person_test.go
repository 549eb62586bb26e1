package auth_test

import (
	"strings"
	"testing"

	"labd.dev/internal/auth"
)

func TestCheckPerson(t *testing.T) {
	for _, good := range []string{"bob", "j.doe", "a1", "0x", "anna-lena_2", strings.Repeat("a", 63)} {
		if why := auth.CheckPerson(good); why != "" {
			t.Errorf("%q: %s", good, why)
		}
	}
	for _, bad := range []string{"", "Bob", "a b", "a/b", "..", ".a", "-a", "a..b", "ä", "a\x00", "a\n", strings.Repeat("a", 64), "bob@x"} {
		if auth.CheckPerson(bad) == "" {
			t.Errorf("%q is let pass", bad)
		}
	}
}

func TestCheckEmail(t *testing.T) {
	for _, good := range []string{"bob@example.org", "j.doe+lab@cs.example.edu", "x@localhost"} {
		if why := auth.CheckEmail(good); why != "" {
			t.Errorf("%q: %s", good, why)
		}
	}
	for _, bad := range []string{"bob", "bob@", "@example.org", "Bob <bob@example.org>", "a@b@c", "bob@example..org", "bob @example.org", " bob@example.org",
		"bob@example.org\n", strings.Repeat("a", 250) + "@b.de"} {
		if auth.CheckEmail(bad) == "" {
			t.Errorf("%q is let pass", bad)
		}
	}
}
