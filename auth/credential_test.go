package auth

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestCredentialOfAnyHeader(t *testing.T) {
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	check := func(name string, authorization, apiKey []string, want string, wantErr error) {
		t.Helper()
		got, err := Credential(authorization, apiKey)
		if got != want || !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) {
			t.Errorf("%s: Credential(%q, %q) = %q, %v, want %q, %v", name, authorization, apiKey, got, err, want, wantErr)
		}
	}
	one := func(s ...string) []string { return s }
	check("none", nil, nil, "", ErrNoCredential)
	check("empty", one(""), one(" "), "", ErrNoCredential)
	check("bearer", one("Bearer KEY"), nil, "KEY", nil)
	check("case", one("bEARER KEY"), nil, "KEY", nil)
	check("blanks", one("  Bearer \t  KEY  "), nil, "KEY", nil)
	check("escaped blank", one("Bearer%20KEY"), nil, "KEY", nil)
	check("escaped blanks", one("Bearer%20 %20KEY"), nil, "KEY", nil)
	check("bearer of nothing", one("Bearer"), nil, "", ErrNoCredential)
	check("bearer of blanks", one("Bearer   "), nil, "", ErrNoCredential)
	check("no blank", one("BearerKEY"), nil, "", ErrUnknownKey)
	check("apikey", one("ApiKey KEY"), nil, "KEY", nil)
	check("apikey, escaped blank", one("apikey%20KEY"), nil, "KEY", nil)
	check("apikey, no blank", one("ApiKeyKEY"), nil, "", ErrUnknownKey)
	check("key without a scheme", one(" hg_KEY "), nil, "hg_KEY", nil)
	check("no key and no scheme", one("KEY"), nil, "", ErrUnknownKey)
	check("two keys without a scheme", one("hg_KEY", "hg_OTHER"), nil, "", ErrAmbiguousCredential)
	check("with and without a scheme", one("Bearer hg_KEY", "hg_KEY"), nil, "hg_KEY", nil)
	check("another scheme", one("Digest KEY"), nil, "", ErrUnknownKey)
	check("x-api-key", nil, one(" KEY "), "KEY", nil)
	check("basic", one(basic("user:KEY")), nil, "KEY", nil)
	check("basic without a user", one(basic(":KEY")), nil, "KEY", nil)
	check("basic without padding", one(strings.TrimRight(basic("u:KEY"), "=")), nil, "KEY", nil)
	check("basic with colons in the password", one(basic("u:K:E:Y")), nil, "K:E:Y", nil)
	check("basic without a password", one(basic("KEY")), nil, "", ErrUnknownKey)
	check("basic, empty password", one(basic("u:")), nil, "", ErrNoCredential)
	check("basic, no base64", one("Basic ???"), nil, "", ErrUnknownKey)
	check("the same twice", one("Bearer KEY", "bearer KEY"), one("KEY"), "KEY", nil)
	check("two of a kind", one("Bearer KEY", "Bearer OTHER"), nil, "", ErrAmbiguousCredential)
	check("two headers", one("Bearer KEY"), one("OTHER"), "", ErrAmbiguousCredential)
	check("two api keys", nil, one("KEY", "OTHER"), "", ErrAmbiguousCredential)
	check("basic and bearer", one("Bearer KEY", basic("u:OTHER")), nil, "", ErrAmbiguousCredential)
	check("a good one beside a foreign scheme", one("Digest x"), one("KEY"), "", ErrUnknownKey)
	check("huge", one("Bearer "+strings.Repeat("x", maxHeaderBytes)), nil, "", ErrUnknownKey)
	check("huge api key", nil, one(strings.Repeat("x", maxHeaderBytes+1)), "", ErrUnknownKey)
}

func TestErrorsSayWhatToDoAndNeverTheCredential(t *testing.T) {
	codes := map[string]bool{}
	for _, e := range []*Error{ErrNoCredential, ErrAmbiguousCredential, ErrUnknownKey, ErrExpired, ErrTenantInactive, ErrScope,
		ErrForbidden, ErrNotFound, ErrInvalid, ErrNameTaken, ErrState} {
		if codes[e.Code] || e.Code == "" || !strings.HasSuffix(e.Error(), "("+e.Code+")") {
			t.Errorf("code %q is used twice, or not in the text %q", e.Code, e)
		}
		codes[e.Code] = true
	}
	for _, c := range []string{"hg_SECRET", "Bearer%20SECRET,SECRET", strings.Repeat("SECRET", 1000)} {
		for _, args := range [][2][]string{{{"Digest " + c}, nil}, {{"Bearer " + c}, {"x" + c}}, {nil, {c, "y" + c}}} {
			if _, err := Credential(args[0], args[1]); err == nil || strings.Contains(err.Error(), "SECRET") {
				t.Errorf("error %v for %q", err, args)
			}
		}
	}
}

// Whatever is found was in a header as it stands or as a Basic password, has no blanks around it, and is found again.
func FuzzCredential(f *testing.F) {
	f.Add("Bearer KEY", "")
	f.Add("Bearer%20KEY", "KEY")
	f.Add("Basic dTpLRVk=", "")
	f.Add("ApiKey%20KEY", "")
	f.Add("hg_KEY", "")
	f.Add("", "KEY")
	f.Fuzz(func(t *testing.T, authorization, apiKey string) {
		got, err := Credential([]string{authorization}, []string{apiKey})
		if err != nil {
			var e *Error
			if got != "" || !errors.As(err, &e) {
				t.Fatalf("Credential = %q with %v", got, err)
			}
			return
		}
		if got == "" || len(got) > maxHeaderBytes {
			t.Fatalf("found %q", got)
		}
		plain := strings.Contains(authorization, got) || strings.Contains(apiKey, got)
		if !plain && !strings.Contains(strings.ToLower(authorization), "basic") {
			t.Fatalf("found %q in neither %q nor %q", got, authorization, apiKey)
		}
		again, err := Credential(nil, []string{got})
		if want := strings.Trim(got, " \t"); want != "" && (err != nil || again != want) {
			t.Fatalf("%q is found again as %q, %v", got, again, err)
		}
	})
}

// A text that parses is exactly one that keyText makes: there are no two spellings of a key.
func FuzzParseKeyText(f *testing.F) {
	f.Add(keyText("01ARZ3NDEKTSV4RRFFQ69G5FAV", "0123456789abcdefghijklmnopqrstuv"))
	f.Add("hg___")
	f.Fuzz(func(t *testing.T, s string) {
		id, secret, ok := parseKeyText(s)
		if !ok {
			// Giving it the right checksum is all that makes a well-formed body a key.
			if len(s) == keyChars && strings.HasPrefix(s, keyPrefix) {
				body := s[:keyChars-checksumChars-1]
				if id, secret, ok := parseKeyText(body + "_" + checksum(body)); ok && keyText(id, secret) == s {
					t.Fatalf("%q is a key but does not parse", s)
				}
			}
			return
		}
		if keyText(id, secret) != s {
			t.Fatalf("parse(%q) = %q, %q, which is spelt %q", s, id, secret, keyText(id, secret))
		}
	})
}

func TestEveryMisspeltKeyIsSeenWithoutALookUp(t *testing.T) {
	text := keyText("01ARZ3NDEKTSV4RRFFQ69G5FAV", newSecret())
	if len(text) != keyChars {
		t.Fatalf("a key has %d characters, want %d", len(text), keyChars)
	}
	for i := range len(text) {
		for _, c := range base62 + "_ " {
			bad := text[:i] + string(c) + text[i+1:]
			if _, _, ok := parseKeyText(bad); ok != (bad == text) {
				t.Errorf("parse(%q) ok %v, made from %q", bad, ok, text)
			}
		}
		if i > 0 && text[i] != text[i-1] {
			swapped := text[:i-1] + text[i:i+1] + text[i-1:i] + text[i+1:]
			if _, _, ok := parseKeyText(swapped); ok {
				t.Errorf("two neighbours swapped: %q parses", swapped)
			}
		}
	}
}

func TestSecretsAreUniformAndNeverRepeat(t *testing.T) {
	count := map[byte]int{}
	seen := map[string]bool{}
	const n = 2000
	for range n {
		s := newSecret()
		if len(s) != secretChars || seen[s] {
			t.Fatalf("secret %q", s)
		}
		seen[s] = true
		for i := range len(s) {
			count[s[i]]++
		}
	}
	var counts []int
	for i := range len(base62) {
		counts = append(counts, count[base62[i]])
	}
	// 1032 expected of each, standard deviation 32: seven of them off happens once in 10^10 runs.
	if mean := n * secretChars / 62; slices.Min(counts) < mean-220 || slices.Max(counts) > mean+220 {
		t.Errorf("characters are not equally likely: %v", counts)
	}
}
