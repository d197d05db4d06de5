package policy

import (
	"os"
	"path/filepath"
	"testing"
)

// TestFilesOfSecretsArePrivate: of a file that is root's, a user's own group may read; nothing else but the owner ever.
func TestFilesOfSecretsArePrivate(t *testing.T) {
	const root, user = 0, 65532
	if os.Geteuid() != root {
		t.Skip("only root can make files of root")
	}
	for _, c := range []struct {
		name           string
		mode           os.FileMode
		owner, process int
		want           bool
	}{
		{"its owner's", 0o600, user, user, true},
		{"its group's", 0o640, user, user, false},
		{"root's, for root", 0o600, root, root, true},
		{"root's and its group's, for root", 0o440, root, root, false},
		{"root's and its group's, for a user", 0o440, root, user, true},
		{"root's, its group may write", 0o460, root, user, false},
		{"root's, everybody may read", 0o444, root, user, false},
		{"another user's", 0o440, user + 1, user, false},
	} {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, c.owner, -1); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := private(info, c.process); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
