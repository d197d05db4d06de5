package query

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"strings"
	"time"

	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
)

// cursorLife is how long after its first page a query can be read on.
const cursorLife = 24 * time.Hour

// cursors makes and reads the text that stands for a place in the rows of a query.
//
// SECURITY: a cursor holds nothing that its caller did not get: times, and a hash of a row. It carries a MAC over itself
// and the scope, so that the place cannot be made up, and one given to another scope is as good as none.
type cursors struct{ key [sha256.Size]byte }

// newCursors uses key, or a random one if it is zero: then cursors end with the process and hold on no other.
func newCursors(key [sha256.Size]byte) cursors {
	if key == [sha256.Size]byte{} {
		_, _ = rand.Read(key[:]) // never fails
	}
	return cursors{key}
}

// cursor is where a query is to be read on.
type cursor struct {
	now   time.Time // of the first page: relative times mean the same on all pages
	query [16]byte  // fingerprint of the query and its range
	place
}

const (
	cursorVersion = 1
	cursorBytes   = 1 + 8 + 16 + 8 + 16 + 4 + 4
	cursorMAC     = 16
)

func (c cursors) text(in cursor, scope tenant.Scope) string {
	b := append(make([]byte, 0, cursorBytes+cursorMAC), cursorVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(in.now.UnixNano()))
	b = append(b, in.query[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(in.at))
	b = append(b, in.sum[:]...)
	b = binary.BigEndian.AppendUint32(b, in.same)
	b = binary.BigEndian.AppendUint32(b, in.skip)
	return base64.RawURLEncoding.EncodeToString(append(b, c.mac(b, scope)...))
}

// read is the reverse of text. Its errors are *httpapi.Error.
func (c cursors) read(text string, scope tenant.Scope, now time.Time) (out cursor, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	// Decoding passes over the ends of lines: a cursor has one spelling.
	if err != nil || strings.ContainsAny(text, "\r\n") || len(b) != cursorBytes+cursorMAC || b[0] != cursorVersion || !hmac.Equal(b[cursorBytes:], c.mac(b[:cursorBytes], scope)) {
		return out, cursorRefused("it was altered, or was not given to you: ask for the first page again")
	}
	out.now = time.Unix(0, int64(binary.BigEndian.Uint64(b[1:]))).UTC()
	copy(out.query[:], b[9:])
	out.at = int64(binary.BigEndian.Uint64(b[25:]))
	copy(out.sum[:], b[33:])
	out.same, out.skip = binary.BigEndian.Uint32(b[49:]), binary.BigEndian.Uint32(b[53:])
	if age := now.Sub(out.now); age > cursorLife {
		return out, cursorRefused("it expired: ask for the first page again")
	}
	return out, nil
}

func (c cursors) mac(b []byte, scope tenant.Scope) []byte {
	h := hmac.New(sha256.New, c.key[:])
	h.Write(b)
	for _, id := range scope.Strings() {
		h.Write([]byte(id + ",")) // ids have no comma
	}
	return h.Sum(nil)[:cursorMAC]
}

func cursorRefused(why string) error {
	return httpapi.Errorf(http.StatusBadRequest, CodeCursor, "the cursor does not hold: %s", why)
}
