package control

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/asktest"
	"github.com/headgate-io/headgate/internal/store"
)

// request sends a request with a credential, "" for none, and headers, and returns the answer with its body read.
func (s *server) request(token, method, path, body string, header map[string]string) (*http.Response, string) {
	s.t.Helper()
	h := asktest.Bearer(token)
	for name, v := range header {
		h.Set(name, v)
	}
	return asktest.Do(s.t, method, s.url+path, body, h)
}

func (s *server) exec(query string, args ...any) int64 {
	s.t.Helper()
	var n int64
	err := s.db.Update(s.t.Context(), func(tx *store.Tx) error {
		r, err := tx.ExecContext(s.t.Context(), query, args...)
		if err == nil {
			n, err = r.RowsAffected()
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *server) count(query string) (n int) {
	s.t.Helper()
	err := s.db.View(s.t.Context(), func(tx *store.Tx) error { return tx.QueryRowContext(s.t.Context(), query).Scan(&n) })
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func code(body string) string {
	var p struct{ Code string }
	_ = json.Unmarshal([]byte(body), &p)
	return p.Code
}

// A creation that is sent again with its idempotency key is answered as before, letter by letter, and made once.
func TestIdempotencyKeyMakesCreationsOnce(t *testing.T) {
	s := start(t)
	const path, body = "/api/v1/keys", `{"tenant":"acme","scopes":["admin"]}`
	once := map[string]string{"Idempotency-Key": "k-1"}
	refused, text := s.request(s.operator, "POST", path, body, once) // changes nothing, so the key is free again
	if refused.StatusCode != 404 {
		t.Fatalf("%d %s", refused.StatusCode, text)
	}
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	first, text := s.request(s.operator, "POST", path, body, once)
	if first.StatusCode != 201 || first.Header.Get("Idempotency-Replayed") != "" {
		t.Fatalf("%d %s", first.StatusCode, text)
	}
	again, same := s.request(s.operator, "POST", path, body, once)
	if again.StatusCode != 201 || same != text || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("sent again: %d %s, want %s", again.StatusCode, same, text)
	}
	if n := s.count(`SELECT COUNT(*) FROM api_keys`); n != 1 {
		t.Errorf("%d keys were made", n)
	}
	var made NewKey
	if err := json.Unmarshal([]byte(text), &made); err != nil {
		t.Fatal(err)
	}
	secret := made.Text[strings.LastIndex(made.Text[:strings.LastIndex(made.Text, "_")], "_")+1 : strings.LastIndex(made.Text, "_")]
	var kept []byte
	err := s.db.View(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRowContext(t.Context(), `SELECT answer FROM idempotency`).Scan(&kept)
	})
	if err != nil || len(kept) == 0 || strings.Contains(string(kept), secret) {
		t.Errorf("the answer is kept as %q, %v", kept, err)
	}
	if other, text := s.request(s.operator, "POST", path, `{"tenant":"acme","scopes":["usage"]}`, once); other.StatusCode != 409 || code(text) != "idempotency-conflict" {
		t.Errorf("another body: %d %s", other.StatusCode, text)
	}
	if other, text := s.request(s.operator, "POST", "/api/v1/tenants", `{"name":"x"}`, once); other.StatusCode != 409 || code(text) != "idempotency-conflict" {
		t.Errorf("another path: %d %s", other.StatusCode, text)
	}
	if other, text := s.request(made.Text, "POST", path, body, once); other.StatusCode != 201 || strings.Contains(text, made.ID) {
		t.Errorf("another caller: %d %s", other.StatusCode, text)
	}
	for _, bad := range []string{" ", strings.Repeat("x", 256), "ä"} {
		if resp, text := s.request(s.operator, "POST", path, body, map[string]string{"Idempotency-Key": bad}); resp.StatusCode != 400 {
			t.Errorf("key %q: %d %s", bad, resp.StatusCode, text)
		}
	}
	s.exec(`UPDATE idempotency SET created_at = created_at - 86400000`)
	if late, text := s.request(s.operator, "POST", path, body, once); late.StatusCode != 201 || strings.Contains(text, made.ID) {
		t.Errorf("a day later: %d %s", late.StatusCode, text)
	}
}

// However many ask at once with one idempotency key, one thing is made.
func TestConcurrentRequestsWithOneIdempotencyKeyMakeOneThing(t *testing.T) {
	s := start(t)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			resp, text := s.request(s.operator, "POST", "/api/v1/keys", `{"tenant":"acme","scopes":["ingest"]}`, map[string]string{"Idempotency-Key": "k"})
			if resp.StatusCode != 201 && (resp.StatusCode != 409 || code(text) != "idempotency-running") {
				t.Errorf("%d %s", resp.StatusCode, text)
			}
		})
	}
	wg.Wait()
	if n := s.count(`SELECT COUNT(*) FROM api_keys`); n != 1 {
		t.Errorf("%d keys were made", n)
	}
}

// A process that dies between the change and its answer leaves a claim that says so: the change is not made again.
func TestIdempotencyKeyOutlivesADeath(t *testing.T) {
	s := start(t)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	make := func() (int, string) {
		resp, text := s.request(s.operator, "POST", "/api/v1/keys", `{"tenant":"acme","scopes":["ingest"]}`, map[string]string{"Idempotency-Key": "k"})
		return resp.StatusCode, code(text)
	}
	if status, _ := make(); status != 201 {
		t.Fatal(status)
	}
	s.exec(`UPDATE idempotency SET status = 1`) // as it is between
	if status, code := make(); status != 409 || code != "idempotency-running" {
		t.Errorf("between the change and its answer: %d %s", status, code)
	}
	s.exec(`UPDATE idempotency SET created_at = created_at - 60000`)
	if status, code := make(); status != 409 || code != "idempotency-lost" {
		t.Errorf("after a death behind the change: %d %s", status, code)
	}
	s.exec(`UPDATE idempotency SET status = 0, created_at = created_at + 60000`)
	if status, code := make(); status != 409 || code != "idempotency-running" {
		t.Errorf("while it runs: %d %s", status, code)
	}
	s.exec(`UPDATE idempotency SET created_at = created_at - 60000`)
	if status, code := make(); status != 201 {
		t.Errorf("after a death before the change: %d %s", status, code)
	}
	// Who was taken for dead and was only slow changes nothing any more.
	operator, err := s.api.Directory.Operator(s.operator)
	if err != nil {
		t.Fatal(err)
	}
	slow, _, _, err := s.api.Directory.Claim(t.Context(), operator, "slow", [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	// A claim is known by its millisecond, which the one that takes it over a minute later never shares. Here no minute passes.
	for at := time.Now().UnixMilli(); time.Now().UnixMilli() == at; {
	}
	s.exec(`UPDATE idempotency SET created_at = created_at - 60000 WHERE name = 'slow'`)
	if _, _, _, err := s.api.Directory.Claim(t.Context(), operator, "slow", [32]byte{1}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.api.Directory.Tenants().Disable(slow.Context(t.Context()), operator, "acme"); err == nil {
		t.Error("a claim that was taken over changed something")
	}
	if got := ok[Tenant](s, 200, s.operator, "GET", "/api/v1/tenants/acme", ""); got.Status != "active" {
		t.Errorf("acme is %s", got.Status)
	}
}

// A change with If-Match is made in the state that its sender saw, or not at all.
func TestIfMatchRefusesWhatChangedMeanwhile(t *testing.T) {
	s := start(t)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	const path = "/api/v1/tenants/acme"
	shown, text := s.request(s.operator, "GET", path, "", nil)
	tag := shown.Header.Get("ETag")
	if !strings.HasPrefix(tag, `"`) {
		t.Fatalf("ETag %q", tag)
	}
	if same, body := s.request(s.operator, "GET", path, "", map[string]string{"If-None-Match": tag}); same.StatusCode != 304 || body != "" {
		t.Errorf("If-None-Match: %d %s", same.StatusCode, body)
	}
	s.kept = map[string]int64{mustID(t, text): 5} // measured, and no state
	if resp, _ := s.request(s.operator, "GET", path, "", nil); resp.Header.Get("ETag") != tag {
		t.Error("the ETag changes with what is measured")
	}
	set, text := s.request(s.operator, "PATCH", path, `{"retention_days":7}`, map[string]string{"If-Match": tag})
	if set.StatusCode != 200 || set.Header.Get("ETag") == tag || set.Header.Get("ETag") == "" {
		t.Fatalf("%d %s, ETag %s", set.StatusCode, text, set.Header.Get("ETag"))
	}
	for _, c := range []struct{ method, path, body, tag string }{
		{"PATCH", path, `{"retention_days":8}`, tag},
		{"PATCH", path, `{"retention_days":8}`, "W/" + set.Header.Get("ETag")},
		{"DELETE", path, `{"confirm":"acme"}`, tag},
		{"DELETE", "/api/v1/tenants/acme", `{"confirm":"acme"}`, `"x", "y"`},
	} {
		if resp, text := s.request(s.operator, c.method, c.path, c.body, map[string]string{"If-Match": c.tag}); resp.StatusCode != 412 || code(text) != "changed-meanwhile" {
			t.Errorf("%s If-Match %s: %d %s", c.method, c.tag, resp.StatusCode, text)
		}
	}
	if resp, text := s.request(s.operator, "PATCH", "/api/v1/tenants/nobody", `{"retention_days":8}`, map[string]string{"If-Match": "*"}); resp.StatusCode != 404 {
		t.Errorf("of nothing: %d %s", resp.StatusCode, text)
	}
	for _, tag := range []string{`"x", ` + set.Header.Get("ETag"), "*"} {
		if resp, text := s.request(s.operator, "PATCH", path, `{"retention_days":9}`, map[string]string{"If-Match": tag}); resp.StatusCode != 200 {
			t.Errorf("If-Match %s: %d %s", tag, resp.StatusCode, text)
		}
	}

	// Of many who change the same state, one does.
	shown, _ = s.request(s.operator, "GET", path, "", nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 8 {
		wg.Go(func() {
			resp, text := s.request(s.operator, "PATCH", path, `{"retention_days":`+string(rune('1'+i))+`0}`, map[string]string{"If-Match": shown.Header.Get("ETag")})
			mu.Lock()
			defer mu.Unlock()
			if resp.StatusCode == 200 {
				won++
			} else if resp.StatusCode != 412 {
				t.Errorf("%d %s", resp.StatusCode, text)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d changes of one state were made", won)
	}
}

func mustID(t *testing.T, text string) string {
	t.Helper()
	var v struct{ ID string }
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v.ID
}

// Every path refuses methods that it does not have with 405 and Allow, answers HEAD as GET, and nothing may be cached.
func TestMethodsHeadAndCachesFollowTheRoutes(t *testing.T) {
	s := start(t)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	methods := map[string][]string{}
	for _, rt := range s.api.table() {
		methods[rt.path] = append(methods[rt.path], rt.method)
	}
	for path, has := range methods {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			if strings.Contains(strings.Join(has, " "), method) {
				continue
			}
			resp, text := s.request(s.operator, method, pathParameter.ReplaceAllString(path, "x"), "", nil)
			allow := resp.Header.Get("Allow")
			if resp.StatusCode != 405 || code(text) != "method-not-allowed" || !strings.Contains(allow, has[0]) || strings.Contains(allow, method) {
				t.Errorf("%s %s: %d, Allow %q, %s", method, path, resp.StatusCode, allow, text)
			}
		}
	}
	get, body := s.request(s.operator, "GET", "/api/v1/tenants/acme", "", nil)
	head, none := s.request(s.operator, "HEAD", "/api/v1/tenants/acme", "", nil)
	if head.StatusCode != 200 || none != "" || head.ContentLength != int64(len(body)) || head.Header.Get("ETag") != get.Header.Get("ETag") {
		t.Errorf("HEAD: %d, %d bytes, ETag %s", head.StatusCode, head.ContentLength, head.Header.Get("ETag"))
	}
	for path, want := range map[string]int{"/api/v1/tenants/acme": 200, "/api/v1/tenants": 200, "/api/v1/audit": 200, "/api/v1/audit/export": 200, "/api/v1/nothing": 404, "/api/v1/tenants/nobody": 404} {
		resp, _ := s.request(s.operator, "GET", path, "", nil)
		if resp.StatusCode != want || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, Cache-Control %q", path, resp.StatusCode, resp.Header.Get("Cache-Control"))
		}
	}
	if resp, text := s.request(s.operator, "POST", "/api/v1/tenants", `{"name":"`+strings.Repeat("x", 1<<20)+`"}`, nil); resp.StatusCode != 413 {
		t.Errorf("a large body: %d %.100s", resp.StatusCode, text)
	}
	if resp, text := s.request(s.operator, "POST", "/api/v1/keys", `{"tenant":"`+strings.Repeat("x", 1<<20)+`"}`, map[string]string{"Idempotency-Key": "k"}); resp.StatusCode != 413 {
		t.Errorf("a large body with an idempotency key: %d %.100s", resp.StatusCode, text)
	}
}

// Entries say where a request came from.
func TestEntriesNameTheAddress(t *testing.T) {
	s := start(t)
	ok[Tenant](s, 201, s.operator, "POST", "/api/v1/tenants", `{"name":"acme"}`)
	page := ok[AuditPage](s, 200, s.operator, "GET", "/api/v1/audit?tenant=acme", "")
	if len(page.Entries) != 1 || page.Entries[0].Address != "127.0.0.1" || page.Entries[0].Seq != 1 || len(page.Entries[0].Hash) != 64 {
		t.Errorf("entries %+v", page.Entries)
	}
}
