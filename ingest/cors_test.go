package ingest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/storage/schema"
)

// browse sends what a page of an origin would. Headers are pairs.
func browse(t *testing.T, g *gateway, method, path, origin, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, g.http+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", origin)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return answer{status: resp.StatusCode, header: resp.Header}
}

// TestH29PreflightNeedsNoKey, and both it and the answers after it tell the browser what the page may see.
func TestH29PreflightNeedsNoKey(t *testing.T) {
	const shop = "https://shop.example"
	g := start(t, Options{CORSOrigins: []string{shop, "https://other.example:8443", "null"}})
	_, key := g.tenant("acme", auth.NewTenant{})
	ask := []string{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type"}
	a := browse(t, g, http.MethodOptions, "/v1/traces", shop, "", ask...)
	if a.status != http.StatusNoContent || a.header.Get("Access-Control-Allow-Origin") != shop ||
		!strings.Contains(a.header.Get("Access-Control-Allow-Headers"), "authorization") || a.header.Get("Access-Control-Allow-Methods") != "POST" {
		t.Errorf("preflight: %d %v", a.status, a.header)
	}
	answers := map[string]answer{
		"preflight": a,
		"200":       browse(t, g, http.MethodPost, "/v1/traces", shop, "{}", "Content-Type", jsonType, "X-Api-Key", key),
		"400":       browse(t, g, http.MethodPost, "/v1/traces", shop, "{", "Content-Type", jsonType, "X-Api-Key", key),
		"401":       browse(t, g, http.MethodPost, "/v1/traces", shop, "{}", "Content-Type", jsonType),
		"404":       browse(t, g, http.MethodPost, "/v2/traces", shop, "{}", "Content-Type", jsonType),
		"405":       browse(t, g, http.MethodGet, "/v1/traces", shop, ""),
		"415":       browse(t, g, http.MethodPost, "/v1/traces", shop, "{}", "Content-Type", "text/plain", "X-Api-Key", key),
	}
	for name, a := range answers {
		if a.header.Get("Access-Control-Allow-Origin") != shop || a.header.Get("Vary") != "Origin" || a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %v", name, a.header)
		}
		if name != "preflight" && a.header.Get("Access-Control-Expose-Headers") != "Retry-After, RateLimit-Policy, RateLimit" {
			t.Errorf("%s: exposes %q", name, a.header.Get("Access-Control-Expose-Headers"))
		}
	}
	for _, origin := range []string{"https://shop.example.evil", "http://shop.example", "https://SHOP.example", "null", "https://shop.example:443"} {
		a := browse(t, g, http.MethodOptions, "/v1/traces", origin, "", ask...)
		if a.header.Get("Access-Control-Allow-Origin") != "" || a.header.Get("Vary") != "Origin" {
			t.Errorf("%s: %v", origin, a.header)
		}
	}
}

// TestH30AnyOriginIsAnyOrigin: sandboxed pages too, and never with the browser's own credentials.
func TestH30AnyOriginIsAnyOrigin(t *testing.T) {
	g := start(t, Options{CORSOrigins: []string{"*"}})
	for _, origin := range []string{"https://shop.example", "null"} {
		a := browse(t, g, http.MethodOptions, "/v1/logs", origin, "", "Access-Control-Request-Method", "POST")
		if a.status != http.StatusNoContent || a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %d %v", origin, a.status, a.header)
		}
	}
}

func TestH29WithoutOriginsThereIsNoCORS(t *testing.T) {
	g := start(t, Options{})
	a := browse(t, g, http.MethodOptions, "/v1/logs", "https://shop.example", "", "Access-Control-Request-Method", "POST")
	if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "POST" || a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%d %v", a.status, a.header)
	}
}

// TestH29KeysNameTheirOrigins: the preflight, which shows no key, is answered for every key's origins; the request that
// follows only for those of its own.
func TestH29KeysNameTheirOrigins(t *testing.T) {
	const app, shop, all = "https://app.example", "https://shop.example", "https://all.example"
	g := start(t, Options{CORSOrigins: []string{all}})
	key := func(tenant string, origins ...string) string {
		t.Helper()
		_, text, err := g.directory.Keys().Create(t.Context(), g.operator, auth.NewKey{
			Tenant: tenant, Scopes: []auth.KeyScope{auth.ScopeIngest}, CORSOrigins: origins,
		})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	id, plain := g.tenant("acme", auth.NewTenant{})
	g.tenant("globex", auth.NewTenant{})
	own, others := key("acme", app), key("globex", shop)
	ask := []string{"Access-Control-Request-Method", "POST"}
	for origin, want := range map[string]string{app: app, shop: shop, all: all, "https://evil.example": "", "null": ""} {
		if a := browse(t, g, http.MethodOptions, "/v1/logs", origin, "", ask...); a.header.Get("Access-Control-Allow-Origin") != want {
			t.Errorf("preflight of %s: %d %v", origin, a.status, a.header)
		}
	}
	body := string(encode(t, logs(1), jsonEncoding))
	for _, c := range []struct {
		name, key, origin string
		want              int
	}{
		{"own", own, app, 200}, {"others'", others, shop, 200}, {"of another key", own, shop, 403}, {"of the server, not the key", own, all, 403},
		{"nobody's", own, "https://evil.example", 403}, {"a sandbox", own, "null", 403}, {"of the server", plain, all, 200},
	} {
		a := browse(t, g, http.MethodPost, "/v1/logs", c.origin, body, "Content-Type", jsonType, "X-Api-Key", c.key)
		if a.status != c.want {
			t.Errorf("%s: %d, want %d", c.name, a.status, c.want)
		}
	}
	wantStatus(t, g.post("/v1/logs", strings.NewReader(body), "key", own, "Content-Type", jsonType, "Origin", shop), 403, jsonType, "key-origin")
	want200(t, g.post("/v1/logs", strings.NewReader(body), "key", own, "Content-Type", jsonType), jsonType, "{}") // no browser
	if n := g.rows(schema.Logs, id); n != 3 {
		t.Errorf("%d rows, want 3: refused requests store nothing", n)
	}
	anywhere := key("globex", auth.AnyOrigin)
	for _, origin := range []string{"null", "https://anywhere.example"} {
		if a := browse(t, g, http.MethodPost, "/v1/logs", origin, "{}", "Content-Type", jsonType, "X-Api-Key", anywhere); a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != origin {
			t.Errorf("%s with a key for any: %d %v", origin, a.status, a.header)
		}
	}
}
