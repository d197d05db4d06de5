package auth

import (
	"errors"
	"fmt"
)

// Error is a failure that may be shown to whoever asked: its text names no other tenant and never repeats a credential.
// Code is stable; two errors with the same Code are the same to errors.Is.
type Error struct {
	Code string
	Text string
}

// Error returns the text followed by the code in brackets.
func (e *Error) Error() string { return e.Text + " (" + e.Code + ")" }

// Is reports whether target is an *Error of the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// What a credential can be refused for. None but ErrKeysUnavailable is ever caused by an outage.
var (
	ErrNoCredential = &Error{"credential-missing",
		`no credential: send the API key as "authorization: Bearer KEY" or "x-api-key: KEY"`}
	ErrAmbiguousCredential = &Error{"credential-ambiguous",
		"two different credentials in one request: send one"}
	// ErrUnknownKey also answers keys that are misspelt or revoked, so that it tells nothing about which ids exist.
	ErrUnknownKey = &Error{"key-unknown",
		"the API key is not valid here: check that it is complete and was not revoked, or ask your administrator for a new one"}
	// ErrKeysUnavailable answers a key that may have been made elsewhere since the database went away.
	ErrKeysUnavailable = &Error{"keys-unavailable",
		"the API key cannot be looked up at the moment: try again"}
	ErrExpired = &Error{"key-expired",
		"the API key has expired: ask your administrator for a new one"}
	ErrTenantInactive = &Error{"tenant-inactive",
		"the organization of this API key is disabled: ask your administrator to enable it"}
	ErrScope = &Error{"key-scope",
		"the API key lacks the scope for this: use a key that was created with it"}
	ErrOrigin = &Error{"key-origin",
		"the API key is not for pages of this origin: use a key that was created with it"}
	// ErrCertificate answers a key without the client certificate that it is bound to.
	ErrCertificate = &Error{"key-certificate",
		"the API key is bound to a client certificate that this connection does not show: use it where it was made for"}
)

// What a change or a look at the control plane can be refused for.
var (
	ErrForbidden = &Error{"forbidden", "not permitted for this credential"}
	// ErrNotFound also answers what exists but is out of the caller's reach.
	ErrNotFound  = &Error{"not-found", "no such thing"}
	ErrInvalid   = &Error{"invalid-argument", "invalid argument"}
	ErrNameTaken = &Error{"name-taken", "the name is taken"}
	ErrSlugTaken = &Error{"slug-taken", "the slug is taken"}
	// ErrLimitKeys also answers where a tenant above has as many keys below it as it may have.
	ErrLimitKeys = &Error{"limit-keys", "the organization has as many API keys as it may have: revoke one first"}
	ErrRegion    = &Error{"region-mismatch", "the tenant is not for this deployment's region"}
	// ErrState says that the thing is not in the state that the change needs.
	ErrState = &Error{"wrong-state", "not possible in this state"}
)

const fromReplica = "or copy " + PepperFile + " and " + OperatorFile + " from the secrets directory of another replica"

// What keeps a directory from opening. The operator has to act.
var (
	ErrPepperMissing = errors.New("the pepper file is missing but API keys are made with it: restore it from a backup, " + fromReplica)
	ErrPepperChanged = errors.New("the pepper file is not the one the API keys are made with: restore it from a backup, " + fromReplica)
)

// detail returns an error of base's code with a text of its own.
func detail(base *Error, format string, args ...any) error {
	return &Error{Code: base.Code, Text: fmt.Sprintf(format, args...)}
}
