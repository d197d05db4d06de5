package auth

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// What can be wrong with a chain.
const (
	ChainChanged   = "changed"   // the entry, or the one before it, is not what was written
	ChainRemoved   = "removed"   // entries are missing
	ChainReordered = "reordered" // the entry stands after later ones
	ChainInserted  = "inserted"  // the entry was never written by headgate
	ChainTruncated = "truncated" // the last entries are missing
	ChainHead      = "head"      // the head is missing or another
	ChainAnchor    = "anchor"    // the chain is not the one that the anchor was taken of
)

const (
	maxFindings = 20     // of one chain are told; more are counted
	verifyBatch = 10_000 // entries are read in one transaction
)

// Finding is one thing that is wrong with a chain. ID and Seq name the entry, 0 where there is none.
type Finding struct {
	Kind string
	ID   int64
	Seq  int64
	Text string
}

// Chain is what the verification of one tenant's audit found.
type Chain struct {
	Tenant    tenant.ID // zero: what belongs to no tenant
	Entries   int64     // that were read
	Unchained int64     // of them, from before there were chains; they are held by the first link, if there is one
	Seq       int64     // of the last entry
	Hash      Digest    // of the last entry: with Seq an anchor, to be kept elsewhere
	Findings  []Finding // none: the chain is whole
	More      int64     // findings beyond those
}

// Anchor is the end of a chain at some time, kept elsewhere: a chain that was written again as a whole does not pass it.
type Anchor struct {
	Seq  int64
	Hash Digest
}

// ParseAnchor reads SEQ:HASH as Anchor.String writes it.
func ParseAnchor(s string) (a Anchor, err error) {
	seq, hash, ok := strings.Cut(s, ":")
	raw, hexErr := hex.DecodeString(hash)
	a.Seq, err = strconv.ParseInt(seq, 10, 64)
	if !ok || err != nil || hexErr != nil || a.Seq < 1 || copy(a.Hash[:], raw) != len(a.Hash) || len(raw) != len(a.Hash) {
		return Anchor{}, detail(ErrInvalid, "anchor %q: want SEQ:HASH as a verification has printed it", clip(s))
	}
	return a, nil
}

func (a Anchor) String() string { return fmt.Sprintf("%d:%x", a.Seq, a.Hash) }

// VerifyAudit reads the audit of a tenant (name or id), or with "" all that the caller may read, and proves the chains. An anchor
// needs a tenant. That it was asked for, and what was found, is audited. Errors: ErrNotFound, ErrForbidden, ErrInvalid.
func (d *Directory) VerifyAudit(ctx context.Context, by Principal, ref string, anchor *Anchor) (chains []Chain, err error) {
	if anchor != nil && ref == "" {
		return nil, detail(ErrInvalid, "an anchor needs the tenant that it was taken of")
	}
	at := d.now().UTC().Truncate(time.Millisecond)
	var ids []tenant.ID
	if err := d.db.View(ctx, func(tx *store.Tx) error {
		ids, err = chainsOf(ctx, tx, by, ref)
		return err
	}); err != nil {
		return nil, d.auditRefusal(ctx, by, "audit.verify", ref, at, err)
	}
	var entries, wrong int64
	for _, id := range ids {
		c, err := d.verifyChain(ctx, id, anchor)
		if err != nil {
			return nil, err
		}
		chains = append(chains, c)
		entries, wrong = entries+c.Entries, wrong+int64(len(c.Findings))+c.More
	}
	return chains, d.db.Update(ctx, func(tx *store.Tx) error {
		e := by.entry(at, "audit.verify")
		e.Tenant = by.Tenant()
		if ref != "" {
			e.Tenant, e.Target = ids[0], ids[0].String()
		}
		e.Detail = changeDetail("found", nil, map[string]any{"chains": len(chains), "entries": entries, "wrong": wrong})
		if _, err := atHomeToo(ctx, tx, by, at, e.Action, by.Home(), e); err != nil {
			return err
		}
		return writeEntry(ctx, tx, e)
	})
}

// chainsOf returns whose chains are meant: those of every tenant there ever was for the operator, who alone reads what belongs to
// none (the zero id).
func chainsOf(ctx context.Context, tx *store.Tx, by Principal, ref string) (ids []tenant.ID, err error) {
	if err := by.Require(ScopeAdmin); err != nil {
		return nil, err
	}
	if ref != "" {
		t, err := permitted(ctx, tx, by, permission.AuditRead, ref)
		return []tenant.ID{t.ID}, err
	}
	ids, all, err := by.Within(permission.AuditRead)
	if err != nil || !all {
		return ids, err
	}
	// SECURITY: of all tenants, for the operator.
	rows, err := tx.QueryContext(ctx, `SELECT id FROM tenants UNION SELECT tenant_id FROM audit_heads UNION SELECT tenant_id FROM audit ORDER BY 1`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		var id tenant.ID
		if text != "" {
			if id, err = tenant.ParseID(text); err != nil {
				return nil, err
			}
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// verifyChain reads a chain from its beginning to where it ends when the reading begins.
func (d *Directory) verifyChain(ctx context.Context, id tenant.ID, anchor *Anchor) (Chain, error) {
	v := verifier{c: Chain{Tenant: id}, anchor: anchor}
	var head chainLink
	var headed bool
	var last int64
	err := d.db.View(ctx, func(tx *store.Tx) (err error) {
		if head, headed, err = chainHead(ctx, tx, id.String()); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT CAST(COALESCE(MAX(id), 0) AS BIGINT) FROM audit WHERE tenant_id = ?`, id.String()).Scan(&last)
	})
	for from := int64(math.MinInt64); err == nil && from < last; {
		err = d.db.View(ctx, func(tx *store.Tx) error {
			n, at := 0, from
			err := eachEntry(ctx, tx, `tenant_id = ? AND id > ? AND id <= ? ORDER BY id LIMIT ?`, []any{id.String(), from, last, verifyBatch},
				func(e *Entry) error { n, at = n+1, e.ID; v.entry(e); return nil })
			if from = at; n < verifyBatch {
				from = last
			}
			return err
		})
	}
	if err != nil {
		return Chain{}, fmt.Errorf("read the audit of %s: %w", id, err)
	}
	v.end(head, headed)
	return v.c, nil
}

// verifier holds how far one chain is proven.
type verifier struct {
	c        Chain
	anchor   *Anchor
	prev     Digest // of the entry before, as it is stored: so that one that was changed is told, and not all after it
	gaps     []gap
	anchored bool
}

// gap is a run of entries that were not where they belong. They may stand elsewhere.
type gap struct{ from, to, id, missing int64 }

func (v *verifier) found(kind string, id, seq int64, format string, args ...any) {
	if len(v.c.Findings) == maxFindings {
		v.c.More++
		return
	}
	v.c.Findings = append(v.c.Findings, Finding{kind, id, seq, fmt.Sprintf(format, args...)})
}

func (v *verifier) entry(e *Entry) {
	v.c.Entries++
	if e.Hash == (Digest{}) {
		v.c.Unchained++
		if v.c.Seq > 0 || e.Seq != 0 {
			v.found(ChainInserted, e.ID, e.Seq, "entry with id %d has no link to the one before", e.ID)
			return
		}
		v.prev = v.prev.next(e)
		return
	}
	want := v.c.Seq + 1
	if e.Seq < want {
		if v.fills(e.Seq) {
			v.found(ChainReordered, e.ID, e.Seq, "entry %d stands after entry %d", e.Seq, v.c.Seq)
		} else {
			v.found(ChainInserted, e.ID, e.Seq, "entry with id %d is a second entry %d", e.ID, e.Seq)
		}
		return
	}
	proven := true
	if e.Seq > want {
		v.gaps = append(v.gaps, gap{want, e.Seq - 1, e.ID, e.Seq - want})
		proven = false // what it follows is gone, and with it the proof
	}
	if hash := v.prev.next(e); proven && hash != e.Hash {
		v.found(ChainChanged, e.ID, e.Seq, "entry %d is not what was written%s", e.Seq, before(v.c, e))
	}
	if v.anchor != nil && v.anchor.Seq == e.Seq {
		v.anchored = v.anchor.Hash == e.Hash
	}
	v.c.Seq, v.c.Hash, v.prev = e.Seq, e.Hash, e.Hash
}

// before says what else the first link may mean.
func before(c Chain, e *Entry) string {
	if e.Seq == 1 && c.Unchained > 0 {
		return ", or something before the chain began is not"
	}
	return ""
}

// fills reports whether the entry was missing until now.
func (v *verifier) fills(seq int64) bool {
	for i := range v.gaps {
		if g := &v.gaps[i]; g.from <= seq && seq <= g.to && g.missing > 0 {
			g.missing--
			return true
		}
	}
	return false
}

func (v *verifier) end(head chainLink, headed bool) {
	for _, g := range v.gaps {
		if g.missing > 0 {
			v.found(ChainRemoved, g.id, g.from, "of the entries %d to %d, %d are missing", g.from, g.to, g.missing)
		}
	}
	switch {
	case !headed && v.c.Seq == 0 && v.c.Unchained > 0: // nothing happened since there are chains
	case !headed && v.c.Tenant.IsZero() && v.c.Entries == 0: // nothing happened that belongs to no tenant
	case !headed:
		v.found(ChainHead, 0, v.c.Seq, "the end of the chain is not known: its head is missing")
	case head.seq > v.c.Seq:
		v.found(ChainTruncated, 0, v.c.Seq+1, "the last %d entries are missing: %d to %d", head.seq-v.c.Seq, v.c.Seq+1, head.seq)
	case head.seq < v.c.Seq || head.hash != v.c.Hash:
		v.found(ChainHead, 0, v.c.Seq, "the chain ends with entry %d, its head says another end, at %d", v.c.Seq, head.seq)
	}
	if v.anchor != nil && !v.anchored {
		v.found(ChainAnchor, 0, v.anchor.Seq, "entry %d is not the one that the anchor was taken of", v.anchor.Seq)
	}
}
