package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"labd.dev/internal/daemon"
)

// What docs/exercises.md has a student read off the trace, by its place-holder in an answer.
var readings = map[string]func(t *testing.T, lab, check string) string{
	"ISS": func(t *testing.T, lab, check string) string {
		node := strings.TrimSuffix(check, "-iss")
		for _, e := range eventsOf(t, lab, "tcp:connection_started") {
			if e.Node == node {
				return e.Data["iss"].String()
			}
		}
		return "none"
	},
	"RTT": func(t *testing.T, lab, _ string) string {
		for _, e := range eventsOf(t, lab, "tcp:metrics_updated") {
			if e.Node == "alice" && e.Data["min_rtt_us"] != "0" {
				return e.Data["min_rtt_us"].String()
			}
		}
		return "none"
	},
	"COUNT": func(t *testing.T, lab, _ string) string {
		n := 0
		for _, e := range eventsOf(t, lab, "udp:received") {
			if e.Node == "bob" {
				n++
			}
		}
		return strconv.Itoa(n)
	},
}

// traced is an event as labctl prints it.
type traced struct {
	Node string
	Data map[string]json.Number
}

func eventsOf(t *testing.T, lab, name string) (list []traced) {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := execute([]string{"events", lab, "--name", name, "-o", "jsonl"}, nil, &out, &errOut); code != 0 {
		t.Fatalf("labctl events %s: exit %d: %s", lab, code, &errOut)
	}
	for lines := bufio.NewScanner(&out); lines.Scan(); {
		var e struct {
			Node string
			Data map[string]json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		numbers := make(map[string]json.Number)
		for key, value := range e.Data {
			numbers[key] = json.Number(value)
		}
		list = append(list, traced{e.Node, numbers})
	}
	return list
}

// Each exercise is worth nothing before anything was done in its lab, and all points after what the page shows.
func TestExercisesPage(t *testing.T) {
	lines := commandsOf(t, filepath.Join(repository(t), "docs/exercises.md"))
	readerOf(t)
	d, err := daemon.Start(daemon.Config{DataDir: "state", Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop(context.Background())
	t.Setenv("LABD_SERVER", d.Addr())
	labctl := func(line []string) (code int, out string) {
		var both bytes.Buffer
		code = execute(line, strings.NewReader(""), &both, &both)
		return code, both.String()
	}
	exercises := 0
	for _, line := range lines {
		text := strings.Join(line, " ")
		for i, word := range line {
			id, mark, ok := strings.Cut(word, "=")
			if read := readings[mark]; ok && i > 0 && line[i-1] == "--answer" && read != nil {
				line[i] = id + "=" + read(t, line[1], id)
			}
		}
		if i := slices.Index(line, "--due"); i > 0 { // what is late has its hidden checks judged at once
			line[i+1] = time.Now().Add(-24 * time.Hour).UTC().Format(time.RFC3339)
			line = append(line, "--late-days", "3")
		}
		code, out := labctl(line)
		switch {
		case strings.Contains(text, "--protocol udp"):
			if code != exitFailed || !strings.Contains(out, "DIFFERS") {
				t.Errorf("labctl %s: exit %d\n%s", text, code, out)
			}
		case code != 0:
			t.Fatalf("labctl %s: exit %d\n%s", text, code, out)
		}
		switch {
		case strings.HasPrefix(text, "lab start "):
			if code, out := labctl([]string{"check", line[2]}); code != exitFailed || !strings.Contains(out, "\n0 of ") {
				t.Errorf("%s is worth something before it is begun: exit %d\n%s", line[2], code, out)
			}
		case strings.HasPrefix(text, "submit "):
			exercises++
			if strings.Contains(out, "FAILED") || strings.Contains(out, "so far") {
				t.Errorf("labctl %s: not all points\n%s", text, out)
			}
		}
	}
	dirs, err := filepath.Glob("examples/class/*/checks.yaml")
	if err != nil || exercises == 0 || exercises != len(dirs) {
		t.Errorf("%d exercises on the page, %d under examples/class (%v)", exercises, len(dirs), err)
	}
}
