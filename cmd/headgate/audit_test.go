package main

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnAuditExportIsWholeOrNotThere: what was cut off is no file that somebody might take for the audit, and is not in the way of
// the next try; what is there is not written over.
func TestAnAuditExportIsWholeOrNotThere(t *testing.T) {
	cut := true
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("{\"seq\":1}\n"))
		if cut {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write([]byte("{\"seq\":2}\n"))
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "audit.ndjson")
	export := func() error {
		var out, errText bytes.Buffer
		return run(t.Context(), []string{"audit", "export", "--out", file, "--api-url", srv.URL, "--token", "t"}, strings.NewReader(""), &out, &errText)
	}
	if err := export(); err == nil {
		t.Error("an export that was cut off is none")
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it left a file: %v", err)
	}
	cut = false
	if err := export(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(file); string(got) != "{\"seq\":1}\n{\"seq\":2}\n" || err != nil {
		t.Errorf("the file holds %q, %v", got, err)
	}
	if err := export(); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("over a file: %v", err)
	}
}
