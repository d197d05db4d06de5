// Package tenant holds the types in which auth tells the rest of headgate of tenants: their ids, scopes and limits.
//
// An ID is made by auth alone (a lint step holds this), so a function that takes an ID was reached through
// authentication or the control plane. All types are immutable values and safe for concurrent use.
package tenant

import (
	"fmt"
	"slices"
	"strings"
)

// ID names one tenant: a ULID in text form. The zero value names none and is never valid.
type ID struct{ s string }

const maxIDBytes = 64

// ParseID checks s and makes an ID of it: 1 to 64 characters of [0-9A-Za-z_-].
//
// SECURITY: only auth may call it. The alphabet excludes ',' and ':', which separate tenants where a set of them
// travels as text.
func ParseID(s string) (ID, error) {
	if s == "" || len(s) > maxIDBytes {
		return ID{}, fmt.Errorf("tenant id %q: want 1 to %d characters", s, maxIDBytes)
	}
	for _, c := range s {
		if !strings.ContainsRune("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-", c) {
			return ID{}, fmt.Errorf("tenant id %q: character %q is not one of 0-9 A-Z a-z _ -", s, c)
		}
	}
	return ID{s}, nil
}

// String returns the text form, "" for the zero value.
func (id ID) String() string { return id.s }

// IsZero reports whether id names no tenant.
func (id ID) IsZero() bool { return id.s == "" }

// Scope is the set of tenants a principal may read. The zero value is not a scope: Valid reports false and every
// reader refuses it.
type Scope struct {
	ids   []ID
	payer ID
}

// NewScope makes the scope of the given tenants, sorted and without doubles.
//
// SECURITY: only auth may call it.
func NewScope(ids ...ID) (Scope, error) {
	if len(ids) == 0 {
		return Scope{}, fmt.Errorf("scope: no tenant")
	}
	s := slices.Clone(ids)
	slices.SortFunc(s, func(a, b ID) int { return strings.Compare(a.s, b.s) })
	s = slices.Compact(s)
	if s[0].IsZero() {
		return Scope{}, fmt.Errorf("scope: zero tenant id")
	}
	return Scope{ids: s}, nil
}

// PaidBy returns s with the tenant whose share of the query layer is used by who reads it. It is nothing that one may read.
func (s Scope) PaidBy(id ID) Scope {
	s.payer = id
	return s
}

// Payer returns what PaidBy set, else the first tenant of s. It is the same for every part of a scope that is narrowed, so
// that nobody gets more by asking for parts.
func (s Scope) Payer() ID {
	if s.payer.IsZero() && s.Valid() {
		return s.ids[0]
	}
	return s.payer
}

// Valid reports whether s was made by NewScope.
func (s Scope) Valid() bool { return len(s.ids) > 0 }

// Strings returns the tenants' ids in order. The caller owns the slice.
func (s Scope) Strings() []string {
	out := make([]string, len(s.ids))
	for i, id := range s.ids {
		out[i] = id.s
	}
	return out
}

// Contains reports whether id is in the scope.
func (s Scope) Contains(id ID) bool { return !id.IsZero() && slices.Contains(s.ids, id) }
