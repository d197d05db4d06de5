package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/control"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/metering"
)

// exportManifest is the file of an export's directory that says what is in it.
const exportManifest = "manifest.json"

func tenantExport(f *clientFlags) *cobra.Command {
	var x exportRun
	cmd := &cobra.Command{
		Use: "export NAME --out DIR", Short: "Write everything that a tenant has to a directory", Args: exactArgs("NAME"),
		Long: `Export writes a tenant's telemetry, a Parquet file for each table and day, and what the control plane has of it, as JSON lines
without secrets. DIR/` + exportManifest + ` says what it consists of: rows, bytes and SHA-256 of each file, signed by the server, and up to
when rows were received that are in it; what was received later is not. Run again after an interruption it keeps the files that are
whole. Both are in the tenant's audit.

To keep all before a tenant is deleted, disable it first and export with --wait.`,
		Example: `  headgate tenant export acme --out ./acme-export
  headgate tenant export acme --out ./november --from 2026-11-01 --to 2026-12-01
  headgate tenant disable acme && headgate tenant export acme --out ./acme-export --wait
  headgate tenant verify-export ./acme-export`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if x.dir == "" {
				return &usageError{errors.New("name the directory to write: --out DIR")}
			}
			x.f, x.name, x.line.out = f, args[0], cmd.ErrOrStderr()
			err := x.run(cmd.Context())
			x.line.end()
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), x.m)
			}
			fmt.Fprintln(cmd.OutOrStdout(), describeExport(x.dir, x.m))
			for _, log := range x.m.Plan.Away {
				fmt.Fprintf(cmd.ErrOrStderr(), "log %s was away: what it holds is not in the export\n", log)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&x.dir, "out", "", "directory to write, or to go on with")
	cmd.Flags().StringVar(&x.from, "from", "", "first day of telemetry, YYYY-MM-DD in UTC (empty: the beginning)")
	cmd.Flags().StringVar(&x.to, "to", "", "day after the last (empty: the end)")
	cmd.Flags().BoolVar(&x.wait, "wait", false, "wait until all that was received before now is in ClickHouse, for about a minute")
	return cmd
}

// exportRun is one run of the command. Its zero values are set from flags.
type exportRun struct {
	f              *clientFlags
	c              *client
	name, dir      string
	from, to       string
	wait           bool
	m              control.ExportManifest
	saved, told    time.Time // of the manifest, and how far it is
	keys           map[string]ed25519.PublicKey
	line           progressLine
	done, rows     int64 // files and rows that are there
	wanted, toRead int64
}

func (x *exportRun) run(ctx context.Context) (err error) {
	if x.c, err = x.f.open(); err != nil {
		return err
	}
	x.keys = map[string]ed25519.PublicKey{}
	if err := os.MkdirAll(x.dir, 0o700); err != nil {
		return err
	}
	if err := x.open(ctx); err != nil {
		return err
	}
	have := map[string]control.ExportFile{}
	for _, f := range x.m.Files {
		have[f.Path()] = f
	}
	x.m.Files, x.m.EndedAt = nil, time.Time{}
	wanted := x.m.Plan.Wanted()
	for _, want := range wanted {
		x.wanted, x.toRead = x.wanted+1, x.toRead+want.Rows
	}
	for _, want := range wanted {
		f, known := have[want.Path()]
		if !known || !x.isThere(f) {
			if f, err = x.fetch(ctx, want); err != nil {
				return fmt.Errorf("%s: %w; run the command again to go on", want.Path(), err)
			}
		}
		x.m.Files = append(x.m.Files, f)
		x.done, x.rows = x.done+1, x.rows+f.Rows
		x.tell(want, 0)
		// Not after each of very many files; those that are not in it are read again.
		if time.Since(x.saved) > time.Second {
			if err := x.save(have); err != nil {
				return err
			}
		}
	}
	return x.finish(ctx)
}

// open reads the manifest of an export that was begun before, or begins one.
func (x *exportRun) open(ctx context.Context) error {
	raw, err := os.ReadFile(filepath.Join(x.dir, exportManifest))
	if errors.Is(err, os.ErrNotExist) {
		return x.begin(ctx)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &x.m); err != nil {
		return fmt.Errorf("%s: %w", exportManifest, err)
	}
	if p := x.m.Plan; !strings.EqualFold(p.Tenant, x.name) && p.TenantID != x.name || p.From != x.from || p.To != x.to {
		return fmt.Errorf("%s holds an export of %s, days %q to %q: name another directory", x.dir, p.Tenant, p.From, p.To)
	}
	return x.m.Verify(x.key(ctx))
}

// begin asks for the plan, and keeps it before anything else.
func (x *exportRun) begin(ctx context.Context) error {
	in := control.ExportRequest{From: x.from, To: x.to}
	if x.wait {
		in.ReceivedBefore = timeNow().UTC().Truncate(time.Second).Add(time.Second)
	}
	const patience = 10 * time.Minute
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for began := time.Now(); ; {
		err := x.c.do(ctx, http.MethodPost, tenantPath(x.name, "export"), nil, in, &x.m.Plan)
		var refused *apiError
		if !errors.As(err, &refused) || refused.Code != "export-early" || time.Since(began) > patience {
			if err != nil {
				return err
			}
			break
		}
		x.line.say("waiting until all that was received is in ClickHouse")
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	x.m.Version = 1
	if err := x.m.Verify(x.key(ctx)); err != nil {
		return err
	}
	return x.save(nil)
}

// save writes the manifest with the files that are there, and those of have that have not been looked at yet: whole or not at all.
func (x *exportRun) save(have map[string]control.ExportFile) error {
	m := x.m
	m.Files = append([]control.ExportFile{}, x.m.Files...)
	for _, want := range m.Plan.Wanted()[x.done:] {
		if f, ok := have[want.Path()]; ok {
			m.Files = append(m.Files, f)
		}
	}
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	x.saved = time.Now()
	return writeWhole(filepath.Join(x.dir, exportManifest), func(w io.Writer) error {
		_, err := w.Write(append(raw, '\n'))
		return err
	})
}

// writeWhole writes a file that appears whole and synced, or not at all.
func writeWhole(path string, write func(w io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp, err := os.Create(path + ".part") // of an earlier run: written over
	if err != nil {
		return err
	}
	err = cmp.Or(tmp.Chmod(0o600), write(tmp))
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return store.SyncDir(filepath.Dir(path))
}

// key returns what finds the server's public keys, each asked for once.
func (x *exportRun) key(ctx context.Context) func(id string) (ed25519.PublicKey, error) {
	return func(id string) (key ed25519.PublicKey, err error) {
		if x.keys[id] == nil {
			x.keys[id], err = exportKeyOf(ctx, x.c, id)
		}
		return x.keys[id], err
	}
}

func (x *exportRun) path(f control.ExportFile) string {
	return filepath.Join(x.dir, filepath.FromSlash(f.Path()))
}

// isThere reports whether the file is on the disk as it was signed.
func (x *exportRun) isThere(f control.ExportFile) bool {
	n, sum, err := hashFile(x.path(f))
	return err == nil && n == f.Bytes && hex.EncodeToString(sum[:]) == f.SHA256
}

// exportPatience is how long a server that does not answer, or breaks off, is asked again.
const exportPatience = 30 * time.Second

// fetch reads a part, again where it was cut off or the server is away for a while.
func (x *exportRun) fetch(ctx context.Context, want control.ExportFile) (f control.ExportFile, err error) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; {
		err = writeWhole(x.path(want), func(w io.Writer) error {
			f, err = x.read(ctx, want, w.(*os.File))
			return err
		})
		var refused *apiError
		if err == nil || ctx.Err() != nil || errors.As(err, &refused) && refused.Status < 500 || time.Since(began) > exportPatience {
			return f, err
		}
		x.line.say(want.Path() + ": " + err.Error() + "; trying again")
		select {
		case <-tick.C:
		case <-ctx.Done():
			return f, ctx.Err()
		}
		if c, err := x.f.open(); err == nil { // it may be back at another address
			x.c = c
		}
	}
}

// errCutOff says that a part ended before its trailer.
var errCutOff = errors.New("the server broke off, or something between takes away HTTP trailers")

// read reads a part once. What arrives has to be what the server has signed, and hold the rows that it says.
func (x *exportRun) read(ctx context.Context, want control.ExportFile, file *os.File) (f control.ExportFile, err error) {
	path, query := tenantPath(want.TenantID, "export", "state", url.PathEscape(want.Table)), url.Values{}
	if want.Day != "" {
		path = tenantPath(want.TenantID, "export", "tables", url.PathEscape(want.Table), url.PathEscape(want.Day))
		query.Set("received_before", want.ReceivedBefore.Format(time.RFC3339))
	}
	resp, err := x.c.send(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return f, err
	}
	defer resp.Body.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(file, sum, &exportProgress{x: x, want: want}), resp.Body)
	if err != nil {
		return f, err
	}
	said := resp.Trailer.Get(control.ExportTrailer)
	if said == "" {
		return f, errCutOff
	}
	if err := json.Unmarshal([]byte(said), &f); err != nil {
		return f, fmt.Errorf("trailer: %w", err)
	}
	key, err := x.key(ctx)(f.KeyID)
	if err == nil {
		err = metering.VerifyText(key, f.KeyID, f.Text(), f.Signature)
	}
	switch {
	case err != nil:
		return f, err
	case !f.Belongs(want) || f.Bytes != n || f.SHA256 != hex.EncodeToString(sum.Sum(nil)):
		return f, fmt.Errorf("%w: what arrived is not what was signed", metering.ErrManifest)
	case f.Day == "":
		return f, nil
	}
	if rows, err := parquetRows(file, n); err != nil || rows != f.Rows {
		return f, fmt.Errorf("%d rows, want %d: %w", rows, f.Rows, cmp.Or(err, errors.New("some went meanwhile")))
	}
	return f, nil
}

// exportProgress tells how much of a part has arrived.
type exportProgress struct {
	x    *exportRun
	want control.ExportFile
	n    int64
	told time.Time
}

// Write implements io.Writer.
func (p *exportProgress) Write(b []byte) (int, error) {
	p.n += int64(len(b))
	if now := time.Now(); now.Sub(p.told) > time.Second/2 {
		p.told = now
		p.x.tell(p.want, p.n)
	}
	return len(b), nil
}

// tell tells how far the export is; where it is not written over, now and then.
func (x *exportRun) tell(want control.ExportFile, bytes int64) {
	if !isTerminal(x.line.out) {
		if time.Since(x.told) < 5*time.Second {
			return
		}
		x.told = time.Now()
	}
	text := fmt.Sprintf("%d of %d files, %s of %s rows", x.done, x.wanted, count(x.rows), count(x.toRead))
	if bytes > 0 {
		text += fmt.Sprintf("; %s %s", want.Path(), shortBytes(bytes))
	}
	x.line.say(text)
}

// finish ends the manifest, and tells the audit.
func (x *exportRun) finish(ctx context.Context) error {
	x.m.EndedAt = timeNow().UTC().Truncate(time.Second)
	if err := cmp.Or(x.m.Verify(x.key(ctx)), x.save(nil)); err != nil {
		return err
	}
	end := control.ExportEnd{ReceivedBefore: x.m.Plan.ReceivedBefore, Files: int64(len(x.m.Files))}
	for _, f := range x.m.Files {
		end.Rows, end.Bytes = end.Rows+f.Rows, end.Bytes+f.Bytes
	}
	_, sum, err := hashFile(filepath.Join(x.dir, exportManifest))
	if err != nil {
		return err
	}
	end.ManifestSHA256 = hex.EncodeToString(sum[:])
	if err := x.c.do(ctx, http.MethodPost, tenantPath(x.m.Plan.TenantID, "export", "end"), nil, end, nil); err != nil {
		return fmt.Errorf("the export is whole, but the audit was not told: %w; run the command again", err)
	}
	return nil
}

func describeExport(dir string, m control.ExportManifest) string {
	var rows, size int64
	for _, f := range m.Files {
		rows, size = rows+f.Rows, size+f.Bytes
	}
	return fmt.Sprintf("%s: %d files, %s rows, %s of tenant %s, all that was received before %s; signed in %s", dir, len(m.Files), count(rows),
		shortBytes(size), m.Plan.Tenant, m.Plan.ReceivedBefore.Format(time.RFC3339), exportManifest)
}

func tenantVerifyExport(f *clientFlags) *cobra.Command {
	var public []string
	cmd := &cobra.Command{
		Use: "verify-export DIR", Short: "Check that an export is whole, and what the server signed", Args: exactArgs("DIR"),
		Long: `Verify-export reads every file of an export and exits with status 1 if one is missing or was changed. The server is asked for its
public key; with --public-key nobody is asked, and the key should come from elsewhere than the export does. An export that several
servers signed needs the key of each.`,
		Example: `  headgate tenant verify-export ./acme-export
  headgate tenant verify-export ./acme-export --public-key 5sQ…=`,
		RunE: func(cmd *cobra.Command, args []string) error {
			x := exportRun{f: f, dir: args[0], keys: map[string]ed25519.PublicKey{}}
			if err := x.verify(cmd.Context(), public); err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), x.m)
			}
			fmt.Fprintln(cmd.OutOrStdout(), describeExport(x.dir, x.m))
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&public, "public-key", nil, "public key of a server, base64 (none: the server is asked)")
	return cmd
}

// verify checks an export's directory with the public keys, or the server's.
func (x *exportRun) verify(ctx context.Context, public []string) error {
	raw, err := os.ReadFile(filepath.Join(x.dir, exportManifest))
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&x.m); err != nil {
		return fmt.Errorf("%s: %w", exportManifest, err)
	}
	if x.m.EndedAt.IsZero() {
		return fmt.Errorf("%w: the export has not come to its end", metering.ErrManifest)
	}
	for _, text := range public {
		key, err := parsePublicKey(text)
		if err != nil {
			return &usageError{err}
		}
		x.keys[metering.KeyID(key)] = key
	}
	find := x.key(ctx)
	if len(public) > 0 {
		find = func(id string) (ed25519.PublicKey, error) {
			if x.keys[id] == nil {
				return nil, fmt.Errorf("%w: signed with key %.20q, which was not given", metering.ErrManifest, id)
			}
			return x.keys[id], nil
		}
	} else if x.c, err = x.f.open(); err != nil {
		return err
	}
	if err := x.m.Verify(find); err != nil {
		return err
	}
	for _, f := range x.m.Files {
		if !x.isThere(f) {
			return fmt.Errorf("%w: %s is missing, or was changed", metering.ErrManifest, f.Path())
		}
	}
	return nil
}
