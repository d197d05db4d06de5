package auth

import (
	"crypto/rand"
	"hash/crc32"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// A key's text is hg_<id>_<secret>_<checksum>:
//
//	id        26 characters, a ULID; not secret, safe to log
//	secret    32 characters of base62, 190 random bits
//	checksum   6 characters of base62, CRC-32 of all before it: a misspelt key costs no look-up
//
// An operator token is hga_<secret>.
const (
	keyPrefix      = "hg_"
	operatorPrefix = "hga_"
	secretChars    = 32
	checksumChars  = 6
	keyChars       = len(keyPrefix) + ulid.EncodedSize + 1 + secretChars + 1 + checksumChars
	base62         = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// entropy makes ids of one millisecond ascend, so that what was made first is listed first. What follows an id can be guessed, as its
// time can: nothing is let in by an id.
var entropy = &ulid.LockedMonotonicReader{MonotonicReader: ulid.Monotonic(rand.Reader, 0)}

// newID returns an id that sorts by its time of making, within a process also in one millisecond, and is never made twice. Safe for
// concurrent use.
func newID(now time.Time) string { return ulid.MustNew(ulid.Timestamp(now), entropy).String() }

// newSecret returns secretChars characters of base62, each uniform.
func newSecret() string {
	out := make([]byte, 0, secretChars)
	var buf [2 * secretChars]byte
	for {
		rand.Read(buf[:]) // never fails
		for _, b := range buf {
			if b >= 4*62 { // would favour the first characters
				continue
			}
			if out = append(out, base62[b%62]); len(out) == secretChars {
				return string(out)
			}
		}
	}
}

func keyText(id, secret string) string {
	body := keyPrefix + id + "_" + secret
	return body + "_" + checksum(body)
}

func checksum(s string) string {
	sum := crc32.ChecksumIEEE([]byte(s))
	var out [checksumChars]byte
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = base62[sum%62]
		sum /= 62
	}
	return string(out[:])
}

// parseKeyText splits a key's text, ok only if it has exactly the form and the checksum of one.
func parseKeyText(s string) (id, secret string, ok bool) {
	if len(s) != keyChars || !strings.HasPrefix(s, keyPrefix) {
		return "", "", false
	}
	id, rest := s[len(keyPrefix):][:ulid.EncodedSize], s[len(keyPrefix)+ulid.EncodedSize:]
	secret, sum := rest[1:1+secretChars], rest[2+secretChars:]
	if rest[0] != '_' || rest[1+secretChars] != '_' || !only(id, ulid.Encoding) || !only(secret, base62) {
		return "", "", false
	}
	return id, secret, sum == checksum(s[:keyChars-checksumChars-1])
}

func only(s, alphabet string) bool { return strings.Trim(s, alphabet) == "" }
