package metering

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// export returns the bytes of an export.
func export(t *testing.T, l *Ledger, f ExportFilter) string {
	t.Helper()
	x, err := l.Export(deadline(t), f)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := x.Write(deadline(t), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestEntryColumnsAreTheFieldsOfTheJSON(t *testing.T) {
	typ := reflect.TypeFor[Entry]()
	var names []string
	for i := range typ.NumField() {
		if name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	if !reflect.DeepEqual(names, entryColumns) || len(Entry{}.fields()) != len(entryColumns) {
		t.Errorf("columns %v, JSON %v", entryColumns, names)
	}
}

func TestExportsOfAllFormatsSayTheSame(t *testing.T) {
	_, x, text := exported(t, ExportFilter{Format: FormatJSON})
	var got struct {
		AsOf          time.Time `json:"as_of"`
		SealedThrough time.Time `json:"sealed_through"`
		Rows          []Entry
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || len(got.Rows) != 6 || !got.AsOf.Equal(x.Filter.AsOf) || !got.SealedThrough.Equal(x.SealedThrough) {
		t.Fatal(got, err)
	}
	_, _, lines := exported(t, ExportFilter{Format: FormatCSV})
	rows, err := csv.NewReader(strings.NewReader(lines)).ReadAll()
	if err != nil || len(rows) != 7 || !reflect.DeepEqual(rows[0], entryColumns) {
		t.Fatal(rows, err)
	}
	for i, e := range got.Rows {
		if !reflect.DeepEqual(rows[i+1], e.fields()) {
			t.Errorf("CSV %v, JSON %v", rows[i+1], e.fields())
		}
	}
}

// Random ledgers: an export has every sealed entry of its period once, whatever the pages, and its bytes, and so its manifest,
// are the same again after the ledger has grown.
func TestExportIsCompleteAndTheSameForEver(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		b := newBook(t, 21)
		s, err := OpenSigner(deadline(t), b.db, t.TempDir(), noon)
		if err != nil {
			t.Fatal(err)
		}
		made := map[string]ExportFilter{}
		texts := map[string]string{}
		for i := range 120 {
			b.step(func(int64, string, Signal, string, int64) {})
			if i%12 != 11 {
				continue
			}
			f := ExportFilter{Tenants: ids("ID-root"), Descendants: true, AsOf: b.c.Now(), From: noon.Add(-time.Hour), To: b.c.Now().Add(-time.Duration(b.rng.IntN(9)) * time.Hour),
				Format: []Format{FormatCSV, FormatJSON, FormatFOCUS, FormatCloudEvents}[b.rng.IntN(4)]}
			if f.To.Before(f.From) {
				continue
			}
			name := fmt.Sprint(i)
			made[name], texts[name] = f, export(t, b.ledger(), f)
			rows := pages(t, b.ledger(), Filter{Tenants: f.Tenants, Descendants: true, AsOf: f.AsOf, From: f.From, To: f.To, By: ByMonth}, 100)
			x, err := b.ledger().Export(deadline(t), f)
			if err != nil {
				t.Fatal(err)
			}
			m, err := x.Manifest(deadline(t), s)
			if err != nil || m.BilledBytes != billedIn(rows) || m.Bytes != int64(len(texts[name])) ||
				m.Check(m.Bytes, sha256.Sum256([]byte(texts[name]))) != nil || m.Verify(s.key.Public().(ed25519.PublicKey)) != nil {
				t.Errorf("%+v, %v, want %d bytes", m, err, billedIn(rows))
			}
		}
		for name, f := range made {
			if got := export(t, b.ledger(), f); got != texts[name] {
				t.Errorf("export %s:\n%s, was\n%s", name, got, texts[name])
			}
		}
	})
}

// More entries in an hour than a page holds, and corrections at the seams.
func TestExportsOfManyPagesHaveEveryEntryOnce(t *testing.T) {
	storetest.Each(t, testExportsOfManyPagesHaveEveryEntryOnce)
}

func testExportsOfManyPagesHaveEveryEntryOnce(t *testing.T) {
	l := NewLedger(tempDB(t), LedgerOptions{Now: timetest.NewClock(noon.Add(9 * time.Hour)).Now})
	var rs []Receipt
	for i := range 2*exportPage + 1 {
		rs = append(rs, logs("a", fmt.Sprintf("%05d", i), 1, noon), logs("a", fmt.Sprintf("%05d", i), 1, noon.Add(2*time.Hour)))
	}
	apply(t, l, testLog, 1, true, rs[:2*exportPage]...)
	apply(t, l, testLog, 2, true, rs[2*exportPage:]...)
	for i, key := range []int{0, exportPage - 1, exportPage, 2 * exportPage} {
		n := NewCorrection{ID: fmt.Sprint("c", i), Tenant: id("a"), Hour: noon, Signal: Logs, Key: fmt.Sprintf("%05d", key), BilledBytes: 1, Reason: "test"}
		if _, err := correct(t, l, n); err != nil {
			t.Fatal(err)
		}
	}
	seal(t, l)
	var got struct{ Rows []Entry }
	if err := json.Unmarshal([]byte(export(t, l, ExportFilter{Tenants: ids("a"), Format: FormatJSON})), &got); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, e := range got.Rows {
		if seen[e.ID] {
			t.Errorf("%s twice", e.ID)
		}
		seen[e.ID] = true
	}
	if want := 2*(2*exportPage+1) + 4; len(seen) != want {
		t.Errorf("%d entries, want %d", len(seen), want)
	}
}

func TestExportsThatMakeNoSenseAreRefused(t *testing.T) {
	storetest.Each(t, testExportsThatMakeNoSenseAreRefused)
}

func testExportsThatMakeNoSenseAreRefused(t *testing.T) {
	l := newTestLedger(tempDB(t))
	for name, f := range map[string]ExportFilter{
		"nobody":       {Format: FormatCSV},
		"no format":    {Tenants: ids("a")},
		"odd format":   {Tenants: ids("a"), Format: "xml"},
		"a table":      {Tenants: ids("a"), Format: FormatTable},
		"open and not": {Tenants: ids("a"), Format: FormatCSV, Open: true, AsOf: noon},
		"future":       {Tenants: ids("a"), Format: FormatCSV, AsOf: noon.Add(time.Hour)},
		"backwards":    {Tenants: ids("a"), Format: FormatCSV, From: noon, To: noon.Add(-time.Hour)},
	} {
		if _, err := l.Export(deadline(t), f); !errors.Is(err, ErrFilter) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := OpenSigner(deadline(t), l.db, t.TempDir(), noon)
	if err != nil {
		t.Fatal(err)
	}
	x, err := l.Export(deadline(t), ExportFilter{Tenants: ids("a"), Format: FormatCSV, Open: true})
	if err == nil {
		_, err = x.Manifest(deadline(t), s)
	}
	if !errors.Is(err, ErrFilter) {
		t.Errorf("a manifest of open hours: %v", err)
	}
}

// Whatever is changed in a manifest, or in the file, is found.
func TestChangedManifestsAreFound(t *testing.T) {
	l, x, text := exported(t, ExportFilter{Format: FormatCSV})
	s, err := OpenSigner(deadline(t), l.db, t.TempDir(), noon)
	if err != nil {
		t.Fatal(err)
	}
	public := s.key.Public().(ed25519.PublicKey)
	m, err := x.Manifest(deadline(t), s)
	if err != nil || m.Verify(public) != nil || m.Complete {
		t.Fatal(m, err)
	}
	fields := reflect.TypeFor[Manifest]().NumField() + reflect.TypeFor[ExportTotals]().NumField() - 1
	changed := 0
	change := func(v reflect.Value) {
		for i := range v.NumField() {
			c := m
			cv := reflect.ValueOf(&c).Elem()
			if v.Type() == reflect.TypeFor[ExportTotals]() {
				cv = cv.FieldByName("ExportTotals")
			}
			switch f := cv.Field(i); {
			case f.Type() == reflect.TypeFor[ExportTotals]():
				continue
			case f.Type() == reflect.TypeFor[time.Time]():
				f.Set(reflect.ValueOf(f.Interface().(time.Time).Add(time.Hour)))
			case f.Kind() == reflect.String:
				f.SetString("x" + f.String())
			case f.Kind() == reflect.Bool:
				f.SetBool(!f.Bool())
			case f.Kind() == reflect.Int64:
				f.SetInt(f.Int() + 1)
			case f.Kind() == reflect.Slice:
				f.Set(reflect.ValueOf([]string{"x"}))
			}
			changed++
			if err := c.Verify(public); !errors.Is(err, ErrManifest) {
				t.Errorf("field %s was changed: %v", cv.Type().Field(i).Name, err)
			}
		}
	}
	change(reflect.ValueOf(m))
	change(reflect.ValueOf(m.ExportTotals))
	if changed != fields {
		t.Errorf("%d fields changed, want %d", changed, fields)
	}
	if err := m.Check(m.Bytes, sha256.Sum256([]byte(strings.Replace(text, "acme", "acne", 1)))); !errors.Is(err, ErrManifest) {
		t.Errorf("another file: %v", err)
	}
	other, err := OpenSigner(deadline(t), l.db, t.TempDir(), noon.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(other.key.Public().(ed25519.PublicKey)); !errors.Is(err, ErrManifest) {
		t.Errorf("another key: %v", err)
	}
	keys, err := l.ExportKeys(deadline(t), "")
	if err != nil || len(keys) != 2 || keys[0].KeyID != s.ID || keys[0].PublicKey != base64.StdEncoding.EncodeToString(public) {
		t.Errorf("keys %+v, %v", keys, err)
	}
	if _, err := l.ExportKeys(deadline(t), "none"); !errors.Is(err, ErrNoExportKey) {
		t.Errorf("a key that is not there: %v", err)
	}
}

func TestSignerKeepsItsKey(t *testing.T) { storetest.Each(t, testSignerKeepsItsKey) }

func testSignerKeepsItsKey(t *testing.T) {
	db, dir := tempDB(t), t.TempDir()
	open := func() (*Signer, error) { return OpenSigner(deadline(t), db, dir, noon) }
	first, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := open(); err != nil || again.ID != first.ID {
		t.Errorf("%v, %v, want %s", again, err, first.ID)
	}
	path := filepath.Join(dir, SignerFile)
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := open(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a damaged key: %v", err)
	}
}

// The text that is signed is a format of its own: whoever checks signatures elsewhere has written it down.
func TestManifestTextStaysAsItIs(t *testing.T) {
	m := Manifest{Format: FormatFOCUS, Tenants: []string{"01A", "01B"}, Descendants: true, From: noon, Zone: "Europe/Berlin", PricePerGiB: "0.25",
		Currency: "EUR", Provider: "Acme \"Hosting\"", AsOf: noon.Add(time.Hour + 5*time.Millisecond), SealedThrough: noon, Complete: true,
		ExportTotals: ExportTotals{Rows: 3, Corrections: 1, BilledBytes: -7, Records: 12}, Bytes: 100, SHA256: "ab12", KeyID: "cd34", Signature: "not in it"}
	const want = `headgate usage manifest v1
format: "focus"
tenants: "01A,01B"
descendants: true
from: "2025-03-01T12:00:00Z"
to: "-"
zone: "Europe/Berlin"
price_per_gib: "0.25"
currency: "EUR"
provider: "Acme \"Hosting\""
as_of: "2025-03-01T13:00:00.005Z"
sealed_through: "2025-03-01T12:00:00Z"
complete: true
rows: 3
corrections: 1
billed_bytes: -7
records: 12
bytes: 100
sha256: "ab12"
key_id: "cd34"
`
	if got := m.Text(); got != want {
		t.Errorf("text\n%s, want\n%s", got, want)
	}
}
