package auth

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/tenant"
)

// Codes by time (RFC 6238): SHA-1, 6 digits, a new one each 30 seconds, which is what authenticators know.
const (
	totpSecretBytes = 20
	totpPeriod      = 30 // seconds
	totpDigits      = 6

	recoveryCodes = 10
	recoveryChars = 12 // of base32: 60 random bits
)

// Policies of tenants for the second factor, as tenants.second_factor has them.
const (
	FactorDisabled = "disabled" // nobody is asked for one
	FactorOptional = "optional" // who has enrolled is
	FactorAdmins   = "admins"   // who may more than an editor must have one
	FactorRequired = "required" // everybody must
)

var (
	// ErrMustEnrol answers everything but enrolment to who must have a second factor and has none yet.
	ErrMustEnrol = &Error{"second-factor-enrolment", "your organization asks for a second factor: enrol one first"}
	// ErrCodeNeeded is told only to who has given the right password.
	ErrCodeNeeded = &Error{"second-factor-needed", "give the code of your authenticator, or a recovery code"}
	ErrCode       = &Error{"second-factor-wrong", "the code is wrong, or was used before: wait for the next one"}
)

// SMSSender sends codes as text messages. None is built in, so no user can enrol a telephone: it is where a deployment adds one.
type SMSSender interface {
	SendCode(ctx context.Context, telephone, code string) error
}

// mustHaveFactor reports whether a user of these permissions must have a second factor. A policy that this version does not
// know asks for one.
func mustHaveFactor(policy string, may permission.Set) bool {
	switch policy {
	case FactorDisabled, FactorOptional, "":
		return false
	case FactorAdmins:
		editor, _ := permission.OfRole(permission.Editor)
		return !editor.Covers(may)
	}
	return true
}

// hotp is the code of a counter (RFC 4226 §5.3).
func hotp(secret []byte, counter int64) string {
	h := hmac.New(sha1.New, secret)
	var c [8]byte
	binary.BigEndian.PutUint64(c[:], uint64(counter))
	h.Write(c[:])
	sum := h.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&15:]) & 0x7fffffff
	return fmt.Sprintf("%0*d", totpDigits, n%1_000_000)
}

// totpStep returns the step after last that code is of, at a time or one step beside it.
//
// SECURITY: all three are compared in constant time; a code at or before last was seen before, and opens nothing.
func totpStep(secret []byte, code string, at time.Time, last int64) (step int64, ok bool) {
	now := at.Unix() / totpPeriod
	for s := now - 1; s <= now+1; s++ {
		if subtle.ConstantTimeCompare([]byte(hotp(secret, s)), []byte(code)) == 1 && s > last {
			step, ok = s, true
		}
	}
	return step, ok
}

// useCode takes a code of a user's authenticator, or a recovery code, and makes sure that it is not taken again: ErrCode if it
// is neither.
func (d *Directory) useCode(ctx context.Context, tx *store.Tx, u User, code string, at time.Time) error {
	code = strings.ToUpper(strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, code))
	if len(code) == totpDigits {
		var sealed []byte
		var last int64
		err := tx.QueryRowContext(ctx, `SELECT totp, totp_step FROM users WHERE id = ? AND tenant_id = ? AND totp_at IS NOT NULL`,
			u.ID, u.Tenant.String()).Scan(&sealed, &last)
		if err != nil {
			return err
		}
		secret, err := unseal(d.DeriveKey("totp secrets"), u.ID, sealed)
		if err != nil {
			return err
		}
		step, ok := totpStep(secret, code, at, last)
		if !ok {
			return ErrCode
		}
		_, err = tx.ExecContext(ctx, `UPDATE users SET totp_step = ? WHERE id = ? AND tenant_id = ?`, step, u.ID, u.Tenant.String())
		return err
	}
	mac := d.recoveryMAC(u.ID, code)
	n, err := affected(tx.ExecContext(ctx, `UPDATE recovery_codes SET used_at = ? WHERE user_id = ? AND mac = ? AND used_at IS NULL`,
		at.UnixMilli(), u.ID, mac[:]))
	if err == nil && n != 1 {
		return ErrCode
	}
	return err
}

func (d *Directory) recoveryMAC(userID, code string) [sha256.Size]byte {
	return d.mac("recovery code "+userID, code)
}

// Enrolment is what a user's authenticator is set up with, shown once.
type Enrolment struct {
	Secret string // base32
	URI    string // otpauth://, of which a picture is made for the authenticator to read
}

// BeginSecondFactor makes a secret for the user who asks; it counts once ConfirmSecondFactor has seen a code of it. Errors:
// ErrForbidden for who is no user, ErrState if one is enrolled, or the tenant has it disabled.
func (d *Directory) BeginSecondFactor(ctx context.Context, by Principal) (Enrolment, error) {
	var e Enrolment
	err := d.changeOwn(ctx, by, "user.second-factor-begin", func(tx *store.Tx, u *changedUser, rev int64, at time.Time) error {
		if u.SecondFactor {
			return detail(ErrState, "second factor: is enrolled; remove it first")
		}
		if d.factorPolicy(u.Tenant) == FactorDisabled {
			return detail(ErrState, "second factor: your organization does not use one")
		}
		secret := make([]byte, totpSecretBytes)
		rand.Read(secret) // never fails
		e.Secret = base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
		issuer := "headgate " + d.TenantName(u.Tenant)
		e.URI = "otpauth://totp/" + url.PathEscape(issuer+":"+u.Email) + "?" + strings.ReplaceAll(url.Values{"secret": {e.Secret}, "issuer": {issuer},
			"algorithm": {"SHA1"}, "digits": {"6"}, "period": {"30"}}.Encode(), "+", "%20")
		_, err := tx.ExecContext(ctx, `UPDATE users SET totp = ?, totp_at = NULL, rev = ? WHERE id = ? AND tenant_id = ?`,
			seal(d.DeriveKey("totp secrets"), u.ID, secret), rev, u.ID, u.Tenant.String())
		return err
	})
	if err != nil {
		return Enrolment{}, err
	}
	return e, nil
}

// ConfirmSecondFactor enrols the secret of BeginSecondFactor by a code of it, ends the user's other sessions and returns ten
// recovery codes, each of which stands for one code and is shown only now. Errors: ErrForbidden, ErrState, ErrCode.
func (d *Directory) ConfirmSecondFactor(ctx context.Context, by Principal, code string) (recovery []string, err error) {
	err = d.changeOwn(ctx, by, "user.second-factor", func(tx *store.Tx, u *changedUser, rev int64, at time.Time) error {
		var sealed []byte
		err := tx.QueryRowContext(ctx, `SELECT totp FROM users WHERE id = ? AND tenant_id = ?`, u.ID, u.Tenant.String()).Scan(&sealed)
		if err != nil {
			return err
		}
		if u.SecondFactor || len(sealed) == 0 {
			return detail(ErrState, "second factor: begin the enrolment first")
		}
		secret, err := unseal(d.DeriveKey("totp secrets"), u.ID, sealed)
		if err != nil {
			return err
		}
		step, ok := totpStep(secret, strings.ReplaceAll(code, " ", ""), at, 0)
		if !ok {
			return ErrCode
		}
		u.SecondFactor = true
		u.generation++
		_, err = tx.ExecContext(ctx, `UPDATE users SET totp_at = ?, totp_step = ?, generation = ?, changed_at = ?, rev = ? WHERE id = ? AND tenant_id = ?`,
			at.UnixMilli(), step, u.generation, at.UnixMilli(), rev, u.ID, u.Tenant.String())
		if err != nil {
			return err
		}
		if err := keepSession(ctx, tx, by, u.generation, 1, rev); err != nil {
			return err
		}
		recovery, err = d.newRecoveryCodes(ctx, tx, u.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return recovery, nil
}

// newRecoveryCodes replaces a user's recovery codes.
func (d *Directory) newRecoveryCodes(ctx context.Context, tx *store.Tx, userID string) ([]string, error) {
	if _, err := tx.ExecContext(ctx, `DELETE FROM recovery_codes WHERE user_id = ?`, userID); err != nil {
		return nil, err
	}
	codes := make([]string, recoveryCodes)
	for i := range codes {
		text := rand.Text()[:recoveryChars] // base32
		mac := d.recoveryMAC(userID, text)
		if _, err := tx.ExecContext(ctx, `INSERT INTO recovery_codes (user_id, mac) VALUES (?, ?)`, userID, mac[:]); err != nil {
			return nil, err
		}
		codes[i] = text[:4] + "-" + text[4:8] + "-" + text[8:]
	}
	return codes, nil
}

// NewRecoveryCodes replaces the recovery codes of the user who asks, who gives a code of the authenticator. Errors:
// ErrForbidden, ErrState without a second factor, ErrCode, *TooManyError.
func (d *Directory) NewRecoveryCodes(ctx context.Context, by Principal, code string) (recovery []string, err error) {
	err = d.guarded(ctx, by, func() error {
		return d.changeOwn(ctx, by, "user.recovery-codes", func(tx *store.Tx, u *changedUser, _ int64, at time.Time) error {
			if !u.SecondFactor {
				return detail(ErrState, "second factor: none is enrolled")
			}
			if err := d.useCode(ctx, tx, u.User, code, at); err != nil {
				return err
			}
			recovery, err = d.newRecoveryCodes(ctx, tx, u.ID)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return recovery, nil
}

// RemoveSecondFactor removes that of the user who asks, who gives a code of it, and ends the other sessions. Errors:
// ErrForbidden, ErrState where the tenant requires one, ErrCode, *TooManyError.
func (d *Directory) RemoveSecondFactor(ctx context.Context, by Principal, code string) error {
	return d.guarded(ctx, by, func() error {
		return d.changeOwn(ctx, by, "user.second-factor-remove", func(tx *store.Tx, u *changedUser, rev int64, at time.Time) error {
			if !u.SecondFactor {
				return detail(ErrState, "second factor: none is enrolled")
			}
			if d.mustEnrol(u.User) {
				return detail(ErrState, "second factor: your organization requires it")
			}
			if err := d.useCode(ctx, tx, u.User, code, at); err != nil {
				return err
			}
			if err := removeFactor(ctx, tx, u, rev, at); err != nil {
				return err
			}
			return keepSession(ctx, tx, by, u.generation, 0, rev)
		})
	})
}

// removeFactor takes a user's second factor away and ends all sessions.
func removeFactor(ctx context.Context, tx *store.Tx, u *changedUser, rev int64, at time.Time) error {
	u.SecondFactor = false
	u.generation++
	if _, err := tx.ExecContext(ctx, `DELETE FROM recovery_codes WHERE user_id = ?`, u.ID); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE users SET totp = NULL, totp_at = NULL, totp_step = 0, generation = ?, changed_at = ?, rev = ? WHERE id = ? AND tenant_id = ?`,
		u.generation, at.UnixMilli(), rev, u.ID, u.Tenant.String())
	return err
}

// ResetSecondFactor removes another user's second factor, of who has lost it, and ends the user's sessions. Errors as of Set.
func (s *Users) ResetSecondFactor(ctx context.Context, by Principal, id string) (User, error) {
	return s.modify(ctx, by, "user.second-factor-reset", id, func(tx *store.Tx, u *changedUser, rev int64, at time.Time) error {
		// SECURITY: otherwise who has stolen a session of an admin is rid of the second factor that guards it.
		if id == by.User() {
			return detail(ErrForbidden, "second factor: your own you remove with a code of it")
		}
		return removeFactor(ctx, tx, u, rev, at)
	})
}

// factorPolicy is a tenant's, of memory.
func (d *Directory) factorPolicy(t tenant.ID) string {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.people.doors[t].factor
}

// mustEnrol reports whether a user has to have a second factor now.
func (d *Directory) mustEnrol(u User) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return mustHaveFactor(d.people.doors[u.Tenant].factor, d.people.permissionsOf(&u))
}

// seal encrypts with AES-256-GCM; about is what it belongs to, and is needed to open it again.
func seal(key [sha256.Size]byte, about string, plain []byte) []byte {
	g := gcm(key)
	nonce := make([]byte, g.NonceSize(), g.NonceSize()+len(plain)+g.Overhead())
	rand.Read(nonce) // never fails
	return g.Seal(nonce, nonce, plain, []byte(about))
}

// unseal is the inverse of seal, and an error for everything that seal did not make of that key and about.
func unseal(key [sha256.Size]byte, about string, sealed []byte) ([]byte, error) {
	g := gcm(key)
	if len(sealed) < g.NonceSize() {
		return nil, errors.New("sealed text is too short")
	}
	return g.Open(nil, sealed[:g.NonceSize()], sealed[g.NonceSize():], []byte(about))
}

func gcm(key [sha256.Size]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("BUG: AES key: " + err.Error())
	}
	g, err := cipher.NewGCM(block)
	if err != nil {
		panic("BUG: GCM: " + err.Error())
	}
	return g
}
