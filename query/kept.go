package query

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// Within is RunWithin for whoever makes whole answers of its own from what it reads: asked names all that its answer depends on but
// the scope, which is part of the key here.
//
// It returns an answer of at most that age, which is not to be changed, or land, which the caller has to call once with its
// answer, nil for none that can be kept; others who ask the same wait for it meanwhile. With neither the caller asks for itself.
// Only whole answers of at most MaxKept bytes are kept.
func (r *Reader) Within(ctx context.Context, scope tenant.Scope, asked string, maxAge time.Duration) (answer []byte, age time.Duration, land func([]byte), err error) {
	if r.cache == nil || maxAge <= 0 || !scope.Valid() {
		return nil, 0, nil, nil
	}
	if err := r.refused(newID()); err != nil {
		return nil, 0, nil, err
	}
	// No statement begins with a zero.
	key := cacheKey(Stmt{sql: "\x00" + asked, scope: scope}.fingerprint())
	a, ask, err := r.cache.lookup(ctx, key, min(maxAge, maxAnswerAge))
	switch {
	case err != nil:
		return nil, 0, nil, r.failure(newID(), err)
	case a != nil:
		return a.lines, r.cache.now().Sub(a.made), nil, nil
	case !ask:
		return nil, 0, nil, nil
	}
	made := r.cache.now()
	var once sync.Once
	return nil, 0, func(answer []byte) {
		once.Do(func() {
			if answer == nil || len(answer) > MaxKept {
				r.cache.land(key, nil, ctx.Err() != nil)
				return
			}
			r.cache.land(key, &entry{key: key, scope: strings.Join(scope.Strings(), ","), made: made, lines: answer}, false)
		})
	}, nil
}

// MaxKept is how long an answer may be that is kept.
const MaxKept = maxAnswerBytes

// Absolute reports whether r names the same times whenever it is asked.
func (r Range) Absolute() bool { return r.Start.absolute() && r.End.absolute() }
