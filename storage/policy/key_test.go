package policy_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/storage/policy"
)

func TestCapabilityIsTheMACOfItsTenants(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	secret := strings.Repeat("0f", 32)
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k, err := policy.ReadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := hex.DecodeString(secret)
	mac := hmac.New(sha256.New, raw)
	mac.Write([]byte("a,b"))
	if got, want := k.Tenants(chtest.Scope(t, "b", "a", "b")), hex.EncodeToString(mac.Sum(nil))+":a,b"; got != want {
		t.Errorf("capability %q, want %q", got, want)
	}
}

func TestNothingIsSignedWithoutKeyOrScope(t *testing.T) {
	k := policy.NewKey()
	if c := k.Tenants(tenant.Scope{}); c != "" {
		t.Errorf("zero scope: %q", c)
	}
	var none policy.Key
	if c := none.Tenants(chtest.Scope(t, "a")) + none.Internal(); c != "" {
		t.Errorf("zero key: %q", c)
	}
	if policy.NewKey().Internal() == k.Internal() {
		t.Error("two keys sign alike")
	}
}

func TestKeyFileIsTheOwnersAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	made, err := policy.OpenKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	read, err := policy.OpenKey(path)
	if err != nil || read.Internal() != made.Internal() {
		t.Errorf("the key that was read signs otherwise than the one that was made (%v)", err)
	}
	if _, err := policy.CreateKey(path); err == nil {
		t.Error("a key that is there was made anew")
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := policy.ReadKey(path); err == nil {
		t.Error("a key that the group can read was taken")
	}
	for _, text := range []string{"", "00", strings.Repeat("g", 64), strings.Repeat("0", 66)} {
		bad := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := policy.ReadKey(bad); err == nil {
			t.Errorf("key %q was taken", text)
		}
	}
}
