package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"

	labv1 "labd.dev/proto/lab/v1"
	"labd.dev/sim"
)

// generateBlock is how much generated content is made at a time: a chunk of the largest size class.
const generateBlock = 64 << 10

// content is what a transfer carries: a file's bytes, or bytes made from a stream as they are needed. Byte i of generated
// content depends on nothing but the seed, the name and i, so that both ends know it.
type content struct {
	size   uint64
	sha256 string // hex; empty for generated content, whose sum is found on the way
	blob   []byte
	stream sim.Stream
}

func generated(seed uint64, name string, size uint64) content {
	return content{size: size, stream: sim.NewStream(seed, name)}
}

// contentOf is what a transfer's sender sends. Only the sender needs the bytes of a file; the receiver passes blob nil
// and learns size and SHA-256.
func contentOf(seed uint64, t *labv1.Transfer, blob func(string) ([]byte, error)) (content, error) {
	file := t.GetFile()
	if file == nil {
		return generated(seed, "transfer "+t.GetId(), t.GetGeneratedBytes()), nil
	}
	c := content{size: file.GetSizeBytes(), sha256: file.GetSha256()}
	if blob == nil {
		return c, nil
	}
	var err error
	if c.blob, err = blob(c.sha256); err != nil {
		return c, fmt.Errorf("content of %s: %w", file.GetPath(), err)
	}
	if uint64(len(c.blob)) != c.size {
		return c, fmt.Errorf("content of %s has %d bytes, not the %d announced", file.GetPath(), len(c.blob), c.size)
	}
	return c, nil
}

// replyOf is what a transfer's receiver sends back.
func replyOf(seed uint64, t *labv1.Transfer) content {
	return generated(seed, "transfer "+t.GetId()+" reply", t.GetReplyBytes())
}

// generate fills b with generated content from byte off on.
func (c *content) generate(b []byte, off uint64) {
	var word [8]byte
	if skip := int(off % 8); skip > 0 {
		binary.LittleEndian.PutUint64(word[:], c.stream.Uint64(off/8))
		n := copy(b, word[skip:])
		b, off = b[n:], off+uint64(n)
	}
	i := off / 8
	for ; len(b) >= 8; i++ {
		binary.LittleEndian.PutUint64(b, c.stream.Uint64(i))
		b = b[8:]
	}
	if len(b) > 0 {
		binary.LittleEndian.PutUint64(word[:], c.stream.Uint64(i))
		copy(b, word[:])
	}
}

// copyTo fills b with the content from byte off on.
func (c *content) copyTo(b []byte, off uint64) {
	if c.blob != nil {
		copy(b, c.blob[off:])
		return
	}
	c.generate(b, off)
}

// source hands content over in immutable chunks, front to back: a file is one chunk around its bytes, generated content
// is made a block at a time.
type source struct {
	loop *sim.Loop
	content
	pos   uint64     // handed over
	chunk *sim.Chunk // holds the bytes from start on; nil before the first block
	start uint64
	end   uint64 // of the block that has been read
}

func newSource(loop *sim.Loop, c content) *source { return &source{loop: loop, content: c} }

// left is how much has not been handed over.
func (s *source) left() uint64 { return s.size - s.pos }

// read takes the next block, of at most n bytes, once the last one has been handed over, and says how long it is; 0 if
// there was nothing to do or nothing is left.
func (s *source) read(n int) int {
	if s.pos < s.end || s.left() == 0 {
		return 0
	}
	if s.chunk == nil || s.pos == s.start+uint64(len(s.chunk.Data)) {
		s.fill()
	}
	n = min(n, len(s.chunk.Data)-int(s.pos-s.start))
	s.end += uint64(n)
	return n
}

// block shows what is left of the block that was read last.
func (s *source) block() (ch *sim.Chunk, off, size int) {
	return s.chunk, int(s.pos - s.start), int(s.end - s.pos)
}

func (s *source) fill() {
	s.release()
	s.start = s.pos
	if s.blob != nil {
		s.start, s.chunk = 0, s.loop.NewStaticChunk(s.blob)
		return
	}
	s.chunk = s.loop.NewChunk(int(min(s.left(), generateBlock)))
	s.generate(s.chunk.Data, s.pos)
}

// advance says that n of the bytes shown have been taken.
func (s *source) advance(n int) { s.pos += uint64(n) }

// release lets go of the chunk; what the stack still needs of it, it has retained.
func (s *source) release() {
	if s.chunk != nil {
		s.chunk.Release()
		s.chunk = nil
	}
}

// checker compares what arrives with what was to be sent: generated content byte by byte, files by their SHA-256. It sums
// both.
type checker struct {
	want  content
	n     uint64
	hash  hash.Hash
	wrong bool // a byte differed
	block [1024]byte
}

func newChecker(want content) *checker { return &checker{want: want, hash: sha256.New()} }

// write takes the next bytes. More than there should be are wrong.
func (c *checker) write(b []byte) {
	c.hash.Write(b)
	if c.n+uint64(len(b)) > c.want.size {
		c.wrong = true
	}
	for c.want.sha256 == "" && !c.wrong && len(b) > 0 {
		k := min(len(b), len(c.block))
		c.want.generate(c.block[:k], c.n)
		c.wrong = !bytes.Equal(b[:k], c.block[:k])
		c.n += uint64(k)
		b = b[k:]
	}
	c.n += uint64(len(b))
}

// complete says that as many bytes came as should.
func (c *checker) complete() bool { return c.n >= c.want.size }

// sum is the SHA-256 of what came so far, in hex.
func (c *checker) sum() string { return hex.EncodeToString(c.hash.Sum(nil)) }

// match says whether what came is what was to be sent.
func (c *checker) match(sum string) bool {
	return !c.wrong && c.n == c.want.size && (c.want.sha256 == "" || sum == c.want.sha256)
}
