package auth

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestPasswordHashesAreArgon2idInPHC holds the reference implementation's own example against verify, and ours against its form.
func TestPasswordHashesAreArgon2idInPHC(t *testing.T) {
	h := newHasher()
	const reference = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc" // "password", "somesalt"
	same, stale, err := h.verify(t.Context(), reference, "password")
	if !same || !stale || err != nil {
		t.Errorf("the reference's: same %v, stale %v, %v", same, stale, err)
	}
	stored, err := h.hash(t.Context(), goodPassword)
	if err != nil || !strings.HasPrefix(stored, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("hash %q, %v", stored, err)
	}
	again, err := h.hash(t.Context(), goodPassword)
	if err != nil || again == stored {
		t.Errorf("the same password twice: %q, %v", again, err)
	}
	for password, want := range map[string]bool{goodPassword: true, goodPassword + " ": false, "": false, strings.Repeat("x", 10_000): false} {
		same, stale, err := h.verify(t.Context(), stored, password)
		if same != want || stale || err != nil {
			t.Errorf("%.30q: %v, stale %v, %v", password, same, stale, err)
		}
	}
	if same, _, err := h.verify(t.Context(), "", ""); same || err != nil {
		t.Errorf("without a stored password: %v, %v", same, err)
	}
	for _, bad := range []string{"x", "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5Q", strings.Replace(reference, "m=65536", "m=4294967295", 1),
		strings.Replace(reference, "t=2", "t=99", 1), strings.Replace(reference, "p=1", "p=0", 1), reference[:len(reference)-40]} {
		if same, _, err := h.verify(t.Context(), bad, "password"); same || err == nil {
			t.Errorf("%s: %v, %v", bad, same, err)
		}
	}
}

func TestHashingIsBoundedAndEndsWithItsContext(t *testing.T) {
	h := newHasher()
	for range hashesAtOnce {
		h.turns <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	errs := make(chan error, waitingHashes)
	for range waitingHashes {
		go func() {
			_, err := h.hash(ctx, goodPassword)
			errs <- err
		}()
	}
	for h.waiting.Load() < waitingHashes && ctx.Err() == nil {
		runtime.Gosched()
	}
	_, err := h.hash(ctx, goodPassword)
	wantErr(t, "one more", err, ErrBusy)
	cancel()
	for range waitingHashes {
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("a hash that waited: %v", err)
		}
	}
	if n := h.hashed.Load(); n != 0 {
		t.Errorf("%d hashes beside the bound", n)
	}
}

func TestPasswordsThatNobodyMayChoose(t *testing.T) {
	for password, ok := range map[string]bool{
		"elevenchars": false, "twelve chars": true, strings.Repeat("x", 256): true, strings.Repeat("x", 257): false, "ann.long@example.com": false,
		"ANN.long@example.com": false, "organization": false, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff": false, "пароль на русском": true,
	} {
		if err := checkPassword(password, "ann.long@example.com", "organization"); (err == nil) != ok {
			t.Errorf("%q: %v", password, err)
		}
	}
}
