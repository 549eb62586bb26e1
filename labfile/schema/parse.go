package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// MaxFileSize bounds a lab or experiment file, bytes: a lab of ten thousand links takes about this much.
	MaxFileSize = 1 << 20
	// maxDepth bounds nesting. The deepest key of the tables lies 9 deep.
	maxDepth = 32
	// maxValues bounds what a file holds once its aliases are followed. A file of MaxFileSize without aliases holds less.
	maxValues = 1 << 20
)

// ReadFile reads a file of at most MaxFileSize bytes; a larger one is refused by its size, unread.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, &Error{Position: Position{File: path}, Message: "is a directory; a YAML file is wanted"}
	}
	tooLarge := &Error{Position: Position{File: path, Line: 1, Column: 1}, Message: fmt.Sprintf("the file is larger than %d KiB", MaxFileSize>>10)}
	if info.Size() > MaxFileSize {
		return nil, tooLarge
	}
	// What is no regular file has no size to ask for.
	src, err := io.ReadAll(io.LimitReader(f, MaxFileSize+1))
	if err != nil {
		return nil, err
	}
	if len(src) > MaxFileSize {
		return nil, tooLarge
	}
	return src, nil
}

// parse turns the bytes of a file into its tree, bounded in size, depth and aliases.
func parse(file string, src []byte) (root *yaml.Node, err error) {
	at := func(line, column int, format string, args ...any) error {
		return &Error{Position: Position{file, line, column}, Message: fmt.Sprintf(format, args...)}
	}
	if len(src) > MaxFileSize {
		return nil, at(1, 1, "the file is larger than %d KiB", MaxFileSize>>10)
	}
	// The YAML library must not take the program down with it, whatever a file holds.
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, at(1, 1, "not YAML: %v", p)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var doc, second yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, at(1, 1, "the file is empty")
	case err != nil:
		line, column, message := syntaxError(src, err)
		return nil, at(line, column, "%s", message)
	}
	root = doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" && root.Value == "" {
		return nil, at(1, 1, "the file is empty")
	}
	b := bounds{open: map[*yaml.Node]bool{}}
	if n, message := b.walk(root, 0); n != nil {
		return nil, at(n.Line, n.Column, "%s", message)
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		if err != nil {
			line, column, message := syntaxError(src, err)
			return nil, at(line, column, "%s", message)
		}
		return nil, at(second.Line, max(second.Column, 1), "a second document begins here; a file holds one")
	}
	return root, nil
}

var yamlLine = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)

// syntaxError finds the place of a YAML library's error, which names a line only: the column is where the line's text
// begins.
func syntaxError(src []byte, err error) (line, column int, message string) {
	line, message = 1, err.Error()
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		message = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	column = 1
	if lines := bytes.Split(src, []byte("\n")); line >= 1 && line <= len(lines) {
		text := string(lines[line-1])
		column += len(text) - len(strings.TrimLeft(text, " "))
	}
	return line, column, "not YAML: " + message
}

// bounds walks a tree as decoding will, aliases followed.
type bounds struct {
	open   map[*yaml.Node]bool // alias targets being walked
	values int
}

func (b *bounds) walk(n *yaml.Node, depth int) (*yaml.Node, string) {
	b.values++
	switch {
	case depth > maxDepth:
		return n, fmt.Sprintf("nested more than %d deep", maxDepth)
	case b.values > maxValues:
		return n, fmt.Sprintf("with its aliases followed the file holds more than %d values", maxValues)
	case n.Kind == yaml.AliasNode:
		if b.open[n.Alias] {
			return n, fmt.Sprintf("the alias *%s lies inside what it stands for", n.Value)
		}
		b.open[n.Alias] = true
		defer delete(b.open, n.Alias)
		if bad, message := b.walk(n.Alias, depth+1); bad != nil {
			return n, message + fmt.Sprintf(" (through the alias *%s)", n.Value)
		}
	}
	if n.Anchor != "" {
		if !b.open[n] {
			b.open[n] = true
			defer delete(b.open, n)
		}
	}
	for _, c := range n.Content {
		if bad, message := b.walk(c, depth+1); bad != nil {
			return bad, message
		}
	}
	return nil, ""
}
