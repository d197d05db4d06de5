package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/headgate-io/headgate/internal/store"
)

// ErrRegionFixed says that a deployment is of another region than the one it is started for.
var ErrRegionFixed = errors.New("the region of a deployment never changes")

const maxRegionBytes = 63

// NormalRegion returns the form of a region's name: up to 63 of a-z 0-9 -, a letter first and no - last, in lower case. "" is
// none. Errors: ErrInvalid.
func NormalRegion(s string) (string, error) {
	r := lowerASCII(s)
	if r == "" {
		return "", nil
	}
	if len(r) > maxRegionBytes || r[0] < 'a' || r[0] > 'z' || r[len(r)-1] == '-' || !only(r, "abcdefghijklmnopqrstuvwxyz0123456789-") {
		return "", detail(ErrInvalid, "region %q: want up to %d characters of a-z 0-9 - with a letter first", plainText(clip(s)), maxRegionBytes)
	}
	return r, nil
}

// FixRegion makes region the deployment's if it has none yet, and returns the one it has; with "" it only asks. Errors:
// ErrRegionFixed if it is another, or if a tenant is of another.
//
// SECURITY: the first of several processes that start at a time decides; the others then compare.
func FixRegion(ctx context.Context, db *store.DB, region string) (fixed string, err error) {
	if region, err = NormalRegion(region); err != nil {
		return "", err
	}
	err = db.Update(ctx, func(tx *store.Tx) error {
		if region != "" {
			_, err := tx.ExecContext(ctx, `INSERT INTO deployment (id, region) VALUES (1, ?) ON CONFLICT (id) DO NOTHING`, region)
			if err != nil {
				return err
			}
		}
		if fixed, err = deploymentRegion(ctx, tx); err != nil {
			return err
		}
		if region != "" && fixed != region {
			return fmt.Errorf("%w: it is %s since the first start, not %s: start a deployment of its own for each region", ErrRegionFixed, fixed, region)
		}
		others, err := queryTenants(ctx, tx, `WHERE region <> '' AND region <> ? AND deleted_at IS NULL ORDER BY name LIMIT 1`, fixed)
		if err == nil && len(others) > 0 {
			return fmt.Errorf("%w: tenant %s is of region %s", ErrRegionFixed, others[0].Name, others[0].Region)
		}
		return err
	})
	return fixed, err
}

// deploymentRegion returns the region, "" if none is fixed.
func deploymentRegion(ctx context.Context, tx *store.Tx) (string, error) {
	var region string
	err := tx.QueryRowContext(ctx, `SELECT COALESCE((SELECT region FROM deployment), '')`).Scan(&region)
	return region, err
}

// regionOf returns the region of a new tenant that asks for one. Errors: ErrInvalid, ErrRegion.
func (s *Tenants) regionOf(ctx context.Context, tx *store.Tx, asked string) (string, error) {
	asked, err := NormalRegion(asked)
	if err != nil {
		return "", err
	}
	own, err := deploymentRegion(ctx, tx)
	if err != nil {
		return "", err
	}
	if asked != "" && asked != own {
		if own == "" {
			return "", detail(ErrRegion, "region %s: this deployment has none; start it with --region", asked)
		}
		return "", detail(ErrRegion, "region %s: this deployment is of %s", asked, own)
	}
	return own, nil
}
