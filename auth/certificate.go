package auth

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
)

// What a key may be bound to are names of client certificates: a URI that the certificate has as a subject alternative name, as
// SPIFFE has it; dns: and a DNS name that it has; or sha256: and the hexadecimal SHA-256 of the whole certificate.
const (
	certificateDNS  = "dns:"
	certificateHash = "sha256:"
)

// maxCertificates bounds what one key adds to the memory of every process.
const maxCertificates = 50

// CertificateNames are the names of a verified certificate that keys may be bound to.
func CertificateNames(c *x509.Certificate) []string {
	sum := sha256.Sum256(c.Raw)
	names := []string{certificateHash + hex.EncodeToString(sum[:])}
	for _, u := range c.URIs {
		// SECURITY: one without a host, such as dns:x, would be taken for another kind of name.
		if u.Host != "" {
			names = append(names, u.String())
		}
	}
	for _, name := range c.DNSNames {
		names = append(names, certificateDNS+strings.ToLower(name))
	}
	return names
}

// parseCertificates checks names and sorts them. What could never match, or might match more than it says, is ErrInvalid.
func parseCertificates(in []string) ([]string, error) {
	if len(in) > maxCertificates {
		return nil, detail(ErrInvalid, "key certificates: %d, want %d at most", len(in), maxCertificates)
	}
	for _, s := range in {
		if !certificateName(s) {
			return nil, detail(ErrInvalid, "key certificate %q: want a URI such as spiffe://example.org/agent, dns:NAME in lower case, or sha256:HASH in lower-case hexadecimal", clip(s))
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(in))), nil
}

func certificateName(s string) bool {
	if len(s) > 255 || plainText(s) != s || strings.ContainsAny(s, " \t\r\n*") {
		return false
	}
	if h, ok := strings.CutPrefix(s, certificateHash); ok {
		raw, err := hex.DecodeString(h)
		return err == nil && len(raw) == sha256.Size && h == strings.ToLower(h)
	}
	if name, ok := strings.CutPrefix(s, certificateDNS); ok {
		return name != "" && name == strings.ToLower(name)
	}
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && u.Host != "" && u.String() == s
}

// showsOneOf returns nil if a key bound to the certificates own may be used by who shows one with these names.
//
// SECURITY: a key that is bound to none is bound to nothing; any other is refused wherever no certificate was verified.
func showsOneOf(own, names []string) *Error {
	if len(own) == 0 || slices.ContainsFunc(names, func(name string) bool { return slices.Contains(own, name) }) {
		return nil
	}
	return ErrCertificate
}
