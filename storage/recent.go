package storage

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/headgate-io/headgate/internal/tenant"
)

// Fingerprint names the content of one tenant's request. Equal requests have equal ones; that unequal ones do, even if
// somebody wants them to, is as likely as a collision of 128 bits of SHA-256. The zero value is none.
type Fingerprint [16]byte

// FingerprintOf returns the fingerprint of a request: its tenant, its signal and its uncompressed protobuf bytes.
func FingerprintOf(t tenant.ID, signal string, body []byte) (f Fingerprint) {
	h := sha256.New()
	h.Write(binary.AppendUvarint(nil, uint64(len(t.String()))))
	h.Write([]byte(t.String() + signal + "\x00"))
	h.Write(body)
	copy(f[:], h.Sum(nil))
	return f
}

// recent remembers the requests that were acked within a window of time, so that a request whose ack was lost is known when
// it comes again. It is safe for concurrent use.
//
// There are two generations: what is remembered goes into the young one; when that has lasted for the window, or is full,
// the old one is forgotten and the young one becomes it. So a request is remembered for one to two windows, and for less
// only if more than limit requests come within one.
type recent struct {
	window time.Duration
	limit  int // of a generation
	now    func() time.Time

	mu         sync.Mutex // guards the fields below
	young, old map[Fingerprint]int64
	since      time.Time // when young began
	flying     map[Fingerprint]chan struct{}
}

func newRecent(window time.Duration, limit int, now func() time.Time) *recent {
	return &recent{window: window, limit: limit, now: now, young: map[Fingerprint]int64{}, flying: map[Fingerprint]chan struct{}{}, since: now()}
}

// recall looks for f. If it is remembered, known is true and rejected is how many of its records were rejected. Otherwise
// the caller is the one who may make it so, and calls done with whether it was acked; until then others who ask for f wait,
// at most until ctx ends.
func (r *recent) recall(ctx context.Context, f Fingerprint) (rejected int64, known bool, done func(acked bool, rejected int64), err error) {
	for {
		r.mu.Lock()
		r.turnLocked()
		if rejected, known = r.findLocked(f); known {
			r.mu.Unlock()
			return rejected, true, nil, nil
		}
		other, busy := r.flying[f]
		if !busy {
			mine := make(chan struct{})
			r.flying[f] = mine
			r.mu.Unlock()
			return 0, false, func(acked bool, rejected int64) { r.land(f, mine, acked, rejected) }, nil
		}
		r.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return 0, false, nil, fmt.Errorf("wait for an equal request: %w", ctx.Err())
		}
	}
}

func (r *recent) findLocked(f Fingerprint) (int64, bool) {
	if n, ok := r.young[f]; ok {
		return n, true
	}
	n, ok := r.old[f]
	return n, ok
}

func (r *recent) land(f Fingerprint, mine chan struct{}, acked bool, rejected int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if acked {
		r.young[f] = rejected
	}
	delete(r.flying, f)
	close(mine)
}

// turnLocked forgets the old generation if it is time.
func (r *recent) turnLocked() {
	if now := r.now(); len(r.young) >= r.limit || now.Sub(r.since) >= r.window {
		if now.Sub(r.since) >= 2*r.window {
			clear(r.young) // nobody has come for so long that this one is old, too
		}
		r.young, r.old, r.since = map[Fingerprint]int64{}, r.young, now
	}
}

const (
	recentFile    = "recent"
	recentMagic   = "hgrecent1"
	recentRecord  = len(Fingerprint{}) + 8
	recentTrailer = sha256.Size
)

// add remembers a request that an earlier process acked at at.
func (r *recent) add(f Fingerprint, rejected int64, at time.Time) {
	if f == (Fingerprint{}) || r.now().Sub(at) > 2*r.window {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.young) < r.limit {
		r.young[f] = rejected
	}
}

// save writes what is remembered into dir, before the log deletes the segments that know it too: time, fingerprints with
// their numbers of rejected records, and a SHA-256 of all.
func (r *recent) save(dir string) error {
	r.mu.Lock()
	r.turnLocked()
	b := make([]byte, 0, len(recentMagic)+8+(len(r.young)+len(r.old))*recentRecord+recentTrailer)
	b = append(b, recentMagic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.now().Unix()))
	for _, generation := range []map[Fingerprint]int64{r.old, r.young} {
		for f, n := range generation {
			b = binary.LittleEndian.AppendUint64(append(b, f[:]...), uint64(n))
		}
	}
	r.mu.Unlock()
	sum := sha256.Sum256(b)
	return writeDurably(filepath.Join(dir, recentFile), append(b, sum[:]...))
}

var errRecent = errors.New("file of recent requests is damaged")

// load reads what save has written, unless it is too old to matter.
func (r *recent) load(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, recentFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	head := len(recentMagic) + 8
	if len(b) < head+recentTrailer || string(b[:len(recentMagic)]) != recentMagic {
		return errRecent
	}
	b, sum := b[:len(b)-recentTrailer], b[len(b)-recentTrailer:]
	if got := sha256.Sum256(b); string(got[:]) != string(sum) || (len(b)-head)%recentRecord != 0 {
		return errRecent
	}
	saved := time.Unix(int64(binary.LittleEndian.Uint64(b[len(recentMagic):])), 0)
	for b = b[head:]; len(b) > 0; b = b[recentRecord:] {
		r.add(Fingerprint(b[:len(Fingerprint{})]), int64(binary.LittleEndian.Uint64(b[len(Fingerprint{}):])), saved)
	}
	return nil
}
