package auth

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/pgtest"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// world is a directory on a fresh database, and its operator.
type world struct {
	*Directory
	t     *testing.T
	clock *timetest.Clock
	op    Principal
	place string // of the database
	dir   string // of the secrets
}

func TestMain(m *testing.M) { pgtest.Main(m) }

func newWorld(t *testing.T) *world {
	t.Helper()
	return openWorld(t, storetest.Place(t), t.TempDir(), newClock())
}

func openWorld(t *testing.T, place, dir string, c *timetest.Clock) *world {
	t.Helper()
	db, err := store.Open(place)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	d, err := Open(t.Context(), db, Options{Now: c.Now, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return &world{Directory: d, t: t, clock: c, op: operatorOf(t, d, dir), place: place, dir: dir}
}

func operatorOf(t *testing.T, d *Directory, dir string) Principal {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(dir, OperatorFile))
	if err != nil {
		t.Fatal(err)
	}
	op, err := d.Operator(strings.TrimSpace(string(token)))
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func (w *world) tenant(n NewTenant) Tenant {
	w.t.Helper()
	t, err := w.Tenants().Create(w.t.Context(), w.op, n)
	if err != nil {
		w.t.Fatal(err)
	}
	return t
}

func (w *world) key(n NewKey) (Key, string) {
	w.t.Helper()
	if n.Scopes == nil {
		n.Scopes = []KeyScope{ScopeIngest}
	}
	k, text, err := w.Keys().Create(w.t.Context(), w.op, n)
	if err != nil {
		w.t.Fatal(err)
	}
	return k, text
}

// as returns the principal of a new key of the tenant with these scopes.
func (w *world) as(name string, scopes ...KeyScope) Principal {
	w.t.Helper()
	_, text := w.key(NewKey{Tenant: name, Scopes: scopes})
	p, err := w.Authenticate(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// expect fails unless Authenticate(text) answers want, nil being success.
func (w *world) expect(text string, want error) {
	w.t.Helper()
	p, err := w.Authenticate(text)
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		w.t.Errorf("Authenticate = %v, want %v", err, want)
	}
	if err != nil && p != (Principal{}) {
		w.t.Errorf("a principal came with %v", err)
	}
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || (err == nil) != (want == nil) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}

func ptr[T any](v T) *T { return &v }

// execute returns a transaction of these statements, for what no method does.
func execute(q string) func(tx *store.Tx) error {
	return func(tx *store.Tx) error {
		_, err := tx.ExecContext(context.Background(), q)
		return err
	}
}

// executeAfter returns a transaction that closes held once it runs and ends when block is closed.
func executeAfter(held, block chan struct{}) func(tx *store.Tx) error {
	return func(*store.Tx) error {
		close(held)
		<-block
		return nil
	}
}
