package auth

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

func reopen(t *testing.T, w *world) (*Directory, error) {
	t.Helper()
	w.db.Close()
	db, err := store.Open(w.place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return Open(t.Context(), db, Options{Now: w.clock.Now, Dir: w.dir})
}

func TestSecretFilesAreForTheOwnerOnly(t *testing.T) {
	storetest.Each(t, testSecretFilesAreForTheOwnerOnly)
}

func testSecretFilesAreForTheOwnerOnly(t *testing.T) {
	w := newWorld(t)
	dir := w.dir
	for _, name := range []string{PepperFile, OperatorFile} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 600", name, fi, err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), ".new-") {
			t.Errorf("%s was left behind", e.Name())
		}
	}
}

func TestMissingPepperIsNeverMadeAnewWhileKeysExist(t *testing.T) {
	storetest.Each(t, testMissingPepperIsNeverMadeAnewWhileKeysExist)
}

func testMissingPepperIsNeverMadeAnewWhileKeysExist(t *testing.T) {
	w := newWorld(t)
	pepper := filepath.Join(w.dir, PepperFile)
	w.tenant(NewTenant{Name: "acme"})
	_, text := w.key(NewKey{Tenant: "acme"})
	good, err := os.ReadFile(pepper)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(pepper); err != nil {
		t.Fatal(err)
	}
	if _, err := reopen(t, w); !errors.Is(err, ErrPepperMissing) || !strings.Contains(err.Error(), pepper) {
		t.Errorf("Open = %v, want ErrPepperMissing naming the file", err)
	}
	if _, err := os.Stat(pepper); !errors.Is(err, os.ErrNotExist) {
		t.Error("a pepper was made")
	}
	for name, b := range map[string][]byte{"another": bytes.Repeat([]byte{7}, pepperBytes), "short": good[:31], "empty": nil} {
		if err := os.WriteFile(pepper, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := reopen(t, w)
		if err == nil || !strings.Contains(err.Error(), "restore it from a backup") {
			t.Errorf("%s pepper: Open = %v", name, err)
		}
		if name == "another" && !errors.Is(err, ErrPepperChanged) {
			t.Errorf("Open = %v, want ErrPepperChanged", err)
		}
	}
	if err := os.WriteFile(pepper, good, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := reopen(t, w)
	if err != nil {
		t.Fatal(err)
	}
	w.Directory = d
	w.expect(text, nil)
}

func TestMissingPepperIsMadeAnewWhileThereIsNoKey(t *testing.T) {
	w := newWorld(t)
	if err := os.Remove(filepath.Join(w.dir, PepperFile)); err != nil {
		t.Fatal(err)
	}
	d, err := reopen(t, w)
	if err != nil {
		t.Fatal(err)
	}
	w.Directory = d
	w.tenant(NewTenant{Name: "acme"})
	_, text := w.key(NewKey{Tenant: "acme"})
	w.expect(text, nil)
	if w.Directory, err = reopen(t, w); err != nil {
		t.Fatal(err)
	}
	w.expect(text, nil)
}

func TestSecretIsStoredNowhere(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "acme"})
	_, text := w.key(NewKey{Tenant: "acme"})
	_, secret, _ := parseKeyText(text)
	w.db.Close() // moves everything into the one file
	files, err := filepath.Glob(filepath.Join(filepath.Dir(w.place), "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	files = append(files, filepath.Join(w.dir, PepperFile), filepath.Join(w.dir, OperatorFile))
	for _, f := range files {
		if b, err := os.ReadFile(f); err != nil || bytes.Contains(b, []byte(secret)) {
			t.Errorf("%s holds the secret, %v", f, err)
		}
	}
}

func TestHashCopiedToAnotherKeysRowOpensNothing(t *testing.T) {
	storetest.Each(t, testHashCopiedToAnotherKeysRowOpensNothing)
}

func testHashCopiedToAnotherKeysRowOpensNothing(t *testing.T) {
	w := newWorld(t)
	w.tenant(NewTenant{Name: "a"})
	w.tenant(NewTenant{Name: "b"})
	ka, textA := w.key(NewKey{Tenant: "a"})
	kb, _ := w.key(NewKey{Tenant: "b"})
	err := w.db.Update(t.Context(), func(tx *store.Tx) error {
		if err := execute(`UPDATE changes SET n = 99`)(tx); err != nil {
			return err
		}
		_, err := tx.ExecContext(t.Context(), `UPDATE api_keys SET mac = (SELECT mac FROM api_keys WHERE id = ?), rev = 99 WHERE id = ?`, ka.ID, kb.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, secret, _ := parseKeyText(textA)
	w.expect(keyText(kb.ID, secret), ErrUnknownKey)
}

func TestOperatorTokenStaysOverRestartsAndIsRenewedByDeletion(t *testing.T) {
	storetest.Each(t, testOperatorTokenStaysOverRestartsAndIsRenewedByDeletion)
}

func testOperatorTokenStaysOverRestartsAndIsRenewedByDeletion(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.dir, OperatorFile)
	read := func() string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(b))
	}
	first := read()
	d, err := reopen(t, w)
	if err != nil || read() != first {
		t.Fatalf("token changed, %v", err)
	}
	if _, err := d.Operator(first); err != nil {
		t.Errorf("Operator = %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.Directory = d
	if d, err = reopen(t, w); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Operator(first); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("the old token: %v, want ErrUnknownKey", err)
	}
	for _, weak := range []string{"", "\n", "hga_", "hga_short", "password-password-password-password-password"} {
		if err := os.WriteFile(path, []byte(weak), 0o600); err != nil {
			t.Fatal(err)
		}
		w.Directory = d
		if _, err := reopen(t, w); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("token %q: Open = %v, want an error naming the file", weak, err)
		}
	}
}

func TestManyStartTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[string]bool{}
	for i := range 8 {
		wg.Go(func() {
			b, err := readOrCreate(path, bytes.Repeat([]byte{byte('a' + i)}, 32))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			got[string(b)] = true
		})
	}
	wg.Wait()
	if len(got) != 1 {
		t.Errorf("%d different secrets", len(got))
	}
}
