package auth

import (
	"errors"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
)

func TestRegionIsFixedAtTheFirstStart(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newWorld(t)
		fix := func(region, want string, wantErr error) {
			t.Helper()
			got, err := FixRegion(t.Context(), w.db, region)
			if !errors.Is(err, wantErr) || err == nil && got != want {
				t.Errorf("FixRegion(%q) = %q, %v, want %q, %v", region, got, err, want, wantErr)
			}
		}
		create := func(name, region string, want error) Tenant {
			t.Helper()
			got, err := w.Tenants().Create(t.Context(), w.op, NewTenant{Name: name, TenantDetails: TenantDetails{Region: region}})
			wantErr(t, "Create in "+region, err, want)
			return got
		}
		fix("", "", nil)
		create("early", "", nil)
		create("x", "eu-1", ErrRegion)
		for _, bad := range []string{"1eu", "eu_1", "eu 1", "еu", "eu-", strings.Repeat("x", 64)} {
			fix(bad, "", ErrInvalid)
			create("x", bad, ErrInvalid)
		}
		fix("EU-1", "eu-1", nil)
		fix("eu-1", "eu-1", nil)
		fix("", "eu-1", nil)
		fix("us-1", "", ErrRegionFixed)
		if got := create("a", "", nil); got.Region != "eu-1" {
			t.Errorf("region %q", got.Region)
		}
		create("b", "Eu-1", nil)
		create("c", "us-1", ErrRegion)
		err := w.db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.ExecContext(t.Context(), `UPDATE deployment SET region = 'us-1'`) // somebody turns a screw
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		fix("us-1", "", ErrRegionFixed)
		fix("", "", ErrRegionFixed)
	})
}
