package schema

import (
	"fmt"
	"math"
	"math/big"
	"strings"
)

// maxNumber bounds the text of a number with its unit, so that no arithmetic grows with what a file holds.
const maxNumber = 40

type unit struct {
	name string
	in   int64 // how many of the base unit it is
}

// Units of each quantity, the base unit's multiples. The order is that of the error messages.
var (
	durationUnits = []unit{{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"min", 60e9}, {"h", 3600e9}}
	rateUnits     = []unit{{"bit", 1}, {"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}}
	sizeUnits     = []unit{{"B", 1}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}}
	packetUnits   = []unit{{"p", 1}}
)

func unitNames(units []unit) string {
	names := make([]string, len(units))
	for i, u := range units {
		names[i] = u.name
	}
	return strings.Join(names, ", ")
}

// splitNumber cuts "1.5ms" into its number and its unit.
func splitNumber(s string) (number, unit string, ok bool) {
	if len(s) > maxNumber {
		return "", "", false
	}
	i := 0
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		i++
	}
	digits, dots := 0, 0
	for ; i < len(s) && (s[i] == '.' || s[i] >= '0' && s[i] <= '9'); i++ {
		if s[i] == '.' {
			dots++
		} else {
			digits++
		}
	}
	return s[:i], strings.TrimSpace(s[i:]), digits > 0 && dots <= 1
}

// parseQuantity reads a number with one of the units, exactly: the result is a whole number of the base unit. It may be
// negative; whether it may be is the validator's to say.
func parseQuantity(s, what, example string, units []unit) (int64, error) {
	number, name, ok := splitNumber(s)
	if !ok {
		return 0, fmt.Errorf("%q is not a %s; write it like %s", clip(s), what, example)
	}
	if name == "" {
		return 0, fmt.Errorf("%s %q has no unit; write it like %s (units: %s)", what, s, example, unitNames(units))
	}
	for _, u := range units {
		if u.name != name {
			continue
		}
		r, ok := new(big.Rat).SetString(number)
		if !ok {
			return 0, fmt.Errorf("%q is not a %s; write it like %s", s, what, example)
		}
		r.Mul(r, new(big.Rat).SetInt64(u.in))
		switch {
		case !r.IsInt():
			return 0, fmt.Errorf("%s %q is finer than 1 %s", what, s, units[0].name)
		case !r.Num().IsInt64():
			return 0, fmt.Errorf("%s %q is too large", what, s)
		}
		return r.Num().Int64(), nil
	}
	for _, u := range units {
		if strings.EqualFold(u.name, name) {
			return 0, fmt.Errorf("%s %q has an unknown unit %q; did you mean \"%s%s\"?", what, s, name, number, u.name)
		}
	}
	return 0, fmt.Errorf("%s %q has an unknown unit %q; write it like %s (units: %s)", what, s, name, example, unitNames(units))
}

// ParseDuration reads "10ms" as nanoseconds.
func ParseDuration(s string) (int64, error) {
	return parseQuantity(s, "duration", "10ms", durationUnits)
}

// ParseRate reads "10mbit" as bits a second. 0 is refused: to the API it means no limit, to a person nothing at all.
func ParseRate(s string) (uint64, error) {
	bps, err := unsigned(parseQuantity(s, "rate", "10mbit", rateUnits))
	if err == nil && bps == 0 {
		err = fmt.Errorf("%s is no rate; without one there is no limit, and what carries nothing is down", clip(s))
	}
	return bps, err
}

// ParseSize reads "64KiB" as bytes.
func ParseSize(s string) (uint64, error) {
	return unsigned(parseQuantity(s, "size", "64KiB", sizeUnits))
}

// ParsePackets reads "100p" as a number of packets.
func ParsePackets(s string) (uint64, error) {
	return unsigned(parseQuantity(s, "number of packets", "100p", packetUnits))
}

func unsigned(n int64, err error) (uint64, error) {
	if err == nil && n < 0 {
		err = fmt.Errorf("must not be negative")
	}
	return uint64(max(n, 0)), err
}

// ParseChance reads "1.5%" as 0.015. What lies outside 0% to 100% is the validator's to refuse.
func ParseChance(s string) (float64, error) {
	number, name, ok := splitNumber(s)
	if !ok || name != "" && name != "%" {
		return 0, fmt.Errorf("%q is not a chance; write it like 1%%", clip(s))
	}
	if name == "" {
		return 0, fmt.Errorf("chance %q has no unit; write it like 1%% (unit: %%)", s)
	}
	r, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, fmt.Errorf("%q is not a chance; write it like 1%%", s)
	}
	f, _ := r.Quo(r, big.NewRat(100, 1)).Float64()
	if math.IsInf(f, 0) {
		return 0, fmt.Errorf("chance %q is too large", s)
	}
	return f, nil
}

// clip keeps an error message readable whatever the file holds.
func clip(s string) string {
	if len(s) > maxNumber {
		return s[:maxNumber] + "..."
	}
	return s
}
