package storage

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// UnsafeAside calls each with every request that was set aside and whose rows are therefore not in ClickHouse, or not all:
// acked and metered all the same. receipt is the request's if none of its rows is there; else it is nil, and records are the
// rows that are missing, -1 if that is not known. A replay that is in the log is not told: Log.Oldest tells of its hour.
//
// SECURITY: it crosses tenants; only for operators.
func (c Counter) UnsafeAside(_ context.Context, each func(signal, tenantID string, received int64, receipt []byte, records int64) error) error {
	if c.Log == nil {
		return nil
	}
	rejected, err := ListRejected(c.Log.opt.Dir)
	if err != nil {
		return err
	}
	for _, r := range rejected {
		if r.Tenant == "" {
			continue // not understood: nobody knows what it is, and the hour's difference shows it
		}
		h, err := readAside(filepath.Join(c.Log.opt.Dir, asideDir, r.Name))
		if os.IsNotExist(err) {
			continue // replayed meanwhile
		}
		if err != nil {
			return fmt.Errorf("read rejected request %s: %w", r.Name, err)
		}
		whole, records := true, int64(0)
		for _, t := range h.tables {
			if slices.Contains(r.Tables, t.table) {
				records += int64(t.rows)
			} else {
				whole = false
			}
		}
		receipt := h.receipt
		if !whole {
			receipt = nil
		}
		if len(receipt) == 0 && h.signal == "profiles" {
			records = -1 // its rows are samples
		}
		if err := each(h.signal, h.tenant, h.received, receipt, records); err != nil {
			return err
		}
	}
	return nil
}

// readAside reads the head of a request that was set aside under the name of path.
func readAside(path string) (head, error) {
	f, err := os.Open(path + asideEntry)
	if os.IsNotExist(err) {
		f, err = os.Open(path + asideReplay)
	}
	if err != nil {
		return head{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return head{}, err
	}
	prefix := make([]byte, headPrefix)
	if _, err := io.ReadFull(f, prefix); err != nil {
		return head{}, err
	}
	n, err := headBytes(prefix)
	if err != nil {
		return head{}, err
	}
	if int64(n) > info.Size() {
		return head{}, errEntry
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil {
		return head{}, err
	}
	return parseHead(b)
}
