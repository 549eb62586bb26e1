package auth_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"labd.dev/internal/auth"
)

// A token is read back as it was made, and every single character of it counts.
func TestTokenText(t *testing.T) {
	made := auth.NewToken()
	text := made.Text()
	read, err := auth.ParseToken(" " + text + "\n")
	if err != nil || read.Text() != text || !read.Matches(made.Hash()) {
		t.Fatalf("read back: %v, %v", read, err)
	}
	if len(text) != 52 || !strings.HasPrefix(text, "labd_"+made.ID+"_") {
		t.Errorf("a token has %d characters", len(text))
	}
	for i := range text {
		other := byte('a')
		if text[i] == other {
			other = 'b'
		}
		// 20 bits of check: that a mistyped one of these passes happens once in 20,000 runs of this test, and then fails as
		// wrong.
		if got, err := auth.ParseToken(text[:i] + string(other) + text[i+1:]); err == nil && got.Matches(made.Hash()) && got.ID == made.ID {
			t.Errorf("character %d does not count", i)
		}
	}
	for _, bad := range []string{"", "labd_", text[1:], text + "a", strings.ToUpper(text), "Bearer " + text, strings.Replace(text, "_", "-", 1)} {
		if _, err := auth.ParseToken(bad); !errors.Is(err, auth.ErrMalformed) {
			t.Errorf("%d characters: %v", len(bad), err)
		}
	}
}

func TestTokensDiffer(t *testing.T) {
	a, b := auth.NewToken(), auth.NewToken()
	if a.ID == b.ID || a.Matches(b.Hash()) {
		t.Error("two tokens are alike")
	}
	r := auth.Rotated(a.ID)
	if r.ID != a.ID || r.Matches(a.Hash()) || !r.Matches(r.Hash()) {
		t.Error("a rotated token has the old one's secret, or another id")
	}
	if a.Matches(nil) || a.Matches(a.Hash()[:31]) {
		t.Error("a token matches what is no hash")
	}
}

// However a token is printed, its secret is not.
func TestTokenShowsNoSecret(t *testing.T) {
	made := auth.NewToken()
	text := made.Text()
	secret := text[len("labd_")+11:]
	hidden := struct{ t auth.Token }{made} // whose methods fmt does not call
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "token", made, "tokens", []auth.Token{made}, "in", struct{ T auth.Token }{made}, "within", hidden)
	in, err := json.Marshal(made)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(made), fmt.Sprintf("%v %+v %s %#v %q", made, made, made, made, made), fmt.Sprintf("%v %+v %v %+v %#v", &made, []auth.Token{made}, hidden, hidden, hidden),
		logged.String(), string(in)} {
		if strings.Contains(shown, secret[:8]) {
			t.Errorf("shows the secret: %s", strings.ReplaceAll(shown, secret, "(secret)"))
		}
	}
	for _, err := range []error{auth.ErrMalformed, auth.ErrNoToken} {
		if strings.Contains(err.Error(), secret) {
			t.Error(err)
		}
	}
}

func TestBearer(t *testing.T) {
	made := auth.NewToken()
	for header, want := range map[string]error{
		"Bearer " + made.Text(): nil, "bearer  " + made.Text(): nil, "": auth.ErrNoToken,
		"Basic " + made.Text(): auth.ErrMalformed, made.Text(): auth.ErrMalformed, "Bearer": auth.ErrMalformed, "Bearer x": auth.ErrMalformed,
	} {
		if got, err := auth.Bearer(header); !errors.Is(err, want) || want == nil && got.Text() != made.Text() {
			t.Errorf("%d characters: %v", len(header), err)
		}
	}
}

// Whatever is shown for a token, reading it neither fails nor takes for one what is none.
func FuzzParseToken(f *testing.F) {
	f.Add(auth.NewToken().Text())
	f.Add("labd_aaaaaaaaaa_" + strings.Repeat("a", 36))
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		for _, read := range []func(string) (auth.Token, error){auth.ParseToken, auth.Bearer} {
			got, err := read(text)
			if err != nil {
				if text != "" && len(text) > 3 && strings.Contains(err.Error(), text) && !strings.Contains(auth.ErrMalformed.Error(), text) && !strings.Contains(auth.ErrNoToken.Error(), text) {
					t.Errorf("the error has the text in it: %v", err)
				}
				continue
			}
			if again, err := auth.ParseToken(got.Text()); err != nil || again.Text() != got.Text() || !strings.Contains(text, got.Text()) || !auth.IsTokenID(got.ID) {
				t.Errorf("read %v, and again %v, %v", got, again, err)
			}
		}
	})
}
