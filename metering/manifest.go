package metering

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// manifestVersion begins the text that is signed.
const manifestVersion = "headgate usage manifest v1"

// Manifest says what an export contains, and proves that this ledger said so: its signature is over the text that Text makes
// of it. Two manifests of the same filter and as_of differ in their signer only.
type Manifest struct {
	Format        Format    `json:"format"`
	Tenants       []string  `json:"tenants"` // ids of those asked for, empty: all
	Descendants   bool      `json:"descendants"`
	From          time.Time `json:"from,omitzero"` // zero: the beginning
	To            time.Time `json:"to,omitzero"`   // exclusive; zero: no end but the seal
	Zone          string    `json:"zone"`
	PricePerGiB   string    `json:"price_per_gib"` // of the format focus, like Currency and Provider
	Currency      string    `json:"currency"`
	Provider      string    `json:"provider"`
	AsOf          time.Time `json:"as_of"`
	SealedThrough time.Time `json:"sealed_through"`
	Complete      bool      `json:"complete"` // the whole period is sealed: nothing will be added to it
	ExportTotals
	Bytes     int64  `json:"bytes"`
	SHA256    string `json:"sha256"` // hexadecimal, of the export's bytes
	KeyID     string `json:"key_id"`
	Signature string `json:"signature"` // Ed25519, base64
}

// ErrManifest says that a manifest is not what its key has signed, or that an export is not the manifest's.
var ErrManifest = errors.New("manifest")

// Manifest makes the export once, without keeping it, and signs what it contains. An export with open hours has none.
func (x *Export) Manifest(ctx context.Context, s *Signer) (Manifest, error) {
	f := x.Filter
	if f.Open {
		return Manifest{}, fmt.Errorf("%w: an export with open hours cannot be made again, and has no manifest", ErrFilter)
	}
	h := &counted{}
	sum := sha256.New()
	h.w = sum.Write
	totals, err := x.Write(ctx, h)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{Format: f.Format, Tenants: []string{}, Descendants: f.Descendants, From: utc(f.From), To: utc(f.To), Zone: f.Zone.String(),
		PricePerGiB: f.Rate.PerGiB, Currency: f.Rate.Currency, Provider: f.Rate.Provider, AsOf: f.AsOf,
		SealedThrough: x.SealedThrough, Complete: !f.To.IsZero() && !f.To.After(x.SealedThrough),
		ExportTotals: totals, Bytes: h.n, SHA256: hex.EncodeToString(sum.Sum(nil)), KeyID: s.ID}
	for _, id := range f.Tenants {
		m.Tenants = append(m.Tenants, id.String())
	}
	m.Signature = s.Sign(m.Text())
	return m, nil
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}

// counted counts what is written.
type counted struct {
	w func([]byte) (int, error)
	n int64
}

// Write implements io.Writer.
func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w(p)
	c.n += int64(n)
	return n, err
}

// Text returns what is signed: the version, then a line "name: value" for every field but the signature, in this order, each
// ended by a line feed. Texts are quoted as Go quotes them, so that no value can look like another line.
func (m Manifest) Text() string {
	moment := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	var b strings.Builder
	b.WriteString(manifestVersion + "\n")
	for _, line := range []struct {
		name  string
		value any
	}{
		{"format", string(m.Format)}, {"tenants", strings.Join(m.Tenants, ",")}, {"descendants", m.Descendants},
		{"from", moment(m.From)}, {"to", moment(m.To)}, {"zone", m.Zone},
		{"price_per_gib", m.PricePerGiB}, {"currency", m.Currency}, {"provider", m.Provider},
		{"as_of", moment(m.AsOf)}, {"sealed_through", moment(m.SealedThrough)}, {"complete", m.Complete},
		{"rows", m.Rows}, {"corrections", m.Corrections}, {"billed_bytes", m.BilledBytes}, {"records", m.Records},
		{"bytes", m.Bytes}, {"sha256", m.SHA256}, {"key_id", m.KeyID},
	} {
		if s, ok := line.value.(string); ok {
			fmt.Fprintf(&b, "%s: %q\n", line.name, s)
		} else {
			fmt.Fprintf(&b, "%s: %v\n", line.name, line.value)
		}
	}
	return b.String()
}

// Verify returns nil if the manifest is signed by the key, else ErrManifest.
func (m Manifest) Verify(key ed25519.PublicKey) error {
	return VerifyText(key, m.KeyID, m.Text(), m.Signature)
}

// Check returns nil if an export of these bytes is the manifest's, else ErrManifest.
func (m Manifest) Check(bytes int64, sum [sha256.Size]byte) error {
	if m.Bytes != bytes {
		return fmt.Errorf("%w: the export has %d bytes, signed were %d", ErrManifest, bytes, m.Bytes)
	}
	if m.SHA256 != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("%w: the export has another SHA-256 than was signed: it was changed", ErrManifest)
	}
	return nil
}
