//go:build !linux

package sim

func newWallClock() WallClock { return newTimerClock() }
