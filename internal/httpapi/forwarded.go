package httpapi

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

// Proxies are the addresses of reverse proxies whose X-Forwarded-For is believed. The zero value believes nobody.
type Proxies []netip.Prefix

// ParseProxies reads IP addresses and CIDR prefixes, such as 10.0.0.7 and 10.1.0.0/16.
func ParseProxies(list []string) (Proxies, error) {
	var out Proxies
	for _, s := range list {
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			a = a.Unmap()
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(s)
		if err != nil || p.Masked() != p || p.Addr().Is4In6() {
			return nil, fmt.Errorf("%.60q is no IP address or prefix such as 10.0.0.7 or 10.1.0.0/16", s)
		}
		out = append(out, p)
	}
	return out, nil
}

func (p Proxies) trust(a netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// Handler calls next with the client's address as RemoteAddr where the request came through trusted proxies: the last
// address of X-Forwarded-For that is not a trusted proxy itself. What stands before it was written by that client.
//
// SECURITY: of a peer that is no trusted proxy the header is not looked at, so nobody picks the address under which sign-ins are
// counted and acts are audited.
func (p Proxies) Handler(next http.Handler) http.Handler {
	if len(p) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil && p.trust(peer.Addr().Unmap()) {
			if client, ok := p.client(r.Header.Values("X-Forwarded-For")); ok {
				r = r.Clone(r.Context())
				r.RemoteAddr = netip.AddrPortFrom(client, 0).String()
			}
		}
		next.ServeHTTP(w, r)
	})
}

// client returns the last address of the header lines that is no trusted proxy, else the first of all. One that cannot be read
// ends the search: nothing before it is vouched for.
func (p Proxies) client(lines []string) (found netip.Addr, ok bool) {
	hops := strings.Split(strings.Join(lines, ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		a, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil || a.Zone() != "" {
			return found, ok
		}
		found, ok = a.Unmap(), true
		if !p.trust(found) {
			return found, true
		}
	}
	return found, ok
}
