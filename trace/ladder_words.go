package trace

import "fmt"

// reasonNotes are the reasons of sending that a ladder tells; the others show in flags and length.
var reasonNotes = map[string]string{
	"dupack":     "dup ACK",
	"wnd_update": "window update",
	"zwp":        "zero-window probe",
	"fast_rtx":   "fast retransmission",
	"rto_rtx":    "RTO retransmission",
	"tlp":        "tail loss probe",
	"challenge":  "challenge ACK",
}

// verdictNotes are the verdicts of a receiver that a ladder tells.
var verdictNotes = map[string]string{
	"dup":           "nothing new in it",
	"old":           "old ACK",
	"out_of_window": "outside the window",
}

// lossWords says why a link dropped a frame.
func lossWords(cause string) string {
	switch cause {
	case "queue_full":
		return "queue full"
	case "fault":
		return "link down"
	case "removed":
		return "gone with"
	case "mtu":
		return "too big for"
	default:
		return "lost"
	}
}

// dropWords says why an end threw a segment away.
func dropWords(reason string) string {
	switch reason {
	case "checksum":
		return "bad checksum"
	case "paws":
		return "old timestamp (PAWS)"
	case "no_socket":
		return "no such connection"
	case "out_of_window":
		return "outside the window"
	case "backlog":
		return "backlog full"
	}
	return reason
}

// happening says what came about at an end besides segments; "" for what a ladder leaves out.
func (b *builder) happening(e *Event) string {
	switch e.Name {
	case "tcp:timer_fired":
		timer := e.text("timer")
		words := map[string]string{"rto": "RTO expires", "persist": "persist timer expires"}[timer]
		if us := b.setFor[b.end(e)][timer]; us > 0 && words != "" {
			words += " after " + shortSeconds(int64(us)*1000)
		}
		return words
	case "tcp:recovery_entered":
		return fmt.Sprintf("%s recovery: cwnd %d -> %d", recoveryWords(e.text("kind")), e.number("cwnd_before"), e.number("cwnd_after"))
	case "tcp:recovery_exited":
		return fmt.Sprintf("recovered: cwnd %d", e.number("cwnd_after"))
	case "tcp:connection_closed":
		switch e.text("reason") {
		case "reset":
			return "connection reset"
		case "timeout":
			return "connection timed out"
		case "refused":
			return "connection refused"
		case "unreachable":
			return "peer unreachable"
		case "aborted":
			return "application aborts"
		}
	}
	return ""
}

func recoveryWords(kind string) string {
	switch kind {
	case "fast":
		return "fast"
	case "rto":
		return "RTO"
	}
	return kind
}

// shortSeconds prints a duration with the digits that matter: "1 s", "250 ms", "40.5 ms", "7 us".
func shortSeconds(ns int64) string {
	switch {
	case ns >= 1e9:
		return trimZeros(float64(ns)/1e9) + " s"
	case ns >= 1e6:
		return trimZeros(float64(ns)/1e6) + " ms"
	}
	return trimZeros(float64(ns)/1e3) + " us"
}

// shortBytes prints an amount in decimal units: "500 B", "1.4 MB".
func shortBytes(n uint64) string {
	switch {
	case n >= 1e9:
		return trimZeros(float64(n)/1e9) + " GB"
	case n >= 1e6:
		return trimZeros(float64(n)/1e6) + " MB"
	case n >= 1e4:
		return trimZeros(float64(n)/1e3) + " kB"
	}
	return fmt.Sprintf("%d B", n)
}

// trimZeros prints at most one decimal place below 100 (three below 10 would pretend precision), none above.
func trimZeros(x float64) string {
	if x >= 100 {
		return fmt.Sprintf("%.0f", x)
	}
	s := fmt.Sprintf("%.1f", x)
	if len(s) > 2 && s[len(s)-2:] == ".0" {
		return s[:len(s)-2]
	}
	return s
}

// count prints a number and its noun: "1 segment", "950 segments".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
