package metering

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sampleUsage() Usage {
	return Usage{
		Rows: []Row{
			{Start: noon, End: noon.Add(time.Hour), Tenant: "acme", TenantID: "01A", Signal: "logs", Key: "01K", BilledBytes: 10,
				OverageBytes: 2, UnbilledBytes: 3, Records: 4, Requests: 5, RejectedRecords: 6, RefusedBytes: 7, RefusedRequests: 8,
				CorrectionBytes: -9, State: Sealed},
			{Start: noon, End: noon.Add(time.Hour), Tenant: "globex", TenantID: "01B", BilledBytes: 1 << 60, State: Open},
		},
		SealedThrough: noon,
		Next:          "abc",
	}
}

func TestRenderedUsage(t *testing.T) {
	for format, want := range map[Format]string{
		FormatJSON: `{"rows":[{"start":"2025-03-01T12:00:00Z","end":"2025-03-01T13:00:00Z","tenant":"acme","tenant_id":"01A","signal":"logs","key":"01K","billed_bytes":10,"overage_bytes":2,"unbilled_bytes":3,"records":4,"requests":5,"rejected_records":6,"refused_bytes":7,"refused_requests":8,"correction_bytes":-9,"state":"sealed"},{"start":"2025-03-01T12:00:00Z","end":"2025-03-01T13:00:00Z","tenant":"globex","tenant_id":"01B","signal":"","key":"","billed_bytes":1152921504606846976,"overage_bytes":0,"unbilled_bytes":0,"records":0,"requests":0,"rejected_records":0,"refused_bytes":0,"refused_requests":0,"correction_bytes":0,"state":"open"}],"sealed_through":"2025-03-01T12:00:00Z","next":"abc"}
`,
		FormatCSV: `start,end,tenant,tenant_id,signal,key,billed_bytes,overage_bytes,unbilled_bytes,records,requests,rejected_records,refused_bytes,refused_requests,correction_bytes,state
2025-03-01T12:00:00Z,2025-03-01T13:00:00Z,acme,01A,logs,01K,10,2,3,4,5,6,7,8,-9,sealed
2025-03-01T12:00:00Z,2025-03-01T13:00:00Z,globex,01B,,,1152921504606846976,0,0,0,0,0,0,0,0,open
`,
		FormatTable: `START                 END                   TENANT  TENANT_ID  SIGNAL  KEY  BILLED_BYTES         OVERAGE_BYTES  UNBILLED_BYTES  RECORDS  REQUESTS  REJECTED_RECORDS  REFUSED_BYTES  REFUSED_REQUESTS  CORRECTION_BYTES  STATE
2025-03-01T12:00:00Z  2025-03-01T13:00:00Z  acme    01A        logs    01K  10                   2              3               4        5         6                 7              8                 -9                sealed
2025-03-01T12:00:00Z  2025-03-01T13:00:00Z  globex  01B        -       -    1152921504606846976  0              0               0        0         0                 0              0                 0                 open
`,
	} {
		var b bytes.Buffer
		if err := sampleUsage().Write(&b, format); err != nil || b.String() != want {
			t.Errorf("%s:\n%s%v, want\n%s", format, b.String(), err, want)
		}
	}
	if err := sampleUsage().Write(&bytes.Buffer{}, "xml"); !errors.Is(err, ErrFilter) {
		t.Errorf("xml: %v, want ErrFilter", err)
	}
}

func TestColumnsAreTheFieldsOfTheJSON(t *testing.T) {
	typ := reflect.TypeFor[Row]()
	var names []string
	for i := range typ.NumField() {
		names = append(names, typ.Field(i).Tag.Get("json"))
	}
	if !reflect.DeepEqual(names, columnNames) || len(Row{}.fields()) != len(columnNames) {
		t.Errorf("columns %v, JSON %v", columnNames, names)
	}
}

func TestJSONComesBackAsItWas(t *testing.T) {
	var b bytes.Buffer
	if err := sampleUsage().Write(&b, FormatJSON); err != nil {
		t.Fatal(err)
	}
	var got Usage
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || !reflect.DeepEqual(got, sampleUsage()) {
		t.Errorf("%+v, %v", got, err)
	}
}

// failAfter fails once n bytes are written.
type failAfter struct{ n int }

func (w *failAfter) Write(p []byte) (int, error) {
	if w.n -= len(p); w.n < 0 {
		return 0, errors.New("full")
	}
	return len(p), nil
}

func TestRenderTellsWhenItCannotWrite(t *testing.T) {
	for _, format := range []Format{FormatTable, FormatCSV, FormatJSON} {
		if err := sampleUsage().Write(&failAfter{10}, format); err == nil || !strings.Contains(err.Error(), "full") {
			t.Errorf("%s: %v, want full", format, err)
		}
	}
}
