package storage

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/faultfs"
	"github.com/headgate-io/headgate/internal/timetest"
)

// A request that could not be made durable is answered so, and does not turn up.
func TestFailedAppendLeavesNothing(t *testing.T) {
	var failing atomic.Bool
	r := newRig(t, LogOptions{FS: faultfs.Hooked{FS: faultfs.OS{}, BeforeSync: func() error {
		if failing.Load() {
			return syscall.EIO
		}
		return nil
	}}})
	r.open()
	r.run()
	r.mustAppend("a", 1)
	failing.Store(true)
	for range 3 {
		if err := r.append("bad", 5); !errors.Is(err, ErrUnavailable) {
			t.Errorf("append on a failing disk = %v, want ErrUnavailable", err)
		}
	}
	failing.Store(false)
	timetest.Eventually(t, "the disk to be used again", func() bool { return r.append("a", 1) == nil })
	r.settled()
	r.restart()
	r.settled()
	r.wantRows("a", 2)
	r.wantRows("bad", 0)
	r.wantReceipts(2)
}

func TestOutageFillsTheLogThenRefuses(t *testing.T) {
	r := newRig(t, LogOptions{MaxBytes: 4 << 20, SegmentBytes: 1 << 20})
	r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Refuse })
	r.open()
	r.run()
	rows := map[string]int{}
	var err error
	for i := 0; err == nil; i++ {
		tenant := []string{"a", "b", "c"}[i%3]
		if err = r.appendBulk(tenant, 500); err == nil {
			rows[tenant] += 500
		}
	}
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("append to a full log = %v, want ErrUnavailable", err)
	}
	r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Pass })
	r.settled()
	timetest.Eventually(t, "room", func() bool { return r.append("a", 1) == nil })
	r.settled()
	rows["a"]++
	for tenant, n := range rows {
		r.wantRows(tenant, n)
	}
	r.wantReceipts(r.sent)
	if n := r.log.wal.Stats().Segments; n > 2 {
		t.Errorf("%d segments are left of a settled log", n)
	}
}

// One tenant's flood during an outage leaves the others room, and their turn when it is over.
func TestFloodLeavesOthersRoom(t *testing.T) {
	r := newRig(t, LogOptions{MaxBytes: 16 << 20, SegmentBytes: 1 << 20, MaxRows: 4000})
	r.proxy.Choose(func(*http.Request) chtest.Fault { return chtest.Refuse })
	r.open()
	r.run()
	for r.appendBulk("flood", 500) == nil {
	}
	r.mustAppend("small", 10)
	var order []string
	var mu sync.Mutex
	r.proxy.Choose(func(q *http.Request) chtest.Fault {
		if chtest.IsInsert(q) {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, fmt.Sprint(scan[uint64](t, r.conn, "SELECT count() FROM otel_logs WHERE TenantId = 'small'")))
		}
		return chtest.Pass
	})
	r.settled()
	r.wantRows("small", 10)
	mu.Lock()
	defer mu.Unlock()
	if i := indexOf(order, "10"); len(order) > 6 && (i < 0 || i > 4) {
		t.Errorf("rows of the small tenant were there after insert %d of %d, want among the first", i, len(order))
	}
}

func indexOf(s []string, v string) int {
	for i, x := range s {
		if x == v {
			return i
		}
	}
	return -1
}

// What the disk has damaged is lost, and no longer counts toward what its tenant may have in the log.
func TestDamagedRequestsGiveTheirRoomBack(t *testing.T) {
	r := newRig(t, LogOptions{})
	r.open()
	r.mustAppend("damaged", 5)
	r.mustAppend("whole", 3)
	files, err := filepath.Glob(filepath.Join(r.dir, "*.wal"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(files[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte("D"), int64(bytes.Index(b, []byte("damaged"))))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	r.run()
	r.settled()
	r.wantRows("whole", 3)
	r.wantRows("damaged", 0)
	if n := r.count("headgate_storage_damaged_requests_total"); n != 1 {
		t.Errorf("%v damaged requests are counted", n)
	}
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	for name, b := range r.log.lanes["logs"].backlog.tenants {
		t.Errorf("%d bytes of tenant %s are still counted", b.bytes, name)
	}
}
