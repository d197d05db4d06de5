package alert

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A secret is 32 random bytes, shown once as whsec_ and base64 (Standard Webhooks, "Signature scheme"). Signing needs it in
// clear, so it is stored encrypted with AES-256-GCM under a key that is not in the database, bound to its webhook's id.

const (
	secretPrefix = "whsec_"
	secretBytes  = 32
)

// KeyBytes is the length of Options.Key.
const KeyBytes = 32

// vault encrypts secrets.
type vault struct{ aead cipher.AEAD }

func newVault(key [KeyBytes]byte) vault {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("BUG: " + err.Error())
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return vault{aead}
}

func newSecret() []byte {
	s := make([]byte, secretBytes)
	rand.Read(s) // never fails
	return s
}

func secretText(secret []byte) string {
	return secretPrefix + base64.StdEncoding.EncodeToString(secret)
}

// seal returns the secret as it is stored for the webhook of that id: nonce, ciphertext.
func (v vault) seal(id string, secret []byte) []byte {
	nonce := make([]byte, v.aead.NonceSize(), v.aead.NonceSize()+len(secret)+v.aead.Overhead())
	rand.Read(nonce)
	return v.aead.Seal(nonce, nonce, secret, []byte(id))
}

var errSecret = errors.New("the stored secret cannot be decrypted: was the pepper file replaced? make the webhook anew")

func (v vault) open(id string, sealed []byte) ([]byte, error) {
	n := v.aead.NonceSize()
	if len(sealed) < n {
		return nil, errSecret
	}
	secret, err := v.aead.Open(nil, sealed[:n], sealed[n:], []byte(id))
	if err != nil {
		return nil, errSecret
	}
	return secret, nil
}

// signature is the webhook-signature of a message: v1, HMAC-SHA256 of id.timestamp.body. Ids have no full stop.
func signature(secret []byte, id string, at time.Time, body []byte) string {
	h := hmac.New(sha256.New, secret)
	fmt.Fprintf(h, "%s.%d.", id, at.Unix())
	h.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(h.Sum(nil))
}

// printable makes text of a target fit for a terminal, a log and a cell: at most n characters, none of control.
func printable(s string, n int) string {
	var out strings.Builder
	for _, r := range s {
		if n--; n < 0 {
			break
		}
		if r < 0x20 || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == 0xfffd {
			r = ' '
		}
		out.WriteRune(r)
	}
	return strings.TrimSpace(out.String())
}
