package auth

import (
	"fmt"
	"net/mail"
	"strings"
	"unicode"
)

const (
	// maxPersonChars bounds a person's name, which stands before the names of labs and in paths.
	maxPersonChars = 63
	// maxEmailChars is RFC 5321 4.5.3.1.3's 256 octets of a path, less its brackets.
	maxEmailChars = 254
	// maxSectionChars bounds the name of a section, and maxLabelChars what a token is said to be for.
	maxSectionChars = 63
	maxLabelChars   = 100
)

// CheckPerson tells what is wrong with a person's name; empty: nothing. Names stand in paths, in OWNER/LAB and on command
// lines.
func CheckPerson(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case len(name) > maxPersonChars:
		return fmt.Sprintf("it has more than %d characters", maxPersonChars)
	case strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") != "":
		return "a name has small letters a-z, digits, dots, _ and - only, as bob or j.doe"
	case strings.Trim(name[:1], "._-") == "" || strings.Contains(name, ".."):
		return "a name begins with a letter or a digit, and has no two dots in a row"
	}
	return ""
}

// CheckEmail tells what is wrong with an e-mail address; empty: nothing. An absent one is none of its business.
func CheckEmail(address string) string {
	if len(address) > maxEmailChars {
		return fmt.Sprintf("it has more than %d characters", maxEmailChars)
	}
	parsed, err := mail.ParseAddress(address)
	if err != nil || parsed.Address != address {
		return "it is no e-mail address"
	}
	_, domain, _ := strings.Cut(address[strings.LastIndexByte(address, '@'):], "@")
	if strings.Trim(domain, ".") != domain || strings.Contains(domain, "..") {
		return "it is no e-mail address"
	}
	return ""
}

// CheckSection tells what is wrong with the name of a section; empty: nothing.
func CheckSection(name string) string { return checkLine(name, maxSectionChars) }

// CheckLabel tells what is wrong with a token's label; empty: nothing.
func CheckLabel(label string) string { return checkLine(label, maxLabelChars) }

func checkLine(text string, most int) string {
	switch {
	case len(text) > most:
		return fmt.Sprintf("it has more than %d bytes", most)
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }):
		return "it has characters that cannot be printed"
	}
	return ""
}
