package auth_test

import (
	"fmt"
	"testing"
	"time"

	"labd.dev/internal/auth"
)

var lesson = time.Unix(1_800_000_000, 0)

func locked(l *auth.Lockout, from, id string, now time.Time) bool {
	wait, known := l.Locked(from, id, now)
	return wait > 0 && !known
}

func fail(l *auth.Lockout, times int, from, id string, now time.Time) {
	for range times {
		l.Failed(from, id, now)
	}
}

// Who tries another's token too often is locked out, and nobody else is: not that person elsewhere, not others there.
func TestLockoutIsOfWhoTries(t *testing.T) {
	var l auth.Lockout
	fail(&l, 10, "10.0.0.66", "bobs", lesson)
	if locked(&l, "10.0.0.66", "bobs", lesson) {
		t.Error("ten wrong tokens lock out")
	}
	fail(&l, 1, "10.0.0.66", "bobs", lesson)
	if !locked(&l, "10.0.0.66", "bobs", lesson) {
		t.Error("eleven wrong tokens do not lock out")
	}
	if locked(&l, "10.0.0.7", "bobs", lesson) || locked(&l, "10.0.0.66", "anns", lesson) {
		t.Error("others are locked out too")
	}
	if locked(&l, "10.0.0.66", "bobs", lesson.Add(61*time.Second)) {
		t.Error("the first lockout lasts longer than a minute")
	}
}

// A class behind one address, one of which tries tokens at random: the others go on working, newcomers wait.
func TestLockoutOfAnAddress(t *testing.T) {
	var l auth.Lockout
	l.Right("192.0.2.1", "anns", lesson)
	for i := range 101 {
		l.Failed("192.0.2.1", fmt.Sprint("guess", i), lesson)
	}
	fail(&l, 20, "192.0.2.1", "anns", lesson)
	if !locked(&l, "192.0.2.1", "cleos", lesson) || !locked(&l, "192.0.2.1", "guess0", lesson) {
		t.Error("the address is not locked out")
	}
	if locked(&l, "192.0.2.1", "anns", lesson) {
		t.Error("a token that was right from there is locked out by others' failures")
	}
	if wait, _ := l.Locked("192.0.2.1", "anns", lesson); wait == 0 {
		t.Error("wrong secrets of that token are answered as wrong")
	}
	if locked(&l, "192.0.2.2", "cleos", lesson) {
		t.Error("another address is locked out")
	}
}

// Each lockout lasts twice as long as the one before, up to a bound; who behaves for long begins anew.
func TestLockoutsGrow(t *testing.T) {
	var l auth.Lockout
	now := lesson
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 16} {
		fail(&l, 11, "10.0.0.66", "bobs", now)
		if wait, _ := l.Locked("10.0.0.66", "bobs", now); wait != want*time.Minute {
			t.Errorf("locked out for %v, want %d minutes", wait, want)
		}
		now = now.Add(want * time.Minute)
	}
	now = now.Add(21 * time.Minute)
	fail(&l, 11, "10.0.0.66", "bobs", now)
	if wait, _ := l.Locked("10.0.0.66", "bobs", now); wait != time.Minute {
		t.Errorf("after a long pause: %v", wait)
	}
}

// A machine has many IPv6 addresses of one network, and counts once; IPv4 in IPv6 is IPv4.
func TestLockoutOfAnIPv6Network(t *testing.T) {
	var l auth.Lockout
	for i := range 101 {
		l.Failed(fmt.Sprintf("2001:db8::%x", i+1), "", lesson)
	}
	if !locked(&l, "2001:db8::ffff", "any", lesson) || locked(&l, "2001:db8:0:1::1", "any", lesson) {
		t.Error("the /64 is not what counts")
	}
	fail(&l, 101, "::ffff:10.0.0.1", "", lesson)
	if !locked(&l, "10.0.0.1", "any", lesson) || locked(&l, "10.0.0.2", "any", lesson) {
		t.Error("an IPv4 address is not one in IPv6")
	}
}

// What is remembered is bounded, and what was heard of last is kept.
func TestLockoutIsBounded(t *testing.T) {
	var l auth.Lockout
	fail(&l, 11, "10.0.0.66", "bobs", lesson)
	for i := range 100_000 {
		l.Failed(fmt.Sprintf("10.%d.%d.%d", 1+i>>16, i>>8&255, i&255), "", lesson)
		if i%10_000 == 0 {
			l.Failed("10.0.0.66", "bobs", lesson)
		}
	}
	if n := l.Remembered(); n > 80_000 {
		t.Errorf("%d remembered", n)
	}
	if !locked(&l, "10.0.0.66", "bobs", lesson) {
		t.Error("who has failed again and again is forgotten")
	}
}
