package validate

import "strings"

// maxWord bounds the words that are compared: names of keys, nodes and links are shorter.
const maxWord = 64

// maxCandidates bounds how many are compared: a lab may have 100,000 nodes, and as many endpoints that name none.
const maxCandidates = 2000

// Nearest is the candidate that a misspelled word was probably meant to be; empty if none of the first maxCandidates
// comes near.
func Nearest(word string, candidates []string) string {
	if word == "" || len(word) > maxWord {
		return ""
	}
	best, at := "", max(1, len(word)/3)+1
	for _, c := range candidates[:min(len(candidates), maxCandidates)] {
		if strings.EqualFold(c, word) {
			return c
		}
		if len(c) <= maxWord && max(len(c)-len(word), len(word)-len(c)) < at {
			if d := distance(strings.ToLower(word), strings.ToLower(c)); d < at {
				best, at = c, d
			}
		}
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with a neighbour to get from a to b.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
