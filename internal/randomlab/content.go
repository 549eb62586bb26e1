package randomlab

import (
	"crypto/sha256"
	"encoding/hex"

	labv1 "labd.dev/proto/lab/v1"
)

// page is what every host's web server has. No two of its kilobytes are the same.
var page = func() (b []byte) {
	for i := range 40_000 {
		b = append(b, byte(i>>10*7+i))
	}
	return b
}()

// Page is the content that labs serve, which a worker must have before they start.
func Page() []byte { return page }

// Content names it.
func Content() *labv1.FileRef {
	sum := sha256.Sum256(page)
	return &labv1.FileRef{Path: "page", Sha256: hex.EncodeToString(sum[:]), SizeBytes: uint64(len(page))}
}
