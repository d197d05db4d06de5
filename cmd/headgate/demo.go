package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/headgate-io/headgate/auth"
)

// demoNames are the tenants that --demo makes, so that a first try needs no further command.
var demoNames = []string{"acme", "globex"}

// demoTenants creates the demo tenants where they are missing, with one key each, and prints the keys, this once.
func demoTenants(ctx context.Context, d *auth.Directory, secrets string, w io.Writer) error {
	token, err := os.ReadFile(filepath.Join(secrets, adminTokenFile))
	if err != nil {
		return err
	}
	operator, err := d.Operator(strings.TrimSpace(string(token)))
	if err != nil {
		return fmt.Errorf("%s: %w", adminTokenFile, err)
	}
	for _, name := range demoNames {
		_, err := d.Tenants().Create(ctx, operator, auth.NewTenant{Name: name})
		if errors.Is(err, auth.ErrNameTaken) {
			fmt.Fprintf(w, "demo tenant %-8s is there; its key was shown when it was made, 'headgate key create --tenant %s --scope ingest' makes another\n", name, name)
			continue
		}
		if err != nil {
			return fmt.Errorf("create demo tenant %s: %w", name, err)
		}
		_, key, err := d.Keys().Create(ctx, operator, auth.NewKey{
			Tenant: name, Scopes: []auth.KeyScope{auth.ScopeIngest, auth.ScopeQuery, auth.ScopeUsage},
		})
		if err != nil {
			return fmt.Errorf("create demo key of %s: %w", name, err)
		}
		fmt.Fprintf(w, "demo tenant %-8s key %s (shown only now)\n", name, key)
	}
	return nil
}
