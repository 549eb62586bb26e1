// Package validate says what is wrong with a lab or an input, field by field. Both ends of the API use it: labctl before
// it sends, to name file, line and column, and the server before it accepts, because not every client is labctl. It reads
// messages that anybody may have sent, so nothing in them is trusted to be there.
package validate

import (
	"fmt"
	"math"
	"regexp"
)

// Violation is one rule that a message breaks.
type Violation struct {
	Path       string // of the proto field: "links[2].forward.delay_ns"
	Message    string
	Suggestion string // what was probably meant; may be empty
}

func (v Violation) Error() string {
	s := v.Path + ": " + v.Message
	if v.Suggestion != "" {
		s += "; did you mean " + v.Suggestion + "?"
	}
	return s
}

// maxViolations bounds what is reported of one message: what follows from a wrong default may be wrong everywhere.
const maxViolations = 100

// Limits of a lab. What goes beyond is refused before anything is built.
const (
	maxNodes      = 100_000
	maxLinks      = 200_000
	maxLoops      = 1024   // more than any machine has cores
	maxWorkers    = 1000   // each tells each other of every window
	maxPerNode    = 4096   // interfaces, routes and apps of one node, each
	maxFiles      = 10_000 // of one web server
	maxFrameList  = 100_000
	maxName       = 63 // a DNS label's bound, kept for file names and prompts alike
	maxPath       = 1024
	maxPace       = 1e6
	maxBuffer     = 1 << 30 // RFC 7323 2.2: the largest window that its largest shift can announce
	minBuffer     = 2 << 10 // below two small segments no connection could go on
	minMSS        = 48      // room for some data beside 40 bytes of options
	maxMSS        = 65_495  // 65,535 less the least headers
	maxWindowSegs = 1 << 16
	maxRetries    = 255
	maxBacklog    = 65_535
	maxTimerNs    = 24 * 3600e9 // a day: past any timer that a lab can mean, keepalive included
	minRTONs      = 1e6         // a tick: no timer fires at the instant that it was set
	maxDelayNs    = 3600e9
	maxLabNs      = 1000 * 24 * 3600e9 // lab times keep far from the end of int64
	maxRateBps    = 8_000_000_000_000  // 1 ps a byte, the unit of serialisation
	minMTU        = 68                 // RFC 791: "Every internet module must be able to forward a datagram of 68 octets"
	maxMTU        = 65_535
	maxOverhead   = 1024
	maxQueuePkts  = 1<<20 - 1
	maxRingPkts   = 1 << 16
	maxBQLLimit   = 1879048192
	maxQueueBytes = 1 << 31
	maxContent    = 1 << 40 // bytes of one transfer
	minDatagram   = 16      // its sequence number and length
	maxDatagram   = 65_507  // 65,535 less the IP and UDP headers
	maxPings      = 1_000_000
	maxProbes     = 10
)

// found collects violations.
type found struct{ list []Violation }

func (f *found) add(path, format string, args ...any) { f.suggest(path, "", format, args...) }

func (f *found) suggest(path, suggestion, format string, args ...any) {
	if len(f.list) < maxViolations {
		f.list = append(f.list, Violation{path, fmt.Sprintf(format, args...), suggestion})
	}
}

func (f *found) full() bool { return len(f.list) >= maxViolations }

func sub(path, field string) string {
	if path == "" {
		return field
	}
	return path + "." + field
}

func at(path, field string, i int) string { return fmt.Sprintf("%s[%d]", sub(path, field), i) }

// span checks a duration.
func (f *found) span(path string, ns, largest int64) {
	switch {
	case ns < 0:
		f.add(path, "must not be negative")
	case ns > largest:
		f.add(path, "must be at most %s", seconds(largest))
	}
}

func seconds(ns int64) string { return fmt.Sprintf("%gs", float64(ns)/1e9) }

// chance checks a probability.
func (f *found) chance(path string, p float64) {
	switch {
	case math.IsNaN(p):
		f.add(path, "is not a number")
	case p < 0:
		f.add(path, "must not be below 0%%, got %g%%", p*100)
	case p > 1:
		f.add(path, "must not be above 100%%, got %g%%", p*100)
	}
}

func (f *found) within(path string, v, least, largest uint64, unit string) {
	if v < least || v > largest {
		f.add(path, "must be from %d to %d%s, got %d", least, largest, unit, v)
	}
}

var (
	labName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	nodeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`)
	ifcName  = regexp.MustCompile(`^eth(0|[1-9][0-9]{0,4})$`)
	itemID   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	hexHash  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// RunName reports whether s may name a run or an experiment.
func RunName(s string) bool { return len(s) <= maxName && labName.MatchString(s) }

// clip keeps a message short whatever was sent.
func clip(s string) string {
	if len(s) > maxName {
		return s[:maxName] + "..."
	}
	return s
}
