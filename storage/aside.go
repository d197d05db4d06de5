package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// asideDir is where requests are kept that ClickHouse does not take, beside the log's segments.
const asideDir = "rejected"

// Of a request that was set aside, NAME.entry is its entry as the log had it and NAME.json says why; renamed to
// NAME.replay, the entry is put into the log again.
const (
	asideEntry  = ".entry"
	asideReason = ".json"
	asideReplay = ".replay"
)

// aside is a request on its way out of the log.
type aside struct {
	at     position
	entry  []byte
	tables []string // that do not have its rows; nil is all
	reason string
}

// Rejected describes a request that was set aside: acked and metered, but not in ClickHouse. It is the content of
// NAME.json.
type Rejected struct {
	Name    string    `json:"name"`
	Tenant  string    `json:"tenant_id"`
	Signal  string    `json:"signal"`
	Tables  []string  `json:"tables"` // whose rows are missing
	Rows    int       `json:"rows"`
	Bytes   int       `json:"bytes"`
	At      time.Time `json:"received_at"`
	Aside   time.Time `json:"rejected_at"`
	Reason  string    `json:"reason"`
	Waiting bool      `json:"replay"` // its replay was asked for
}

// setAside makes a request durable outside of the log. Doing it again changes nothing.
func (l *Log) setAside(a aside) error {
	r := Rejected{Name: fmt.Sprintf("%016x", uint64(a.at)), Tables: a.tables, Bytes: len(a.entry), Aside: l.opt.Now().UTC(), Reason: a.reason}
	if h, err := parseHead(a.entry); err == nil {
		r.Tenant, r.Signal, r.At = h.tenant, h.signal, time.Unix(0, h.received).UTC()
		for _, t := range h.tables {
			if a.tables == nil {
				r.Tables = append(r.Tables, t.table)
			}
			r.Rows += t.rows
		}
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	dir := filepath.Join(l.opt.Dir, asideDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("set request aside: %w", err)
	}
	// The reason first: an entry is there only with it.
	for _, f := range []struct {
		name string
		data []byte
	}{{r.Name + asideReason, append(text, '\n')}, {r.Name + asideEntry, a.entry}} {
		if err := writeDurably(filepath.Join(dir, f.name), f.data); err != nil {
			return fmt.Errorf("set request aside: %w", err)
		}
	}
	l.metrics.setAside.Inc()
	l.log.Error("a request was set aside: ClickHouse does not take it", "name", r.Name, "tenant_id", r.Tenant, "tables", r.Tables, "rows", r.Rows, "reason", a.reason)
	return nil
}

// writeDurably writes a whole file or none.
func writeDurably(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // without effect after the rename
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ListRejected returns what was set aside in the log directory dir, the oldest first.
func ListRejected(dir string) ([]Rejected, error) {
	files, err := os.ReadDir(filepath.Join(dir, asideDir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list rejected requests: %w", err)
	}
	var out []Rejected
	for _, f := range files {
		name, isEntry := strings.CutSuffix(f.Name(), asideEntry)
		if !isEntry {
			if name, isEntry = strings.CutSuffix(f.Name(), asideReplay); !isEntry {
				continue
			}
		}
		text, err := os.ReadFile(filepath.Join(dir, asideDir, name+asideReason))
		if err != nil {
			return nil, fmt.Errorf("list rejected requests: %w", err)
		}
		r := Rejected{Name: name}
		if err := json.Unmarshal(text, &r); err != nil {
			return nil, fmt.Errorf("list rejected requests: %s: %w", name, err)
		}
		r.Waiting = strings.HasSuffix(f.Name(), asideReplay)
		out = append(out, r)
	}
	return out, nil
}

// Replay asks for a request that was set aside in the log directory dir to be tried again. A running headgate does so
// within seconds, another one when it starts.
func Replay(dir, name string) error {
	if strings.ContainsAny(name, `/\`) {
		return fmt.Errorf("replay %q: not the name of a rejected request", name)
	}
	path := filepath.Join(dir, asideDir, name)
	if err := os.Rename(path+asideEntry, path+asideReplay); err != nil {
		return fmt.Errorf("replay %s: %w", name, err)
	}
	return syncDir(filepath.Dir(path))
}

// replayAll puts the requests whose replay was asked for into the log again, without their receipts, which the ledger has.
func (l *Log) replayAll() error {
	rejected, errs := ListRejected(l.opt.Dir)
	for _, r := range rejected {
		if r.Waiting {
			errs = errors.Join(errs, l.replay(r))
		}
	}
	return errs
}

// replay puts one request into the log again, exactly once: the new entry names the file, the file goes before the entry
// may leave the log, and a start removes the files that entries name.
func (l *Log) replay(r Rejected) error {
	again, ok := l.replayed[r.Name]
	if !ok {
		old, err := os.ReadFile(filepath.Join(l.opt.Dir, asideDir, r.Name+asideReplay))
		if err != nil {
			return fmt.Errorf("replay %s: %w", r.Name, err)
		}
		if again, err = l.appendAgain(old, r); err != nil {
			return fmt.Errorf("replay %s: %w", r.Name, err)
		}
		l.replayed[r.Name] = again
	}
	if err := l.removeReplayed(r.Name); err != nil {
		return fmt.Errorf("replay %s: %w", r.Name, err)
	}
	delete(l.replayed, r.Name)
	l.show(again)
	l.log.Info("a rejected request is tried again", "name", r.Name)
	return nil
}

// appendAgain puts what is missing of a rejected request into the log, without its receipt, which the ledger has.
func (l *Log) appendAgain(old []byte, r Rejected) (entry, error) {
	h, err := parseHead(old)
	if err != nil {
		return entry{}, err
	}
	h.receipt, h.origin = nil, r.Name
	h.tables = slices.DeleteFunc(h.tables, func(t tableHead) bool { return !slices.Contains(r.Tables, t.table) })
	parts := make([][]byte, 1, 1+len(h.tables))
	for _, t := range h.tables {
		b, err := t.block(old)
		if err != nil {
			return entry{}, err
		}
		parts = append(parts, b.Data)
	}
	return l.append(h, parts)
}

// removeReplayed removes the files of a rejected request. That they are gone already is no error.
func (l *Log) removeReplayed(name string) error {
	dir := filepath.Join(l.opt.Dir, asideDir)
	for _, suffix := range []string{asideReplay, asideReason} {
		if err := os.Remove(filepath.Join(dir, name+suffix)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return syncDir(dir)
}
