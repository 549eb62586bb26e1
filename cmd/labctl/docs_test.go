package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"labd.dev/internal/daemon"
	"labd.dev/internal/output"
)

var update = flag.Bool("update", false, "rewrite what the docs have from the commands")

// The commands of the pages in the order that a reader types them: each ends well.
func TestDocumentedCommands(t *testing.T) {
	for _, page := range []string{"README.md", "docs/labctl.md", "docs/course.md"} {
		t.Run(page, func(t *testing.T) {
			lines := commandsOf(t, filepath.Join(repository(t), page))
			readerOf(t)
			runPage(t, lines, daemon.IdentityConfig{})
		})
	}
}

// The page for instructors begins with a labd that asks who calls, and shows the files that its commands read.
func TestInstructorPage(t *testing.T) {
	page := filepath.Join(repository(t), "docs/instructor.md")
	lines := commandsOf(t, page)
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	readerOf(t)
	showFiles(t, string(text), map[string]string{"csv": "roster.csv", "yaml": "checks.yaml"})
	runPage(t, lines, daemon.IdentityConfig{Auth: daemon.AuthOn, TokenFile: "admin.token"})
}

// showFiles writes the files that a page shows, each in a block of its kind.
func showFiles(t *testing.T, page string, names map[string]string) {
	t.Helper()
	for kind, name := range names {
		_, block, ok := strings.Cut(page, "\n```"+kind+"\n")
		block, _, closed := strings.Cut(block, "```\n")
		if !ok || !closed || !strings.Contains(page, "`"+name+"`") {
			t.Fatalf("the page does not show %s", name)
		}
		if err := os.WriteFile(name, []byte(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// readerOf makes a directory with what a reader of the pages has, and goes there.
func readerOf(t *testing.T) {
	t.Helper()
	root, dir := repository(t), t.TempDir()
	for _, name := range []string{"examples", "README.md"} {
		if err := os.Symlink(filepath.Join(root, name), filepath.Join(dir, name)); err != nil {
			t.Skip("no symbolic links here:", err)
		}
	}
	t.Chdir(dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("LABD_LAB", "")
}

// runPage starts a labd, and types a page's commands: each ends well.
func runPage(t *testing.T, lines [][]string, identity daemon.IdentityConfig) {
	t.Helper()
	d, err := daemon.Start(daemon.Config{DataDir: "state", Listen: "127.0.0.1:0", Identity: identity})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop(context.Background())
	for deadline := time.Now().Add(2 * time.Minute); identity.TokenFile != ""; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(identity.TokenFile); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no administrator was made")
		}
	}
	t.Setenv("LABD_SERVER", d.Addr())
	for _, line := range lines {
		var out, errOut bytes.Buffer
		if code := execute(line, strings.NewReader(""), &out, &errOut); code != 0 {
			t.Errorf("labctl %s: exit %d\n%s%s", strings.Join(line, " "), code, &out, &errOut)
		}
	}
	if len(lines) < 5 {
		t.Errorf("only %d commands found", len(lines))
	}
}

func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// commandsOf lists the arguments of a page's labctl commands: lines of its code blocks, without their comments.
func commandsOf(t *testing.T, path string) [][]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var commands [][]string
	for _, line := range linesOf(string(text)) {
		rest, ok := strings.CutPrefix(line, "go run ./cmd/labctl ")
		if !ok {
			rest, ok = strings.CutPrefix(line, "labctl ")
		}
		if ok {
			commands = append(commands, words(t, rest))
		}
	}
	return commands
}

// linesOf lists the lines of a page's code blocks, without their prompts and comments. The first of each is the block's kind.
func linesOf(page string) []string {
	var lines []string
	for i, block := range strings.Split(page, "\n```") {
		if i%2 == 0 {
			continue
		}
		for line := range strings.Lines(block) {
			line, _, _ = strings.Cut(strings.TrimPrefix(line, "$ "), " #")
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// words splits a command line at spaces outside of single quotes.
func words(t *testing.T, line string) []string {
	t.Helper()
	quoted := strings.Split(line, "'")
	if len(quoted)%2 == 0 {
		t.Fatalf("%s: a quote is not closed", line)
	}
	var list []string
	for i, part := range quoted {
		if i%2 == 1 {
			list = append(list, part)
		} else {
			list = append(list, strings.Fields(part)...)
		}
	}
	return list
}

// The picture in README.md is what its command prints.
func TestReadmePicture(t *testing.T) {
	root := repository(t)
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	const command = "$ go run ./cmd/labctl run examples/handshake/experiment.yaml\n"
	before, rest, ok := strings.Cut(string(text), command)
	picture, after, closed := strings.Cut(rest, "```\n")
	if !ok || !closed {
		t.Fatalf("no block in README.md begins with %q", command)
	}
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(root, "examples"), filepath.Join(dir, "examples")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	t.Chdir(dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
	t.Setenv("LABD_SERVER", "")
	var out, errOut bytes.Buffer
	if code := execute([]string{"run", "examples/handshake/experiment.yaml"}, nil, &out, &errOut); code != 0 {
		t.Fatalf("exit %d: %s", code, &errOut)
	}
	if *update {
		if err := os.WriteFile(filepath.Join(root, "README.md"), []byte(before+command+out.String()+"```\n"+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if out.String() != picture {
		t.Errorf("README.md's picture is not what the command prints (go test ./cmd/labctl -update):\n%s", &out)
	}
}

// docs/labctl.md ends with every verb and flag that there is, made from the commands themselves.
func TestReferencePage(t *testing.T) {
	path := filepath.Join(repository(t), "docs/labctl.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const heading = "## Every verb and flag\n"
	before, _, ok := strings.Cut(string(text), heading)
	if !ok {
		t.Fatalf("docs/labctl.md has no %q", heading)
	}
	want := before + heading + reference()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Error("docs/labctl.md is not what the commands say; go test ./cmd/labctl -update writes it")
	}
}

func reference() string {
	var b strings.Builder
	a := &app{format: output.Table}
	root := a.rootCommand()
	b.WriteString("\nFor all verbs:\n\n")
	flagTable(&b, root.PersistentFlags())
	for _, verb := range verbsOf(root) {
		fmt.Fprintf(&b, "\n### `%s`\n\n%s.\n", strings.TrimSuffix(verb.UseLine(), " [flags]"), verb.Short)
		if verb.LocalNonPersistentFlags().HasFlags() {
			b.WriteString("\n")
			flagTable(&b, verb.LocalNonPersistentFlags())
		}
	}
	return b.String()
}

// verbsOf lists the commands that do something, those of cobra's own apart.
func verbsOf(cmd *cobra.Command) []*cobra.Command {
	var list []*cobra.Command
	for _, sub := range cmd.Commands() {
		switch {
		case sub.Name() == "help" || sub.Name() == "completion":
		case sub.HasSubCommands():
			list = append(list, verbsOf(sub)...)
		default:
			list = append(list, sub)
		}
	}
	slices.SortFunc(list, func(a, b *cobra.Command) int { return strings.Compare(a.CommandPath(), b.CommandPath()) })
	return list
}

func flagTable(b *strings.Builder, flags *pflag.FlagSet) {
	b.WriteString("| flag | meaning |\n| --- | --- |\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", name, strings.ReplaceAll(f.Usage, "|", "\\|"))
	})
}

// Each verb that people can type has an example in its help.
func TestVerbsHaveExamples(t *testing.T) {
	a := &app{format: output.Table}
	for _, verb := range verbsOf(a.rootCommand()) {
		if verb.Example == "" && verb.Name() != "version" {
			t.Errorf("%s --help has no example", verb.CommandPath())
		}
	}
}
