package storage

import (
	"encoding/hex"
	"errors"
	"reflect"
	"testing"
)

// Entries as this version writes them. A log may hold them when a newer version starts: what changes takes a new kind, and
// these stay readable.
const (
	goldenRequest = "0147000000" + "046c6f6773" + "026163" + "000064a7b3b6e00d" + "03010203" + "00112233445566778899aabbccddeeff" + "05" + "0178" +
		"01" + "096f74656c5f6c6f6773" + "097368617265642d3030" + "0328bc05c801" + "02204e214e"
	goldenRuns = "0201" + "0807060504030201" + "076d657472696373" + "01106f74656c5f6d6574726963735f73756d" + "0380a0808010802080e0ffff0f"
)

var goldenHead = head{
	signal: "logs", tenant: "ac", received: 1_000_000_000_000_000_000, receipt: []byte{1, 2, 3},
	print: Fingerprint{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}, rejected: 5, origin: "x",
	tables: []tableHead{{table: "otel_logs", partition: "shared-00", rows: 3, columns: 40, raw: 700, from: 0, to: 200, days: []uint16{20000, 20001}}},
}

var goldenRun = run{id: 0x0102030405060708, signal: "metrics", tables: []string{"otel_metrics_sum"}, entries: []position{1<<32 | 4096, 1<<32 | 8192, 2<<32 | 4096}}

func TestEntriesAreWrittenAndReadAsEver(t *testing.T) {
	request := goldenHead.appendTo(nil)
	if got := hex.EncodeToString(request); got != goldenRequest {
		t.Errorf("request entry\n%s, was\n%s", got, goldenRequest)
	}
	runs := appendRuns(nil, &goldenRun)
	if got := hex.EncodeToString(runs); got != goldenRuns {
		t.Errorf("runs entry\n%s, was\n%s", got, goldenRuns)
	}
	want := goldenHead
	want.tables = []tableHead{goldenHead.tables[0]}
	want.tables[0].from, want.tables[0].to = len(request), len(request)+200
	if got, err := parseHead(request); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("request reads as %+v, %v", got, err)
	}
	if got, err := parseRuns(runs); err != nil || len(got) != 1 || !reflect.DeepEqual(*got[0], goldenRun) {
		t.Errorf("runs read as %+v, %v", got, err)
	}
}

// What was cut or changed is an error, or other values; it never panics or takes memory for what is not there.
func TestDamagedEntriesAreNotUnderstood(t *testing.T) {
	request, runs := goldenHead.appendTo(nil), appendRuns(nil, &goldenRun)
	for n := range request {
		if _, err := parseHead(request[:n]); !errors.Is(err, errEntry) {
			t.Errorf("request cut at %d: %v", n, err)
		}
	}
	for n := range runs {
		if _, err := parseRuns(runs[:n]); !errors.Is(err, errEntry) {
			t.Errorf("runs cut at %d: %v", n, err)
		}
	}
	for i := range request {
		for bit := range 8 {
			request[i] ^= 1 << bit
			_, _ = parseHead(request)
			request[i] ^= 1 << bit
		}
	}
	for i := range runs {
		for bit := range 8 {
			runs[i] ^= 1 << bit
			_, _ = parseRuns(runs)
			runs[i] ^= 1 << bit
		}
	}
}
