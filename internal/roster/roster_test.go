package roster_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"labd.dev/internal/auth"
	"labd.dev/internal/roster"
	"labd.dev/labfile/schema"
)

func TestRosters(t *testing.T) {
	for name, src := range map[string]string{
		"plain":                       "name,email,section,role\nann,ann@example.org,tue,\nbob,bob@example.org,tue,instructor\n",
		"a byte-order mark":           "\xef\xbb\xbfname,email,section,role\nann,ann@example.org,tue,\nbob,bob@example.org,tue,instructor\n",
		"a spreadsheet's line ends":   "name,email,section,role\r\nann,ann@example.org,tue,\r\nbob,bob@example.org,tue,instructor\r\n",
		"semicolons":                  "name;email;section;role\nann;ann@example.org;tue;\nbob;bob@example.org;tue;Instructor\n",
		"tabs":                        "name\temail\tsection\trole\nann\tann@example.org\ttue\t\nbob\tbob@example.org\ttue\tinstructor",
		"others' names, other order":  "Role,Login,ID,E-Mail,Group\n,ann,7,ann@example.org,tue\ninstructor,bob,8,bob@example.org,tue\n",
		"quotes, blanks, blank lines": "\"name\", email ,section,role\n\n\"ann\", ann@example.org ,tue\n,,,\nbob,bob@example.org,tue,instructor\n",
	} {
		r, err := roster.Parse("r.csv", []byte(src))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := []roster.Person{{Name: "ann", Email: "ann@example.org", Section: "tue"}, {Name: "bob", Email: "bob@example.org", Section: "tue", Role: auth.Instructor}}
		if fmt.Sprint(r.People) != fmt.Sprint(want) {
			t.Errorf("%s: %v", name, r.People)
		}
	}
	r, err := roster.Parse("r.csv", []byte("name,phone\nann,1\n"))
	if err != nil || fmt.Sprint(r.Ignored) != "[phone]" {
		t.Error(r, err)
	}
}

func TestBadRosters(t *testing.T) {
	for src, want := range map[string]string{
		"":                           "r.csv:1:1: the file is empty",
		"\n\n":                       "r.csv:1:1: the file is empty",
		"name\n":                     "r.csv:1:1: there is nobody",
		"ann,ann@example.org\n":      "r.csv:1:1: no column is called name",
		"name,email,name\n":          "r.csv:1:12: a second column says the name",
		"name\nann\nbob\nann\n":      `r.csv:4:1: name "ann" is in line 2 already`,
		"name,email\na,x@y\nb,X@y\n": `r.csv:3:3: email "x@y" is in line 2 already`,
		"name,email\nann,ann\n":      `r.csv:2:5: email "ann": it is no e-mail address`,
		"name\nAnn\n":                `r.csv:2:1: name "Ann": a name has small letters only: ann`,
		"name\nann smith\n":          `r.csv:2:1: name "ann smith": a name has`,
		"name\n../etc\n":             `r.csv:2:1: name "../etc": a name has`,
		"name,role\nann,boss\n":      `r.csv:2:5: role "boss": there are student`,
		"name,email\n,ann@x.org\n":   `r.csv:2:1: name "": it is empty`,
		"email,name\nann@x.org\n":    "r.csv:2:1: the line has no name",
		"name\nann,extra\n":          "r.csv:2:5: the line has more columns",
		"name\n\"ann\n":              "r.csv:",
		"name\nan\"n\n":              "r.csv:2:3: bare \" in non-quoted",
		"\xff\xfen\x00a\x00":         "r.csv:1:1: the file is in UTF-16",
		"name\nann\x00\n":            "r.csv:2:4: there is a zero byte",
		"name\nj\xf6rg\n":            "r.csv:2:2: the text is not in UTF-8",
		"name,section\nann,a\x07b\n": "r.csv:2:5: section",
		strings.Repeat("x", 17<<20):  "r.csv:1:1: the file is larger than 16 MiB",
		"name\n" + strings.Repeat(",", 300) + "x\n": "r.csv:2:1: the line has more than 200 columns",
	} {
		_, err := roster.Parse("r.csv", []byte(src))
		var one *schema.Error
		var many *schema.Errors
		if err == nil || !strings.HasPrefix(err.Error(), want) || !errors.As(err, &one) && !errors.As(err, &many) {
			t.Errorf("%.40q: %v, want %s", src, err, want)
		}
	}
}

// A roster of a hundred thousand is refused where it becomes too long, and of a thousand errors the first are told.
func TestLongRosters(t *testing.T) {
	var b strings.Builder
	b.WriteString("name,email\n")
	for i := range 100_000 {
		fmt.Fprintf(&b, "s%d,s%d@example.org\n", i, i)
	}
	path := filepath.Join(t.TempDir(), "r.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := roster.ReadFile(path); err == nil || !strings.HasSuffix(err.Error(), "r.csv:10002:1: more than 10000 people") {
		t.Error(err)
	}
	_, err := roster.Parse("r.csv", []byte("name\n"+strings.Repeat("X Y\n", 1000)))
	if lines := strings.Count(fmt.Sprint(err), "\n"); lines != schema.MaxErrors {
		t.Errorf("%d lines of errors", lines)
	}
	if r, err := roster.Parse("r.csv", []byte(b.String()[:strings.Index(b.String(), "s10000,")])); err != nil || len(r.People) != roster.MaxPeople {
		t.Error(err)
	}
}

// Whatever a file holds, it is read or refused with a place in it, and what is read may be a person's.
func FuzzParse(f *testing.F) {
	f.Add([]byte("name,email,section,role\nann,ann@example.org,tue,student\n"))
	f.Add([]byte("\xef\xbb\xbfname;email\r\n\"b\"\"ob\";\"x\ny\"\r\n"))
	f.Add([]byte("name\n\"\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		r, err := roster.Parse("r.csv", src)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "r.csv:") {
				t.Errorf("no place: %v", err)
			}
			return
		}
		seen := make(map[string]bool)
		for _, p := range r.People {
			if auth.CheckPerson(p.Name) != "" || seen[p.Name] || p.Email != "" && auth.CheckEmail(p.Email) != "" || auth.CheckSection(p.Section) != "" {
				t.Errorf("let pass: %+v", p)
			}
			seen[p.Name] = true
		}
	})
}
