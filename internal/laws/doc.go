// Package laws holds tests of how TCP behaves as a whole, in virtual time and over emulated links: laws with bands (slow
// start, the average windows of RFC 9438, DCTCP's alpha, BBR under random loss, every round-trip time), and a golden table
// of goodput.
package laws
