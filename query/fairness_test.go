package query

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
)

// TestHostileQueriesSlowNeighboursLittle runs a neighbour's small queries alone and beside a tenant that sends the heaviest
// queries it can, eight at a time in a loop, on the real engine. HEADGATE_TEST_FAIRNESS is the seconds of each half; by
// default they are few, and only what no noise explains is an error.
func TestHostileQueriesSlowNeighboursLittle(t *testing.T) {
	span := 3 * time.Second
	if s := os.Getenv("HEADGATE_TEST_FAIRNESS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		span = time.Duration(n) * time.Second
	}
	s := newStore(t)
	rows := func(id string, n int) {
		s.exec("INSERT INTO otel_logs (TenantId, Timestamp, ServiceName, Body) SELECT '" + id + "', fromUnixTimestamp64Nano(1741082400000000000 + number * 1000), toString(number % 5), repeat(toString(number), 10) FROM numbers(" + itoa(n) + ")")
	}
	rows("n", 200_000)
	rows("h", 500_000)
	s.reader = NewReader(chtest.Start(t).OpenReader(t, s.name), ReaderOptions{})
	run := func(ctx context.Context, scope tenant.Scope, text string) error {
		st, err := Print(mustParse(t, text), scope, hour())
		if err != nil {
			return err
		}
		res, err := s.reader.Run(ctx, st, Rows)
		if err != nil {
			return err
		}
		defer res.Close()
		for err == nil {
			_, err = res.Next()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	neighbour := chtest.Scope(t, "n")
	measure := func() []time.Duration {
		var took []time.Duration
		for began := time.Now(); time.Since(began) < span; {
			at := time.Now()
			if err := run(t.Context(), neighbour, "logs | summarize count(), dcount(body) by service"); err != nil {
				t.Errorf("neighbour: %v", err)
			}
			took = append(took, time.Since(at))
			select {
			case <-t.Context().Done():
			case <-time.After(20 * time.Millisecond): // people and panels pause between questions
			}
		}
		slices.Sort(took)
		return took
	}
	measure()
	alone := measure()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	done, refused := 0, 0
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				err := run(ctx, chtest.Scope(t, "h"), slow)
				mu.Lock()
				if err == nil {
					done++
				} else {
					refused++
				}
				mu.Unlock()
			}
		})
	}
	beside := measure()
	cancel()
	wg.Wait()
	at := func(d []time.Duration, p float64) time.Duration { return d[int(p*float64(len(d)-1))] }
	for _, p := range []float64{.5, .9, .99} {
		t.Logf("p%g alone %v, beside %v: %.2f times", 100*p, at(alone, p), at(beside, p), float64(at(beside, p))/float64(at(alone, p)))
	}
	t.Logf("%d and %d queries of the neighbour; the other's: %d done, %d refused", len(alone), len(beside), done, refused)
	if ratio := float64(at(beside, .5)) / float64(at(alone, .5)); ratio > 8 {
		t.Errorf("the neighbour's median took %.1f times as long", ratio)
	}
}
