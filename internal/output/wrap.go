package output

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLines bounds the lines of one cell; the rest is elided, and is in -o wide.
const maxLines = 8

// wrap breaks text into lines of so many runes: between the things of a list, else at spaces where there are any, else after a sign that joins names, else
// anywhere.
func wrap(text string, width int) []string {
	var lines []string
	rest := []rune(text)
	for len(rest) > width {
		if len(lines) == maxLines-1 {
			return append(lines, string(rest[:width-1])+"…")
		}
		at := breakAt(rest, width)
		lines = append(lines, strings.TrimRight(string(rest[:at]), " "))
		for at < len(rest) && rest[at] == ' ' {
			at++
		}
		rest = rest[at:]
	}
	return append(lines, string(rest))
}

// breakAt is where a line of at most so many runes ends in a text that is longer.
func breakAt(text []rune, width int) int {
	for _, end := range []string{", ", " "} {
		if head := string(text[:width+1]); strings.Contains(head, end) {
			return utf8.RuneCountInString(head[:strings.LastIndex(head, end)+len(end)-1])
		}
	}
	for at := width; at > width/2; at-- {
		if strings.ContainsRune("->/,:", text[at-1]) && (unicode.IsLetter(text[at]) || unicode.IsDigit(text[at])) {
			return at
		}
	}
	return width
}

// Hanging wraps each line of a text to 80 columns; what a line goes on with stands so many columns in.
func Hanging(text string, indent int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		own := len(line) - len(strings.TrimLeft(line, " "))
		for own+indent < Columns/2 && utf8.RuneCountInString(line) > Columns {
			at := spaceBefore(line, own)
			if at <= own {
				break // one long word, such as a path: it stays whole, to be copied
			}
			b.WriteString(strings.TrimRight(line[:at], " ") + "\n")
			line = strings.Repeat(" ", indent) + strings.TrimLeft(line[at:], " ")
			own = indent
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

// Elided cuts each line of a text to 80 columns.
func Elided(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		runes := []rune(strings.TrimSuffix(line, "\n"))
		if len(runes) > Columns {
			runes = append(runes[:Columns-1], '…')
		}
		b.WriteString(string(runes) + "\n")
	}
	return b.String()
}

// spaceBefore is the last space in a line's first 81 columns; or the first after them, past a word that is longer.
func spaceBefore(line string, from int) int {
	last, column := 0, 0
	for i, r := range line {
		if r == ' ' && i > from {
			if last = i; column > Columns {
				return last
			}
		}
		if column >= Columns && last > from {
			return last
		}
		column++
	}
	return last
}
