package query_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/timetest"
	"github.com/headgate-io/headgate/query"
	"github.com/headgate-io/headgate/query/oql"
)

// TestWhoLeavesTakesNothingAlong: clients of two tenants ask every interface over few connections that both use again and again, and
// leave at random: before the headers, within the body, or not at all. Between them are two tenants all of whose queries fail
// in the engine. Whatever of an answer arrives belongs to its own request and tenant, and whole ones are whole. After it no
// place is taken, no statement runs, no goroutine is left, and everything still answers. HEADGATE_TEST_LEAVERS is the seconds that this lasts.
func TestWhoLeavesTakesNothingAlong(t *testing.T) {
	span := 3 * time.Second
	if s := os.Getenv("HEADGATE_TEST_LEAVERS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		span = time.Duration(n) * time.Second
	}
	p := newParlour(t)
	before := runtime.NumGoroutine()
	p.open()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			for began := time.Now(); time.Since(began) < span || p.missing() != "" && time.Since(began) < time.Minute; {
				p.visit(rng)
			}
		})
	}
	wg.Wait()
	timetest.Eventually(t, "every place is free", func() bool {
		running, heavy, seats, waiting := p.reader.Places()
		return running+heavy+seats+waiting == 0
	})
	timetest.Eventually(t, "no statement runs", func() bool { return p.statements() == 0 })
	rng := rand.New(rand.NewPCG(seed, 1<<32))
	for _, ask := range asks {
		for _, owner := range []string{"a", "b"} {
			a := ask(owner, newCanary(rng), rng)
			resp, err := p.send(t.Context(), owner, a)
			if err != nil {
				t.Fatalf("%s: later: %v", a.what, err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err := errors.Join(err, a.check(owner, resp, body, true)); err != nil || resp.StatusCode != a.status {
				t.Errorf("%s: later: status %d, %v", a.what, resp.StatusCode, err)
			}
		}
	}
	t.Logf("connections %d; %s", p.connections.Load(), p.told())
	p.close()
	timetest.Eventually(t, "no goroutine of a request is left", func() bool {
		return runtime.NumGoroutine() <= before+2 && !strings.Contains(stacks(), "headgate/query.(")
	})
	if kind := p.missing(); kind != "" {
		t.Errorf("nobody was %s", kind)
	}
}

// visit asks one thing and stays for as long of the answer as rng says.
func (p *parlour) visit(rng *rand.Rand) {
	owner, own := string("ab"[rng.IntN(2)]), newCanary(rng)
	if rng.IntN(6) == 0 {
		p.visitReader(rng, owner, own)
		return
	}
	a := asks[rng.IntN(len(asks))](owner, own, rng)
	switch rng.IntN(10) {
	case 0:
		a, owner = failing(own, http.StatusUnprocessableEntity), "c"
	case 1:
		a, owner = failing(own, http.StatusGatewayTimeout), "d"
	case 2:
		a = badCursor(own)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	leave := rng.IntN(3)
	if leave == 1 {
		defer time.AfterFunc(time.Duration(rng.IntN(60))*time.Millisecond, cancel).Stop()
	}
	resp, err := p.send(ctx, owner, a)
	if err != nil {
		if leave != 1 {
			p.t.Errorf("%s: %v", a.what, err)
		}
		p.note("left before the headers")
		return
	}
	defer resp.Body.Close() // with the rest unread in the cases that leave
	var body []byte
	if leave == 2 {
		body = make([]byte, rng.IntN(200_000))
		n, _ := io.ReadFull(resp.Body, body)
		body = body[:n]
	} else {
		body, err = io.ReadAll(resp.Body)
	}
	whole := leave != 2 && err == nil
	switch {
	case resp.StatusCode != http.StatusOK:
		p.note("refused")
	case whole:
		p.note("whole")
	default:
		p.note("left in the body")
	}
	if leave == 0 && err != nil {
		p.t.Errorf("%s: breaks off: %v", a.what, err)
	}
	if err := a.check(owner, resp, body, whole); err != nil {
		p.t.Errorf("%s of %s %s: %v", a.what, owner, own, err)
	}
}

func (p *parlour) send(ctx context.Context, owner string, a asked) (*http.Response, error) {
	method := http.MethodGet
	if a.body != nil {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, p.srv.URL+a.path, bytes.NewReader(a.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Owner", owner)
	return p.client.Do(req)
}

// visitReader asks the reader itself, without HTTP before it.
func (p *parlour) visitReader(rng *rand.Rand, owner, own string) {
	plan, err := oql.Parse(oqlText(own))
	if err != nil {
		p.t.Error(err)
		return
	}
	n := 1 + rng.IntN(logsEach)
	st, err := query.Print(plan, chtest.Scope(p.t, owner), query.Bounds{Start: hourStart, End: hourStart.Add(time.Hour), Now: hourStart.Add(time.Hour), Limit: n})
	if err != nil {
		p.t.Error(err)
		return
	}
	ctx, cancel := context.WithCancel(p.t.Context())
	defer cancel()
	leave := rng.IntN(3)
	if leave == 1 {
		defer time.AfterFunc(time.Duration(rng.IntN(60))*time.Millisecond, cancel).Stop()
	}
	stay := rng.IntN(n) // with leave 2, rows
	res, err := p.reader.Run(ctx, st, query.Rows)
	if err != nil {
		p.note("reader refused")
		return
	}
	defer res.Close()
	for rows := 0; ; rows++ {
		values, err := res.Next()
		if err != nil {
			switch whole := errors.Is(err, io.EOF); {
			case whole && rows != n:
				p.t.Errorf("%d rows of %d", rows, n)
			case !whole && leave != 1:
				p.t.Errorf("reader: row %d: %v", rows, err)
			case whole:
				p.note("reader whole")
			default:
				p.note("reader left")
			}
			return
		}
		if !strings.Contains(string(values[0]), "owner-"+owner) || string(values[1]) != `"`+own+`"` {
			p.t.Errorf("row %d of %s %s: %s", rows, owner, own, values)
			return
		}
		if leave == 2 && rows == stay {
			p.note("reader left")
			return
		}
	}
}
