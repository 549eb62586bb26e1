package packetdrill

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"labd.dev/sim"
	"labd.dev/tcpstack"
)

// Our own scripts, a folder for each RFC, and one for the personality that is not
// Linux's. The first line of each says what it
// stands on:
//
//	// switch: sack=off
//
// names settings of TCPConfig, with which the script must fail; and
//
//	// switch: lost=3
//
// says that what it shows is no setting: it must fail once its third inbound
// packet is lost. What a script sets by a sysctl of its own stands on that:
//
//	// switch: net.ipv4.tcp_fastopen=0
//
// it must fail with this value wherever it sets the sysctl. A second line may hold settings that the script runs with:
//
//	// with: ecn=on
func TestScripts(t *testing.T) {
	var files []string
	for _, folder := range []string{"rfc*", "freebsd"} {
		found, err := filepath.Glob("testdata/" + folder + "/*.pkt")
		if err != nil || len(found) == 0 {
			t.Fatal(folder, len(found), err)
		}
		files = append(files, found...)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(f, "testdata/"), ".pkt"), func(t *testing.T) {
			src, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			off, with := header(t, string(src))
			var exactly time.Duration
			o := Options{Tolerance: &exactly}
			if with != "" {
				configure(t, &o.TCP, with)
			}
			if r := Run(f, src, o); r.Status != Pass {
				t.Errorf("%s:%d: %s: %s", f, r.Line, r.Status, r.Reason)
			}
			if n, ok := strings.CutPrefix(off, "lost="); ok {
				src = lose(t, src, n)
			} else if strings.HasPrefix(off, "net.") {
				src = resysctl(t, src, off)
			} else {
				configure(t, &o.TCP, off)
			}
			if r := Run(f, src, o); r.Status != Fail {
				t.Errorf("%s:%d: %s with %s: %s", f, r.Line, r.Status, off, r.Reason)
			}
		})
	}
}

// header reads the comments at a script's beginning.
func header(t *testing.T, src string) (off, with string) {
	t.Helper()
	lines := strings.SplitN(src, "\n", 3)
	off, ok := strings.CutPrefix(lines[0], "// switch: ")
	if !ok || len(lines) < 3 {
		t.Fatal("the first line is not // switch: ...")
	}
	with, _ = strings.CutPrefix(lines[1], "// with: ")
	if with == lines[1] {
		with = ""
	}
	return off, with
}

// configure sets "sack=off, minRTO=1s" in a configuration: keys are its fields'
// names, as in a lab file.
func configure(t *testing.T, c *tcpstack.TCPConfig, settings string) {
	t.Helper()
	for _, s := range strings.Split(settings, ",") {
		k, v, ok := strings.Cut(strings.TrimSpace(s), "=")
		f := reflect.ValueOf(c).Elem().FieldByNameFunc(func(n string) bool { return strings.EqualFold(n, k) })
		if !ok || !f.IsValid() {
			t.Fatalf("no setting %q", s)
		}
		if f.Kind() == reflect.Pointer {
			f.Set(reflect.New(f.Type().Elem()))
			f = f.Elem()
		}
		if err := setValue(f, v); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func setValue(f reflect.Value, v string) error {
	switch {
	case f.Type() == reflect.TypeFor[sim.Time]():
		d, err := time.ParseDuration(v)
		f.SetInt(int64(d))
		return err
	case f.Kind() == reflect.Bool:
		f.SetBool(v == "on")
		if v != "on" && v != "off" {
			return fmt.Errorf("%q is neither on nor off", v)
		}
	case f.Kind() == reflect.String:
		f.SetString(v)
	default:
		n, err := strconv.ParseUint(v, 10, 64)
		f.SetUint(n)
		return err
	}
	return nil
}

// lose takes the script's nth inbound packet away, counted from 1, and keeps the
// time of what follows it.
func lose(t *testing.T, src []byte, nth string) []byte {
	t.Helper()
	n, err := strconv.Atoi(nth)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(src), "\n")
	for i, l := range lines {
		at, rest, ok := strings.Cut(strings.TrimSpace(l), " ")
		if rest = strings.TrimSpace(rest); !ok || !strings.HasPrefix(rest, "<") {
			continue
		}
		if n--; n == 0 {
			lines[i] = at + " < udp 1 > 1 (0)" // for nobody
			return []byte(strings.Join(lines, "\n"))
		}
	}
	t.Fatalf("no inbound packet %s", nth)
	return nil
}

// resysctl gives a sysctl, "name=value", this value wherever the script sets it.
func resysctl(t *testing.T, src []byte, setting string) []byte {
	t.Helper()
	name, _, _ := strings.Cut(setting, "=")
	set := regexp.MustCompile("\\b" + regexp.QuoteMeta(name) + "=(\"[^\"]*\"|[^\\s`]+)")
	head, body, _ := bytes.Cut(src, []byte("\n")) // the first line names it, too
	if !set.Match(body) {
		t.Fatalf("the script does not set %s", name)
	}
	return slices.Concat(head, []byte("\n"), set.ReplaceAll(body, []byte(setting)))
}
