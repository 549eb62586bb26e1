package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"log/slog"
	"strings"
)

// A token's text is labd_ID_SECRETCHECK, all in lower case. ID is public: lists and the audit name the token by it. CHECK follows
// from what stands before it, so that a mistyped token is told from a wrong one, and one that lies about in a repository is
// found for what it is.
const (
	tokenPrefix = "labd_"
	idChars     = 10 // 50 random bits: no two of a million tokens are likely to share one, and the state refuses those
	secretChars = 32 // 160 random bits: nobody guesses them, however fast
	checkChars  = 4  // 20 bits: one mistyped token of a million passes, and is then wrong
	tokenChars  = len(tokenPrefix) + idChars + 1 + secretChars + checkChars
)

// letters are of RFC 4648 6's base32, in lower case.
const letters = "abcdefghijklmnopqrstuvwxyz234567"

var base = base32.NewEncoding(letters).WithPadding(base32.NoPadding)

// Token is what a person shows to be taken for that person. Printed or logged it shows its id alone.
type Token struct {
	ID     string
	secret *string // a pointer, so that printing what holds a Token in a field of its own, past its methods, shows none
}

func tokenOf(id, secret string) Token { return Token{ID: id, secret: &secret} }

// ErrMalformed is of a text that is no token. It never has the text in it.
var ErrMalformed = errors.New("this is no token: it is mistyped or cut short (labd_, 10 letters and digits, _, 36 more)")

// NewToken makes a token that nobody has.
func NewToken() Token {
	return tokenOf(randomChars(idChars), randomChars(secretChars))
}

// Rotated is a new token under the same id.
func Rotated(id string) Token { return tokenOf(id, randomChars(secretChars)) }

func randomChars(n int) string {
	b := make([]byte, (n*5+7)/8)
	rand.Read(b)
	return base.EncodeToString(b)[:n]
}

// ParseToken reads a token's text, which may stand in white space.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	if len(text) != tokenChars || !strings.HasPrefix(text, tokenPrefix) || text[len(tokenPrefix)+idChars] != '_' {
		return Token{}, ErrMalformed
	}
	id, rest := text[len(tokenPrefix):len(tokenPrefix)+idChars], text[len(tokenPrefix)+idChars+1:]
	t := tokenOf(id, rest[:secretChars])
	if !IsTokenID(id) || strings.Trim(rest[:secretChars], letters) != "" || t.check() != rest[secretChars:] {
		return Token{}, ErrMalformed
	}
	return t, nil
}

// IsTokenID tells whether a text may be a token's id.
func IsTokenID(id string) bool { return len(id) == idChars && strings.Trim(id, letters) == "" }

// Text is the token as its person keeps it: whoever has it is taken for that person.
func (t Token) Text() string { return t.plain() + t.check() }

func (t Token) plain() string { return tokenPrefix + t.ID + "_" + *t.secret }

func (t Token) check() string {
	sum := sha256.Sum256([]byte(t.plain()))
	return base.EncodeToString(sum[:])[:checkChars]
}

// Hash is all that labd keeps of the secret.
func (t Token) Hash() []byte {
	sum := sha256.Sum256([]byte(*t.secret))
	return sum[:]
}

// Matches tells whether the token's secret is the one of a hash, in a time that does not depend on where they differ.
func (t Token) Matches(hash []byte) bool { return subtle.ConstantTimeCompare(t.Hash(), hash) == 1 }

// String shows the id alone.
func (t Token) String() string { return tokenPrefix + t.ID + "_..." }

// GoString shows the id alone.
func (t Token) GoString() string { return t.String() }

// LogValue shows the id alone.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// schemeBearer is the scheme of RFC 6750 2.1, which is told apart by no case (RFC 9110 11.1).
const schemeBearer = "bearer "

// ErrNoToken is of a call with which no token came.
var ErrNoToken = errors.New("this labd asks who calls: show a token, as labctl does after labctl login")

// Bearer reads the token of an authorization header.
func Bearer(header string) (Token, error) {
	if header == "" {
		return Token{}, ErrNoToken
	}
	if len(header) < len(schemeBearer) || !strings.EqualFold(header[:len(schemeBearer)], schemeBearer) {
		return Token{}, ErrMalformed
	}
	return ParseToken(header[len(schemeBearer):])
}
