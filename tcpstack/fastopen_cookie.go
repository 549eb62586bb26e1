package tcpstack

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"

	"labd.dev/tcpstack/wire"
)

// Fast Open cookies (RFC 7413 4.1.2) are tags of the client's address that none but the server can make. As Linux has
// it: SipHash-2-4 of the two addresses under a key of 16 bytes.

// fastOpenCookieLen is the length of the cookies made here (TCP_FASTOPEN_COOKIE_SIZE).
const fastOpenCookieLen = 8

// maxFastOpenKeys: cookies are made with the first key, and still taken if they were made with the second, so that keys can
// be changed (TCP_FASTOPEN_KEY_MAX).
const maxFastOpenKeys = 2

// fastOpenKey is a key as SipHash takes it.
type fastOpenKey = [2]uint64

// fastOpenKeys reads keys joined by a comma. Each is written as its 16 bytes in hex, or as the sysctl tcp_fastopen_key has
// it: four numbers of 32 bits in hex with hyphens between, whose bytes lie in the key lowest first.
func (r *resolver) fastOpenKeys(text string) []fastOpenKey {
	if text == "" {
		return nil
	}
	list := strings.Split(text, ",")
	var keys []fastOpenKey
	for _, one := range list {
		k, ok := parseFastOpenKey(one)
		if !ok || len(list) > maxFastOpenKeys {
			r.fail("fastOpenKey is %q, not 32 hex digits or two times 32 joined by a comma", text)
			return nil
		}
		keys = append(keys, k)
	}
	return keys
}

func parseFastOpenKey(s string) (k fastOpenKey, ok bool) {
	groups := strings.Split(s, "-")
	if len(groups) == 1 {
		b, err := hex.DecodeString(s)
		if err != nil || len(b) != 16 {
			return k, false
		}
		return fastOpenKey{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}, true
	}
	if len(groups) != 4 {
		return k, false
	}
	for i, g := range groups {
		n, err := strconv.ParseUint(g, 16, 32)
		if err != nil {
			return k, false
		}
		k[i/2] |= n << (32 * (i % 2))
	}
	return k, true
}

// fastOpenKeysOf is what a listener's cookies are made with.
func (s *Stack) fastOpenKeysOf(set *settings) []fastOpenKey {
	if set.fastOpenKeys != nil {
		return set.fastOpenKeys
	}
	return s.tcp.fastOpen.ownKey[:]
}

// fastOpenCookie is the cookie of a client at t.remote.
func (t *tuple) fastOpenCookie(key fastOpenKey) (b [fastOpenCookieLen]byte) {
	var tag uint64
	if client, server := t.remote.netip(), t.local.netip(); client.Is4() {
		var m [8]byte
		c, s := client.As4(), server.As4()
		copy(m[:4], c[:])
		copy(m[4:], s[:])
		tag = sipHash(key, 8<<56, binary.LittleEndian.Uint64(m[:]))
	} else {
		c, s := client.As16(), server.As16()
		tag = sipHash(key, 32<<56, binary.LittleEndian.Uint64(c[:8]), binary.LittleEndian.Uint64(c[8:]),
			binary.LittleEndian.Uint64(s[:8]), binary.LittleEndian.Uint64(s[8:]))
	}
	binary.LittleEndian.PutUint64(b[:], tag)
	return b
}

// checkFastOpenCookie says with which of the keys, counted from 1, a cookie was made; 0: with none.
func (s *Stack) checkFastOpenCookie(set *settings, t *tuple, o *wire.FastOpen) int {
	for i, key := range s.fastOpenKeysOf(set) {
		if b := t.fastOpenCookie(key); string(b[:]) == string(o.Bytes()) {
			return i + 1
		}
	}
	return 0
}
