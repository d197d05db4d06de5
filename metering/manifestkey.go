package metering

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/store"
)

// SignerFile holds the seed of the key that manifests are signed with, base64, mode 0600.
const SignerFile = "usage-export.key"

// Signer signs manifests. It is safe for concurrent use.
type Signer struct {
	ID  string // of the key
	key ed25519.PrivateKey
}

// Sign returns the signature of a text, base64. The text begins with a line that no other kind of signed text begins with.
func (s *Signer) Sign(text string) string {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(s.key, []byte(text)))
}

// VerifyText returns nil if the key with that id has signed the text, else ErrManifest.
func VerifyText(key ed25519.PublicKey, id, text, signature string) error {
	raw, err := base64.StdEncoding.DecodeString(signature)
	switch {
	case err != nil || len(key) != ed25519.PublicKeySize:
		return fmt.Errorf("%w: the signature or the key is no base64 of the right length", ErrManifest)
	case id != KeyID(key):
		return fmt.Errorf("%w: signed with key %.16s, not with %s", ErrManifest, id, KeyID(key))
	case !ed25519.Verify(key, []byte(text), raw):
		return fmt.Errorf("%w: the signature does not belong to what it says: it was changed", ErrManifest)
	}
	return nil
}

// ExportKey is the public half of a key that manifests are or were signed with.
type ExportKey struct {
	KeyID     string    `json:"key_id"`
	Algorithm string    `json:"algorithm"`
	PublicKey string    `json:"public_key"` // base64
	CreatedAt time.Time `json:"created_at"`
}

// ErrNoExportKey says that no manifest of this ledger was signed with the key.
var ErrNoExportKey = errors.New("no manifest was signed with this key")

// KeyID returns the name of a key, made of its public half.
func KeyID(key ed25519.PublicKey) string {
	h := sha256.Sum256(key)
	return hex.EncodeToString(h[:8])
}

// OpenSigner reads the key from dir, makes it if there is none, and keeps its public half in the database for ever: what was
// signed can be checked after the file is replaced, and on every replica, each of which may have a key of its own.
func OpenSigner(ctx context.Context, db *store.DB, dir string, now time.Time) (*Signer, error) {
	path := filepath.Join(dir, SignerFile)
	seed, err := readSeed(path)
	if errors.Is(err, os.ErrNotExist) {
		if err = makeSeed(path); err == nil {
			seed, err = readSeed(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("key of exports %s: %w", path, err)
	}
	s := &Signer{key: ed25519.NewKeyFromSeed(seed)}
	public := s.key.Public().(ed25519.PublicKey)
	s.ID = KeyID(public)
	err = db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO usage_export_keys (key_id, public_key, created_at) VALUES (?, ?, ?)
			ON CONFLICT (key_id) DO NOTHING`, s.ID, base64.StdEncoding.EncodeToString(public), now.UnixMilli())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("keep the key of exports: %w", err)
	}
	return s, nil
}

func readSeed(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	seed, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("not %d bytes in base64: restore it from a backup, or remove it to get a new one", ed25519.SeedSize)
	}
	return seed, nil
}

// makeSeed writes a fresh seed: whole and synced or not at all, and never over another's.
func makeSeed(path string) error {
	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	f, err := os.CreateTemp(filepath.Dir(path), SignerFile+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(seed) + "\n")
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return store.SyncDir(filepath.Dir(path))
}

// ExportKeys returns the public halves of all keys that manifests were ever signed with, the oldest first; or of the one of
// that id alone, ErrNoExportKey if there is none.
func (l *Ledger) ExportKeys(ctx context.Context, id string) (out []ExportKey, err error) {
	err = l.db.View(ctx, func(tx *store.Tx) error {
		rows, err := tx.QueryContext(ctx, `SELECT key_id, public_key, created_at FROM usage_export_keys
			WHERE ? = '' OR key_id = ? ORDER BY created_at, key_id`, id, id)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			k := ExportKey{Algorithm: "Ed25519"}
			var created int64
			if err := rows.Scan(&k.KeyID, &k.PublicKey, &created); err != nil {
				return err
			}
			k.CreatedAt = time.UnixMilli(created).UTC()
			out = append(out, k)
		}
		return rows.Err()
	})
	if err == nil && len(out) == 0 {
		err = ErrNoExportKey
	}
	return out, err
}
