package auth

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"

	"github.com/headgate-io/headgate/internal/store"
)

// The audit of each tenant is a chain, and so is that of what belongs to no tenant: entry n holds a hash over itself and the hash
// of entry n-1, and the table audit_heads holds the last. What was written before there were chains is folded into one hash,
// which the first link follows.
//
// SECURITY: a chain shows what was changed by somebody who could not write all of it and its head again. Against who can do that
// stands an Anchor: a head that was noted elsewhere.

// chainVersion begins what is hashed, so that another encoding can never mean the same bytes.
const chainVersion = "headgate audit entry 1"

// Digest is a hash of the chain.
type Digest [sha256.Size]byte

// chainLink is the end of a chain.
type chainLink struct {
	seq  int64
	hash Digest
}

// next returns the hash of e, as it is stored, behind prev. Every field stands behind its length, so no two entries are encoded
// alike. The id is left out: the database gives it; that ids ascend with seq is verified instead.
func (prev Digest) next(e *Entry) (out Digest) {
	h := sha256.New()
	var n [8]byte
	number := func(v int64) {
		binary.BigEndian.PutUint64(n[:], uint64(v))
		h.Write(n[:])
	}
	text := func(s string) {
		number(int64(len(s)))
		h.Write([]byte(s))
	}
	text(chainVersion)
	h.Write(prev[:])
	number(e.Seq)
	number(e.At.UnixMilli())
	for _, s := range []string{e.Tenant.String(), e.Actor, e.Acting.String(), e.Address, e.Action, e.Target, e.Outcome, string(e.Detail)} {
		text(s)
	}
	h.Sum(out[:0])
	return out
}

// chainEnd returns the end of a tenant's chain; where there is none yet, what was written before folded into one hash.
func chainEnd(ctx context.Context, tx *store.Tx, tenantID string) (end chainLink, err error) {
	end, found, err := chainHead(ctx, tx, tenantID)
	if err != nil || found {
		return end, err
	}
	err = eachEntry(ctx, tx, `tenant_id = ? AND hash IS NULL ORDER BY id`, []any{tenantID}, func(e *Entry) error {
		end.hash = end.hash.next(e)
		return nil
	})
	return end, err
}

func chainHead(ctx context.Context, tx *store.Tx, tenantID string) (head chainLink, found bool, err error) {
	var hash []byte
	err = tx.QueryRowContext(ctx, `SELECT seq, hash FROM audit_heads WHERE tenant_id = ?`, tenantID).Scan(&head.seq, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		return chainLink{}, false, nil
	}
	copy(head.hash[:], hash)
	return head, err == nil, err
}

// appendEntry puts e at the end of its tenant's chain. Transactions that write run one after another, so no two entries follow
// the same one.
func appendEntry(ctx context.Context, tx *store.Tx, e *Entry) error {
	owner := e.Tenant.String()
	end, err := chainEnd(ctx, tx, owner)
	if err != nil {
		return err
	}
	e.Seq = end.seq + 1
	e.Hash = end.hash.next(e)
	_, err = tx.ExecContext(ctx, `INSERT INTO audit (at, actor, tenant_id, acting, address, action, target, outcome, detail, seq, hash)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, e.At.UnixMilli(), e.Actor, owner, e.Acting.String(), e.Address, e.Action, e.Target, e.Outcome,
		string(e.Detail), e.Seq, e.Hash[:])
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO audit_heads (tenant_id, seq, hash) VALUES (?, ?, ?)
		ON CONFLICT (tenant_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash`, owner, e.Seq, e.Hash[:])
	return err
}
