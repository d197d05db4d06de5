package metering

import (
	"encoding/json"
	"testing"

	"github.com/cloudevents/sdk-go/v2/event"

	"github.com/headgate-io/headgate/internal/store/storetest"
)

// The batch is read by the SDK of the specification's authors, which knows nothing of headgate.
func TestCloudEventsAreReadByTheirSDK(t *testing.T) {
	_, _, text := exported(t, ExportFilter{Format: FormatCloudEvents})
	var batch []event.Event
	if err := json.Unmarshal([]byte(text), &batch); err != nil {
		t.Fatal(err)
	}
	ids, sum, corrections := map[string]bool{}, int64(0), 0
	for _, e := range batch {
		if err := e.Validate(); err != nil {
			t.Errorf("%s: %v", e.ID(), err)
		}
		var data Entry
		if err := e.DataAs(&data); err != nil {
			t.Errorf("%s: %v", e.ID(), err)
		}
		if ids[e.ID()] || e.SpecVersion() != "1.0" || e.Source() != eventSource || e.Subject() != data.TenantID || !e.Time().Equal(data.Start) {
			t.Errorf("event %v", e)
		}
		if e.Type() == eventCorrection {
			corrections++
		}
		ids[e.ID()] = true
		sum += data.BilledBytes
	}
	if len(batch) != 6 || corrections != 2 || sum != 4<<30+2<<20+17 {
		t.Errorf("%d events, %d corrections, %d bytes", len(batch), corrections, sum)
	}
}

// An entry that is open may come again with other amounts: not as the same event.
func TestOpenEntriesAreOtherEventsWhenTheyChange(t *testing.T) {
	storetest.Each(t, testOpenEntriesAreOtherEventsWhenTheyChange)
}

func testOpenEntriesAreOtherEventsWhenTheyChange(t *testing.T) {
	l := newTestLedger(tempDB(t))
	seen := map[string]bool{}
	for run := range uint64(3) {
		apply(t, l, testLog, run, true, logs("a", "k", 1, noon))
		var batch []event.Event
		if err := json.Unmarshal([]byte(export(t, l, ExportFilter{Tenants: ids("a"), Open: true, Format: FormatCloudEvents})), &batch); err != nil || len(batch) != 1 {
			t.Fatal(len(batch), err)
		}
		if seen[batch[0].ID()] {
			t.Errorf("%s twice", batch[0].ID())
		}
		seen[batch[0].ID()] = true
	}
}
