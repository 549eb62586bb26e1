package output

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Seconds prints lab time as seconds with nanosecond digits: "12.345678901s".
func Seconds(ns int64) string {
	sign := ""
	if ns < 0 {
		sign, ns = "-", -ns
	}
	return fmt.Sprintf("%s%d.%09ds", sign, ns/1e9, ns%1e9)
}

// Duration prints a duration in the unit that suits it: "10ms", "1.25s".
func Duration(ns int64) string {
	d := time.Duration(ns)
	switch {
	case d >= time.Minute || d <= -time.Minute:
		d = d.Round(time.Second / 10)
	case d >= time.Second || d <= -time.Second:
		d = d.Round(time.Millisecond)
	case d >= time.Millisecond || d <= -time.Millisecond:
		d = d.Round(time.Microsecond)
	}
	return strings.ReplaceAll(d.String(), "µ", "u")
}

// Rate prints bits a second: "20mbit"; unlimited for 0.
func Rate(bps uint64) string {
	if bps == 0 {
		return "unlimited"
	}
	return scaled(float64(bps), 1000, []string{"bit", "kbit", "mbit", "gbit", "tbit"})
}

// Goodput prints a measured rate: "14.3 Mbit/s".
func Goodput(bps float64) string {
	return scaled(bps, 1000, []string{" bit/s", " kbit/s", " Mbit/s", " Gbit/s", " Tbit/s"})
}

// Size prints bytes: "1.4 MB".
func Size(n uint64) string {
	return scaled(float64(n), 1000, []string{" B", " kB", " MB", " GB", " TB"})
}

// Chance prints a probability as percent.
func Chance(p float64) string { return strconv.FormatFloat(p*100, 'g', 6, 64) + "%" }

// What follows is for tables of 80 columns: three digits say enough there.

// ShortRate prints bits a second in the units of lab files: "14.3mbit".
func ShortRate(bps float64) string {
	return short(bps, []string{"bit", "kbit", "mbit", "gbit", "tbit"})
}

// ShortDuration prints a duration: "56.4ms"; from a minute on as Duration does.
func ShortDuration(ns int64) string {
	switch {
	case ns == 0:
		return "0s"
	case ns < 0 || ns >= int64(time.Minute):
		return Duration(ns)
	}
	return short(float64(ns), []string{"ns", "us", "ms", "s"})
}

// ShortSeconds prints an instant of lab time: "12.346s".
func ShortSeconds(ns int64) string { return fmt.Sprintf("%.3fs", float64(ns)/1e9) }

func short(v float64, units []string) string {
	i := 0
	for v >= 999.5 /* three digits would round it up to 1000 */ && i < len(units)-1 {
		v /= 1000
		i++
	}
	if v >= 999.5 {
		return strconv.FormatFloat(v, 'f', 0, 64) + units[i]
	}
	return strconv.FormatFloat(v, 'g', 3, 64) + units[i]
}

// scaled prints v with three or four digits and the unit that suits it.
func scaled(v, step float64, units []string) string {
	i := 0
	for v >= step && i < len(units)-1 {
		v /= step
		i++
	}
	return strconv.FormatFloat(v, 'g', 4, 64) + units[i]
}
