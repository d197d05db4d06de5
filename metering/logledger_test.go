package metering

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/timetest"
)

// encoded returns receipts as a log has them.
func encoded(t *testing.T, rs ...Receipt) (out [][]byte) {
	t.Helper()
	for _, r := range rs {
		b, err := r.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

func TestReceiptsThatAreNotUnderstoodWholeFailTheirRun(t *testing.T) {
	storetest.Each(t, testReceiptsThatAreNotUnderstoodWholeFailTheirRun)
}

func testReceiptsThatAreNotUnderstoodWholeFailTheirRun(t *testing.T) {
	l := newTestLedger(tempDB(t))
	good := encoded(t, logs("a", "k", 10, noon))[0]
	for name, bad := range map[string][]byte{
		"empty": {}, "cut short": good[:len(good)-1], "one byte more": append(bytes.Clone(good), 0),
		"two in one": append(bytes.Clone(good), good...), "of another version": append([]byte{receiptVersion + 1}, good[1:]...),
	} {
		if err := l.ForLog(testLog).Apply(deadline(t), 1, [][]byte{good, bad, good}); err == nil {
			t.Errorf("%s: applied", name)
		}
	}
	wantApplied(t, l, testLog)
	if got := sum(all(t, l, Filter{})); got != 0 {
		t.Errorf("ledger holds %d, want nothing", got)
	}
	if err := l.ForLog(testLog).Apply(deadline(t), 1, [][]byte{good, good}); err != nil {
		t.Error(err)
	}
	if got := sum(all(t, l, Filter{})); got != 20 {
		t.Errorf("ledger holds %d, want 20", got)
	}
}

// Receipts that are not billed are an error that a human sees; a run that is tried again after a failure is none, whichever
// way its commit went.
func TestNewRunUnderAUsedNumberIsAnError(t *testing.T) {
	storetest.Each(t, testNewRunUnderAUsedNumberIsAnError)
}

func testNewRunUnderAUsedNumberIsAnError(t *testing.T) {
	db := tempDB(t)
	var text bytes.Buffer
	l := NewLedger(db, LedgerOptions{Now: timetest.NewClock(noon).Now, Logger: slog.New(slog.NewTextHandler(&text, nil))})
	log := l.ForLog(testLog)
	raw := encoded(t, logs("a", "k", 10, noon))
	do := func(run uint64, want bool) {
		t.Helper()
		text.Reset()
		if err := log.Apply(deadline(t), run, raw); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(text.String(), "level=ERROR"); got != want {
			t.Errorf("run %d: logged %q, want an error: %v", run, text.String(), want)
		}
	}
	fail := func(run uint64) {
		t.Helper()
		mend := refuseInserts(t, db, "usage_hours", "1 = 1")
		if err := log.Apply(deadline(t), run, raw); err == nil {
			t.Error("applied into a broken table")
		}
		mend()
	}
	do(1, false)
	do(1, true)
	fail(2)
	do(2, false)
	do(2, true)
	fail(3)
	apply(t, l, testLog, 3, true, logs("a", "k", 10, noon)) // the commit that seemed to fail was made
	do(3, false)
	if len(log.doubt) != 0 {
		t.Errorf("%d runs are still in doubt", len(log.doubt))
	}
	if got := sum(all(t, l, Filter{})); got != 30 {
		t.Errorf("ledger holds %d, want 30", got)
	}
}
