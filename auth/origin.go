package auth

import (
	"net/url"
	"slices"
	"strings"
)

// AnyOrigin in a key's origins stands for all of them, also for pages that have none of their own ("null").
const AnyOrigin = "*"

// ParseOrigin checks an origin as browsers send it: scheme://host, with the port where it is not the scheme's own, in lower
// case, or AnyOrigin. It returns ErrInvalid for everything else: it could never match.
func ParseOrigin(s string) (string, error) {
	if s == AnyOrigin {
		return s, nil
	}
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme == "", u.Hostname() == "", len(s) > 255, s != strings.ToLower(s), s != u.Scheme+"://"+u.Host,
		strings.ContainsAny(s, " ,*"), u.Scheme == "https" && u.Port() == "443", u.Scheme == "http" && u.Port() == "80":
		return "", detail(ErrInvalid, "origin %q: want scheme://host[:port] in lower case, without a path or a default port, or *", clip(s))
	}
	return s, nil
}

// maxOrigins bounds what one key adds to the memory of every process.
const maxOrigins = 50

func parseOrigins(in []string) ([]string, error) {
	if len(in) > maxOrigins {
		return nil, detail(ErrInvalid, "key origins: %d, want %d at most", len(in), maxOrigins)
	}
	for _, s := range in {
		if _, err := ParseOrigin(s); err != nil {
			return nil, err
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(in))), nil
}

// RequireOrigin returns nil if the principal's key may be used from pages of the origin, ErrOrigin if not. A key without
// origins of its own says nothing about pages.
func (p Principal) RequireOrigin(origin string) error {
	own := p.grant().origins
	if len(own) == 0 || slices.Contains(own, AnyOrigin) || slices.Contains(own, origin) {
		return nil
	}
	return ErrOrigin
}

// AllowsOrigin reports whether any live key may be used from pages of the origin. It reads memory alone.
//
// SECURITY: it is for a browser's question before its request, which names no key. That some key allows an origin is all
// that it tells; RequireOrigin decides for the key.
func (d *Directory) AllowsOrigin(origin string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.origins[origin] > 0 || d.origins[AnyOrigin] > 0
}

// putKeyLocked and dropKeyLocked are the only writers of keys, so that origins are counted right.
func (d *Directory) putKeyLocked(e *keyEntry) {
	d.dropKeyLocked(e.key.ID)
	d.keys[e.key.ID] = e
	for _, o := range e.key.CORSOrigins {
		d.origins[o]++
	}
}

func (d *Directory) dropKeyLocked(id string) {
	e := d.keys[id]
	if e == nil {
		return
	}
	delete(d.keys, id)
	for _, o := range e.key.CORSOrigins {
		if d.origins[o]--; d.origins[o] == 0 {
			delete(d.origins, o)
		}
	}
}
