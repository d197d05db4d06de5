package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/headgate-io/headgate/internal/store"
)

// Files in the secrets directory, mode 0600.
const (
	// PepperFile holds the 32 random bytes that key hashes are made with.
	PepperFile = "key.pepper"
	// OperatorFile holds the operator token and a line end.
	OperatorFile = "admin.token"
)

const pepperBytes = 32

// readOrCreate returns the content of the file at path; if there is none it writes fresh there first. The file appears
// whole and synced or not at all, and never over another's: link refuses an existing name.
func readOrCreate(path string, fresh []byte) ([]byte, error) {
	b, err := os.ReadFile(path)
	if !errors.Is(err, os.ErrNotExist) {
		return b, err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, filepath.Base(path)+".new-*") // mode 0600, O_EXCL
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(fresh)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err := store.SyncDir(dir); err != nil {
		return nil, err
	}
	return os.ReadFile(path) // ours, or that of a process that was quicker
}

// loadPepper returns the pepper, made at the first start. Its check value in the database proves that it is the one the
// keys were made with.
//
// SECURITY: with keys in the database a missing or other pepper is an error and nothing is written. A fresh one would
// answer every agent 401, and would make the right one useless once keys were made with it. Where other processes may have
// the database open, so it is even without keys: their next one would be made with the pepper that they have.
func loadPepper(ctx context.Context, db *store.DB, dir string) ([]byte, error) {
	path := filepath.Join(dir, PepperFile)
	var pepper []byte
	err := db.Update(ctx, func(tx *store.Tx) error {
		var keys int
		var want []byte
		err := tx.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM (SELECT 1 FROM api_keys LIMIT 1) AS any_key),
			(SELECT mac FROM pepper_check)`).Scan(&keys, &want)
		if err != nil {
			return err
		}
		bound := keys > 0 || want != nil && db.Shared()
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && bound {
			return ErrPepperMissing
		}
		fresh := make([]byte, pepperBytes)
		rand.Read(fresh)
		if pepper, err = readOrCreate(path, fresh); err != nil {
			return err
		}
		if len(pepper) != pepperBytes {
			return fmt.Errorf("has %d bytes, want %d: restore it from a backup", len(pepper), pepperBytes)
		}
		got := pepperCheck(pepper)
		if hmac.Equal(got, want) {
			return nil
		}
		if bound {
			return ErrPepperChanged
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO pepper_check (id, mac) VALUES (1, ?)
			ON CONFLICT (id) DO UPDATE SET mac = excluded.mac`, got)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("pepper %s: %w", path, err)
	}
	return pepper, nil
}

func pepperCheck(pepper []byte) []byte {
	h := hmac.New(sha256.New, pepper)
	h.Write([]byte("headgate pepper check"))
	return h.Sum(nil)
}

// loadOperator returns the hash of the operator token, which is made at the first start. Deleting the file before a start
// makes a new one.
func loadOperator(dir string) ([sha256.Size]byte, error) {
	path := filepath.Join(dir, OperatorFile)
	b, err := readOrCreate(path, []byte(operatorPrefix+newSecret()+"\n"))
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("operator token %s: %w", path, err)
	}
	token := strings.TrimSpace(string(b))
	if len(token) < len(operatorPrefix)+secretChars || !strings.HasPrefix(token, operatorPrefix) {
		return [sha256.Size]byte{}, fmt.Errorf("operator token %s: want %s and at least %d characters; delete the file to get a new one",
			path, operatorPrefix, secretChars)
	}
	return sha256.Sum256([]byte(token)), nil
}
