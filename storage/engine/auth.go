package engine

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
)

// Secrets are the passwords of the two identities, made anew for each Supervisor. They travel to the child over a pipe,
// never in arguments or the environment, which others on the machine can read.
type Secrets struct {
	Writer, Reader string
}

// NewSecrets makes two secrets of at least 128 random bits each.
func NewSecrets() Secrets { return Secrets{Writer: rand.Text(), Reader: rand.Text()} }

type identity int

const (
	nobody identity = iota
	writer
	reader
)

// authenticate tells who asks: X-ClickHouse-User and -Key, Basic, or the URL parameters user and password, in this order.
//
// SECURITY: it is the first thing done with a request; a request without a secret opens no connection and has no byte of
// its body read. Secrets are compared by their hashes in constant time; an empty secret matches nothing.
func (s Secrets) authenticate(r *http.Request) (identity, error) {
	user, password := r.Header.Get("X-ClickHouse-User"), r.Header.Get("X-ClickHouse-Key")
	if user == "" {
		user, password, _ = r.BasicAuth()
	}
	if user == "" {
		v := r.URL.Query()
		user, password = v.Get("user"), v.Get("password")
	}
	switch {
	case password == "":
		return nobody, exceptionf(codeRequiredPassword, "password required")
	case user == WriterUser && same(password, s.Writer):
		return writer, nil
	case user == ReaderUser && same(password, s.Reader):
		return reader, nil
	}
	return nobody, exceptionf(codeAuthenticationFailed, "authentication failed: password is incorrect, or there is no such user")
}

func same(got, want string) bool {
	g, w := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return want != "" && subtle.ConstantTimeCompare(g[:], w[:]) == 1
}
