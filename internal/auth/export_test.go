package auth

// Remembered is how much a Lockout keeps.
func (l *Lockout) Remembered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sources.young) + len(l.sources.old) + len(l.pairs.young) + len(l.pairs.old)
}
