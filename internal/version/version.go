// Package version tells which labd this is.
package version

import "runtime/debug"

// String is the module's version, with the commit it was built from where that is known: "v1.2.3", "devel 0123456789ab".
func String() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= shownDigits {
			return "devel " + s.Value[:shownDigits]
		}
	}
	return "devel"
}

// shownDigits of a commit's name tell it apart in any repository of this size.
const shownDigits = 12
