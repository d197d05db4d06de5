package control

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/internal/httpapi"
)

const (
	idempotencyHeader = "Idempotency-Key"
	maxIdempotencyKey = 255
	afterTimeout      = 10 * time.Second // to note how a request ended, also when its sender has gone
)

// once carries a request out at most once per idempotency key, for a day: sent again, it gets the same answer. do makes the
// answer; nil with no error says that it has written itself, which is not kept.
func (a *API) once(rt route, w http.ResponseWriter, r *http.Request, p auth.Principal, do func(*http.Request) (*answer, error)) (*answer, error) {
	keys := r.Header.Values(idempotencyHeader)
	if len(keys) == 0 || rt.method != http.MethodPost || rt.scope == public {
		return do(r)
	}
	key := keys[0]
	if len(keys) > 1 || !isIdempotencyKey(key) {
		return nil, invalid("%s: want one, of 1 to %d printable ASCII characters", idempotencyHeader, maxIdempotencyKey)
	}
	body, err := io.ReadAll(r.Body) // is bounded
	if err != nil {
		return nil, httpapi.BodyError(err)
	}
	claim, status, kept, err := a.Directory.Claim(r.Context(), p, key, requestSum(r, p, body))
	if err != nil {
		return nil, err
	}
	if status != 0 {
		w.Header().Set("Idempotency-Replayed", "true")
		return &answer{status: status, body: kept}, nil
	}
	r = r.WithContext(claim.Context(r.Context()))
	r.Body = io.NopCloser(bytes.NewReader(body))
	out, err := do(r)
	after, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), afterTimeout)
	defer cancel()
	if err != nil || out == nil {
		err = errors.Join(err, claim.Release(after))
		return out, err
	}
	if err := claim.Keep(after, out.status, out.body); err != nil {
		a.Log.Warn("the answer of an idempotent request is not kept", "err", err) // sent again, it is told so
	}
	return out, nil
}

func isIdempotencyKey(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return s != "" && len(s) <= maxIdempotencyKey
}

// requestSum tells requests apart. Where the caller acts is part of it, for that may decide what is made.
func requestSum(r *http.Request, p auth.Principal, body []byte) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, s := range []string{r.Method, r.URL.RequestURI(), p.Tenant().String()} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	h.Write(body)
	h.Sum(sum[:0])
	return sum
}
