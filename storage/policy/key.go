package policy

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/headgate-io/headgate/internal/tenant"
)

const (
	keyBytes = 32
	macBytes = 2 * sha256.Size // in hex
)

// Key signs capabilities. Whoever has it can read every tenant's rows. The zero Key signs nothing.
type Key struct{ b []byte }

// NewKey makes a random key.
func NewKey() Key {
	k := Key{make([]byte, keyBytes)}
	_, _ = rand.Read(k.b) // it never fails
	return k
}

// Private reports whether nobody but this process's user and root can read a file with a secret. A file of root may be readable
// to its group where the process is not root's: that is how Kubernetes hands secrets to a user.
func Private(info fs.FileInfo) bool { return private(info, os.Geteuid()) }

func private(info fs.FileInfo, user int) bool {
	perm := info.Mode().Perm()
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid == 0 && user != 0 {
		return perm&0o037 == 0
	}
	return perm&0o077 == 0
}

// ReadKey reads a key from a file of 64 hexadecimal digits. It refuses a file that is not Private.
func ReadKey(path string) (Key, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Key{}, fmt.Errorf("policy key: %w", err)
	}
	// SECURITY: the key opens every tenant's rows to who can send SQL as the reader.
	if !Private(info) {
		return Key{}, fmt.Errorf("policy key %s: mode %04o lets others read it; want 0600", path, info.Mode().Perm())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Key{}, fmt.Errorf("policy key: %w", err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(b) != keyBytes {
		return Key{}, fmt.Errorf("policy key %s: want %d hexadecimal digits", path, 2*keyBytes)
	}
	return Key{b}, nil
}

// CreateKey makes a random key and writes it to a new file with mode 0600, for ReadKey. A file that exists is an error.
func CreateKey(path string) (Key, error) {
	k := NewKey()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return Key{}, fmt.Errorf("policy key: %w", err)
	}
	_, err = f.WriteString(hex.EncodeToString(k.b) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return Key{}, fmt.Errorf("policy key %s: %w", path, err)
	}
	return k, nil
}

// OpenKey is ReadKey, or CreateKey where there is no file yet.
func OpenKey(path string) (Key, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return CreateKey(path)
	}
	return ReadKey(path)
}

// IsZero reports whether k is no key.
func (k Key) IsZero() bool { return len(k.b) == 0 }

// everything is what Internal signs. No tenant id can be it: their alphabet has no '*'.
const everything = "*"

// Tenants is the capability to read the rows of scope's tenants: "<mac>:<tenant>,<tenant>…". It is "", which opens nothing,
// for the zero scope and for the zero key.
func (k Key) Tenants(scope tenant.Scope) string {
	if !scope.Valid() {
		return ""
	}
	return k.sign(strings.Join(scope.Strings(), ","))
}

// Internal is the capability of headgate itself where the policies bind its writing identity too: it opens every row.
//
// SECURITY: for the settings of writing connections alone. A reader never gets it.
func (k Key) Internal() string { return k.sign(everything) }

func (k Key) sign(payload string) string {
	// SECURITY: a MAC with an empty key could be made by anyone.
	if k.IsZero() {
		return ""
	}
	mac := hmac.New(sha256.New, k.b)
	mac.Write([]byte(payload))
	return hex.EncodeToString(mac.Sum(nil)) + ":" + payload
}

// pads are the two blocks that HMAC-SHA256 puts before its passes, in hex: what a policy needs of the key.
func (k Key) pads() (inner, outer string) {
	var block [sha256.BlockSize]byte
	copy(block[:], k.b)
	in, out := block, block
	for i := range block {
		in[i] ^= 0x36
		out[i] ^= 0x5c
	}
	return hex.EncodeToString(in[:]), hex.EncodeToString(out[:])
}

// Password is that of an account which Server makes. It follows from the key, so that the statements are the same each time.
func (k Key) Password(account string) string {
	mac := hmac.New(sha256.New, k.b)
	mac.Write([]byte("password:" + account)) // no payload of a capability: an id has no ':'
	return hex.EncodeToString(mac.Sum(nil))
}
