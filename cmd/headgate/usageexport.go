package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/metering"
)

// manifestSuffix follows the name of an export in the name of its manifest.
const manifestSuffix = ".manifest.json"

func usageExport(f *clientFlags) *cobra.Command {
	var u usageFlags
	var format, out, price, currency, provider string
	cmd := &cobra.Command{
		Use:   "export --month MONTH --out FILE",
		Short: "Write all sealed usage of a period to a file, with a signed manifest",
		Long: `Export writes every sealed entry of a period, one for each tenant, hour, signal and key, and one for each correction
that is dated in the period, to FILE. FILE.manifest.json says what is in it: rows, billed bytes, SHA-256, and up to when the
usage was sealed, signed by the server. It says "complete": true if all of the period was sealed: then the same export has the
same bytes for ever. The file appears whole and checked, or not at all.

Formats: csv, json, focus (charges as FOCUS 1.2 has them, with prices of --price-per-gib), cloudevents (a CloudEvents 1.0
batch). Without --out the export goes to stdout and has no manifest.`,
		Example: `  headgate usage export --month 2026-10 --format focus --price-per-gib 0.25 --currency EUR --out usage.csv
  headgate usage export --month 2026-10 --tenant acme --descendants --zone Europe/Berlin --out acme.csv
  headgate usage export verify usage.csv`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains([]string{"csv", "json", "focus", "cloudevents"}, format) {
				return &usageError{fmt.Errorf("--format %q: want csv, json, focus or cloudevents", format)}
			}
			c, err := f.open()
			if err != nil {
				return err
			}
			q := u.query()
			set(q, "format", format)
			set(q, "price_per_gib", price)
			set(q, "currency", currency)
			set(q, "provider", provider)
			if out == "" {
				_, _, err := download(cmd, c, q, cmd.OutOrStdout(), 0)
				return err
			}
			m, err := exportTo(cmd, c, q, out)
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), m)
			}
			tellExport(cmd.ErrOrStderr(), out, m)
			return nil
		},
	}
	u.register(cmd)
	cmd.Flags().StringVar(&format, "format", "csv", "csv, json, focus or cloudevents")
	cmd.Flags().StringVar(&out, "out", "", "file to write; the manifest is written beside it (empty: stdout, no manifest)")
	cmd.Flags().StringVar(&price, "price-per-gib", "", "what a GiB costs, in the costs of the format focus, e.g. 0.25 (empty: 0)")
	cmd.Flags().StringVar(&currency, "currency", "", "currency of the price, ISO 4217 (empty: USD)")
	cmd.Flags().StringVar(&provider, "provider", "", "who sends the invoice, in the format focus (empty: headgate)")
	cmd.AddCommand(usageExportVerify(f))
	return cmd
}

func tellExport(w io.Writer, path string, m metering.Manifest) {
	fmt.Fprintf(w, "%s: %s rows, %s bytes billed, sealed through %s; signed in %s\n", path, count(m.Rows), count(m.BilledBytes),
		m.SealedThrough.UTC().Format(time.RFC3339), path+manifestSuffix)
	if !m.Complete {
		fmt.Fprintln(w, "The period is not sealed to its end, or has none: a later export can have more rows.")
	}
}

// exportTo writes an export and its manifest. The manifest is made first, and says as of when the export is; what arrives must
// be what it says.
func exportTo(cmd *cobra.Command, c *client, q url.Values, path string) (m metering.Manifest, err error) {
	if err := c.do(cmd.Context(), http.MethodGet, usagePath+"/export/manifest", q, nil, &m); err != nil {
		return m, err
	}
	key, err := exportKey(cmd, c, m.KeyID)
	if err == nil {
		err = m.Verify(key)
	}
	if err != nil {
		return m, err
	}
	q.Set("as_of", m.AsOf.Format(time.RFC3339Nano))
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*") // mode 0600: it may be of all tenants
	if err != nil {
		return m, err
	}
	defer os.Remove(tmp.Name())
	n, sum, err := download(cmd, c, q, tmp, m.Bytes)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return m, fmt.Errorf("export to %s: %w", path, err)
	}
	if err := m.Check(n, sum); err != nil {
		return m, err
	}
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return m, err
	}
	err = writeWhole(path+manifestSuffix, func(w io.Writer) error {
		_, err := w.Write(append(raw, '\n'))
		return err
	})
	if err != nil {
		return m, err
	}
	return m, os.Rename(tmp.Name(), path)
}

// download copies an export to w and returns its size and hash. In a terminal it tells how far it is; want is the size that is
// expected, 0 if none is.
func download(cmd *cobra.Command, c *client, q url.Values, w io.Writer, want int64) (n int64, sum [sha256.Size]byte, err error) {
	resp, err := c.send(cmd.Context(), http.MethodGet, usagePath+"/export", q, nil)
	if err != nil {
		return 0, sum, err
	}
	defer resp.Body.Close()
	h := sha256.New()
	var from io.Reader = resp.Body
	if isTerminal(cmd.ErrOrStderr()) && w != cmd.OutOrStdout() {
		p := &progress{r: resp.Body, w: cmd.ErrOrStderr(), want: want}
		defer p.clear()
		from = p
	}
	n, err = io.Copy(io.MultiWriter(w, h), from)
	return n, [sha256.Size]byte(h.Sum(nil)), err
}

// progress tells on a terminal how much was read, a few times a second.
type progress struct {
	r        io.Reader
	w        io.Writer
	n, want  int64
	told     time.Time
	anything bool
}

// Read implements io.Reader.
func (p *progress) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	if now := time.Now(); now.Sub(p.told) > 200*time.Millisecond {
		p.told, p.anything = now, true
		fmt.Fprintf(p.w, "\r%s", p.text())
	}
	return n, err
}

func (p *progress) text() string {
	if p.want > 0 {
		return fmt.Sprintf("%3d %% of %s", p.n*100/p.want, shortBytes(p.want))
	}
	return shortBytes(p.n)
}

func (p *progress) clear() {
	if p.anything {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

// exportKey asks the server for the public key of that id.
func exportKey(cmd *cobra.Command, c *client, id string) (ed25519.PublicKey, error) {
	return exportKeyOf(cmd.Context(), c, id)
}

func exportKeyOf(ctx context.Context, c *client, id string) (ed25519.PublicKey, error) {
	var key control.ExportKeys
	if err := c.do(ctx, http.MethodGet, usagePath+"/export/key", url.Values{"id": {id}}, nil, &key); err != nil {
		return nil, fmt.Errorf("key %.20s of the manifest: %w", id, err)
	}
	return parsePublicKey(key.PublicKey)
}

func parsePublicKey(text string) (ed25519.PublicKey, error) {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("public key %.60q: want %d bytes in base64", text, ed25519.PublicKeySize)
	}
	return raw, nil
}

func usageExportVerify(f *clientFlags) *cobra.Command {
	var public, manifest string
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check that an export is what its manifest says, and that the server signed it",
		Long: `Verify reads FILE and FILE.manifest.json, and exits with status 1 if either was changed. The server is asked for its public
key; with --public-key nobody is asked, and the key should come from elsewhere than the file does.`,
		Example: `  headgate usage export verify usage.csv
  headgate usage export verify usage.csv --public-key 5sQ…=`,
		Args: exactArgs("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			raw, err := os.ReadFile(cmp.Or(manifest, args[0]+manifestSuffix))
			if err != nil {
				return err
			}
			var m metering.Manifest
			if err := json.Unmarshal(raw, &m); err != nil {
				return fmt.Errorf("manifest: %w", err)
			}
			key, err := verifyKey(cmd, f, public, m.KeyID)
			if err != nil {
				return err
			}
			n, sum, err := hashFile(args[0])
			if err := cmp.Or(err, m.Verify(key), m.Check(n, sum)); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), m)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is as signed by key %s: %s rows, %s bytes billed, as of %s\n", args[0], m.KeyID,
				count(m.Rows), count(m.BilledBytes), m.AsOf.Format(time.RFC3339))
			return nil
		},
	}
	cmd.Flags().StringVar(&public, "public-key", "", "public key of the server, base64 (empty: the server is asked)")
	cmd.Flags().StringVar(&manifest, "manifest", "", "the manifest's file (empty: FILE"+manifestSuffix+")")
	return cmd
}

func verifyKey(cmd *cobra.Command, f *clientFlags, public, id string) (ed25519.PublicKey, error) {
	if public != "" {
		key, err := parsePublicKey(public)
		if err != nil {
			return nil, &usageError{err}
		}
		return key, nil
	}
	c, err := f.open()
	if err != nil {
		return nil, err
	}
	return exportKey(cmd, c, id)
}

func hashFile(path string) (n int64, sum [sha256.Size]byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, sum, err
	}
	defer file.Close()
	h := sha256.New()
	n, err = io.Copy(h, file)
	return n, [sha256.Size]byte(h.Sum(nil)), err
}
