package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

const (
	minPasswordBytes = 12
	maxPasswordBytes = 256

	saltBytes = 16
	hashBytes = 32

	// hashesAtOnce bounds the memory of hashing to 19 MiB each; waitingHashes those who wait for their turn.
	hashesAtOnce  = 4
	waitingHashes = 64
)

// argon are parameters of argon2id (RFC 9106).
type argon struct {
	memory  uint32 // KiB
	passes  uint32
	threads uint8
}

// passwordCost is what OWASP's Password Storage Cheat Sheet asks for at least. Hashes of other parameters are made anew when
// their owner signs in.
var passwordCost = argon{memory: 19 * 1024, passes: 2, threads: 1}

// ErrBusy says that more passwords are being checked than this process takes on.
var ErrBusy = &Error{"sign-in-busy", "too many sign-ins at this moment: try again in a second"}

// hasher hashes passwords, a few at a time. It is safe for concurrent use.
type hasher struct {
	turns   chan struct{}
	waiting atomic.Int64
	hashed  atomic.Int64 // for tests: that unknown users cost what known ones do
	dummy   string       // the hash of no password
}

func newHasher() *hasher {
	salt, sum := make([]byte, saltBytes), make([]byte, hashBytes)
	rand.Read(salt) // never fails
	rand.Read(sum)  // of which nobody knows a password
	return &hasher{turns: make(chan struct{}, hashesAtOnce), dummy: passwordCost.text(salt, sum)}
}

// run computes one hash when it is its turn.
func (h *hasher) run(ctx context.Context, a argon, password string, salt []byte, length uint32) ([]byte, error) {
	if h.waiting.Add(1) > waitingHashes {
		h.waiting.Add(-1)
		return nil, ErrBusy
	}
	defer h.waiting.Add(-1)
	select {
	case h.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-h.turns }()
	h.hashed.Add(1)
	return argon2.IDKey([]byte(password), salt, a.passes, a.memory, a.threads, length), nil
}

// hash returns what is stored of a password, in the PHC string format.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltBytes)
	rand.Read(salt) // never fails
	sum, err := h.run(ctx, passwordCost, password, salt, hashBytes)
	if err != nil {
		return "", err
	}
	return passwordCost.text(salt, sum), nil
}

// verify reports whether password is the one that stored was made of, and whether it should be stored anew.
//
// SECURITY: with nothing stored a hash is computed all the same, so that the time does not tell who has a password.
func (h *hasher) verify(ctx context.Context, stored, password string) (same, stale bool, err error) {
	known := stored != ""
	if !known {
		stored = h.dummy
	}
	a, salt, want, err := parsePHC(stored)
	if err != nil {
		return false, false, err
	}
	if len(password) > maxPasswordBytes { // none is that long
		password, known = "", false
	}
	got, err := h.run(ctx, a, password, salt, uint32(len(want)))
	if err != nil {
		return false, false, err
	}
	same = subtle.ConstantTimeCompare(got, want) == 1 && known
	return same, same && a != passwordCost, nil
}

// text is a hash in the PHC string format.
func (a argon) text(salt, sum []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, a.memory, a.passes, a.threads, b64(salt), b64(sum))
}

// parsePHC reads what text wrote. Parameters beyond 256 MiB and 16 passes are an error: they are damage.
func parsePHC(s string) (a argon, salt, sum []byte, err error) {
	bad := fmt.Errorf("a stored password has no form that this version knows")
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return a, nil, nil, bad
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &a.memory, &a.passes, &a.threads); err != nil {
		return a, nil, nil, bad
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	sum, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	if err1 != nil || err2 != nil || len(sum) < 16 || len(sum) > 128 || len(salt) < 8 || a.memory > 256<<10 || a.passes < 1 || a.passes > 16 || a.threads < 1 || a.threads > 16 {
		return a, nil, nil, bad
	}
	return a, salt, sum, nil
}

// checkPassword returns ErrInvalid for one that nobody may choose: its length is what makes it good, so there are no rules
// about its characters.
func checkPassword(password, email, slug string) error {
	switch {
	case len(password) < minPasswordBytes || len(password) > maxPasswordBytes:
		return detail(ErrInvalid, "password: want %d to %d bytes", minPasswordBytes, maxPasswordBytes)
	case !utf8.ValidString(password):
		return detail(ErrInvalid, "password: is not UTF-8")
	}
	for _, known := range []string{email, email[:max(strings.LastIndexByte(email, '@'), 0)], slug} {
		if known != "" && strings.EqualFold(password, known) {
			return detail(ErrInvalid, "password: is the e-mail address or the organization's name")
		}
	}
	return nil
}
