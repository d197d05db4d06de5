package auth

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/auth/permission"
	"github.com/headgate-io/headgate/internal/store"
	"github.com/headgate-io/headgate/internal/store/storetest"
	"github.com/headgate-io/headgate/internal/tlsfiles/tlstest"
)

// TestMessagesAreSentOnceTriedAgainAndGivenUp: by one process at a time, until the token is worth nothing.
func TestMessagesAreSentOnceTriedAgainAndGivenUp(t *testing.T) {
	storetest.Each(t, func(t *testing.T) {
		w := newTown(t)
		w.tenant(NewTenant{Name: "acme"})
		invite := func(email string) {
			t.Helper()
			_, err := w.Users().Invite(t.Context(), w.op, NewUser{Tenant: "acme", Email: email, Role: permission.Viewer})
			wantErr(t, "invite", err, nil)
		}
		invite("bob@example.com")
		var body []byte
		err := w.db.View(t.Context(), func(tx *store.Tx) error {
			return tx.QueryRowContext(t.Context(), `SELECT body FROM outbox`).Scan(&body)
		})
		if wantErr(t, "read", err, nil); len(body) == 0 || bytes.Contains(body, []byte("hgi_")) || bytes.Contains(body, []byte("bob")) {
			t.Error("a waiting message can be read in the database")
		}
		step := func(want bool) {
			t.Helper()
			found, err := w.box.step(t.Context())
			if err != nil || found != want {
				t.Fatalf("step: %v, %v, want %v", found, err, want)
			}
		}
		// A replica that dies in the middle leaves it to the others, later.
		if m, err := w.box.unsafeClaim(t.Context()); err != nil || m == nil || m.To != "bob@example.com" {
			t.Fatalf("claimed %+v, %v", m, err)
		}
		step(false)
		w.clock.Add(outboxLease)
		w.post.fail = errors.New("mail server is away")
		step(true)
		step(false)
		w.clock.Add(outboxFirst - time.Millisecond)
		step(false)
		w.clock.Add(outboxMost)
		w.post.fail = nil
		step(true)
		step(false)
		if len(w.post.got) != 1 || w.post.got[0].To != "bob@example.com" {
			t.Errorf("sent %+v", w.post.got)
		}
		if n := w.count(`SELECT count(*) FROM outbox WHERE sent_at IS NOT NULL AND length(body) = 0`); n != 1 {
			t.Error("what is sent is kept with its token")
		}
		invite("late@example.com")
		w.post.fail = errors.New("mail server is away for long")
		for range 1000 {
			if found, err := w.box.step(t.Context()); err != nil {
				t.Fatal(err)
			} else if !found {
				w.clock.Add(outboxMost)
			}
		}
		w.post.fail = nil
		step(false)
		if n := w.count(`SELECT count(*) FROM outbox WHERE sent_at IS NULL AND length(body) = 0 AND last_error = 'expired'`); n != 1 {
			t.Error("a message that is too late is kept with its token")
		}
		w.clock.Add(outboxKept)
		wantErr(t, "sweep", w.box.sweep(t.Context(), w.clock.Now()), nil)
		if n := w.count(`SELECT count(*) FROM outbox`) + w.count(`SELECT count(*) FROM tokens`); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

func TestFileSenderKeepsTokensToItsOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "outbox.ndjson")
	s := FileSender{Path: path, Link: "https://headgate.example"}
	for _, m := range []Message{{ID: "1", Kind: "invitation", To: "a@example.com", Token: "hgi_1"}, {ID: "2", Kind: "reset", To: "b@example.com", Token: "hgr_2"}} {
		wantErr(t, "send", s.Send(t.Context(), m), nil)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	raw, err := os.ReadFile(path)
	wantErr(t, "read", err, nil)
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	var m struct{ Token, Link string }
	if err := json.Unmarshal([]byte(lines[1]), &m); err != nil || len(lines) != 2 || m.Token != "hgr_2" || m.Link != "https://headgate.example/password-reset#hgr_2" {
		t.Errorf("lines %q: %v", lines, err)
	}
}

func TestMailServersAreNamedByURL(t *testing.T) {
	for text, ok := range map[string]bool{
		"smtp://u:pass@mail.example:587/?from=headgate@example.com": true, "smtps://u:pass@mail.example?from=headgate@example.com": true,
		"smtp://127.0.0.1:25?from=headgate@example.com&tls=off": true, "smtp://u:secret@mail.example?from=headgate@example.com&tls=off": false,
		"smtp://u:secret@mail.example": false, "http://u:secret@mail.example?from=headgate@example.com": false, "smtp://?from=headgate@example.com": false,
		"smtp://u:secret@mail.example?from=nobody": false, "smtp://u:secr et@mail.example?from=headgate@example.com": false, "": false,
	} {
		_, err := ParseSMTP(text, "")
		if (err == nil) != ok || err != nil && strings.Contains(err.Error(), "secr") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// mailServer speaks enough SMTP for one message, which it returns; with STARTTLS unless config is nil.
func mailServer(t *testing.T, config *tls.Config) (address string, got func() []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan []string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			lines <- nil
			return
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		lines <- converse(conn, config)
	}()
	t.Cleanup(func() { l.Close() })
	return l.Addr().String(), func() []string { return <-lines }
}

func converse(conn net.Conn, config *tls.Config) (seen []string) {
	defer func() { conn.Close() }()
	r := bufio.NewReader(conn)
	say := func(s string) { _, _ = conn.Write([]byte(s + "\r\n")) }
	say("220 mail.example")
	secure := false
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return seen
		}
		line = strings.TrimRight(line, "\r\n")
		seen = append(seen, line)
		switch verb, _, _ := strings.Cut(line, " "); {
		case verb == "EHLO" && secure:
			say("250-mail.example\r\n250 AUTH PLAIN")
		case verb == "EHLO" && config != nil:
			say("250-mail.example\r\n250 STARTTLS")
		case verb == "EHLO":
			say("250 mail.example")
		case verb == "STARTTLS":
			say("220 go on")
			conn = tls.Server(conn, config)
			r, secure = bufio.NewReader(conn), true
		case verb == "AUTH":
			say("235 welcome")
		case verb == "DATA":
			say("354 go on")
			for line != "." {
				if line, err = r.ReadString('\n'); err != nil {
					return seen
				}
				line = strings.TrimRight(line, "\r\n")
				seen = append(seen, line)
			}
			say("250 taken")
		case verb == "QUIT":
			say("221 bye")
			return seen
		default:
			say("250 ok")
		}
	}
}

// TestMailGoesOutOverTLSAlone: a server without it, or with a certificate of nobody's, sees neither token nor password.
func TestMailGoesOutOverTLSAlone(t *testing.T) {
	ca := tlstest.NewAuthority(t)
	config, pool := &tls.Config{Certificates: []tls.Certificate{ca.Pair("mail")}}, ca.Pool
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m := Message{ID: "01M", Kind: "invitation", Tenant: "acme", To: "bob@example.com", Token: "hgi_01M_secret", Expires: time.Date(2025, 3, 8, 12, 0, 0, 0, time.UTC)}
	for name, c := range map[string]struct {
		config  *tls.Config
		trusted bool
		query   string
		user    string
		ok      bool
	}{
		"STARTTLS":               {config, true, "", "u:pass@", true},
		"no STARTTLS":            {nil, true, "", "u:pass@", false},
		"a certificate unknown":  {config, false, "", "u:pass@", false},
		"no TLS, and asked to":   {nil, true, "&tls=off", "", true},
		"TLS that is not needed": {config, true, "&tls=off", "", true},
	} {
		address, got := mailServer(t, c.config)
		s, err := ParseSMTP("smtp://"+c.user+address+"/?from=headgate@example.com"+c.query, "https://headgate.example")
		if err != nil {
			t.Fatal(err)
		}
		if c.trusted {
			s.roots = &tls.Config{RootCAs: pool}
		}
		err = s.Send(ctx, m)
		text := strings.Join(got(), "\n")
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if !c.ok {
			if strings.Contains(text, "hgi_") || strings.Contains(text, "AUTH") || strings.Contains(text, "bob") {
				t.Errorf("%s: the server saw %s", name, text)
			}
			continue
		}
		_, data, _ := strings.Cut(text, "DATA\n")
		parsed, err := mail.ReadMessage(strings.NewReader(strings.ReplaceAll(strings.TrimSuffix(data, "\n."), "\n", "\r\n")))
		if err != nil {
			t.Fatalf("%s: %v in %s", name, err, data)
		}
		var body bytes.Buffer
		if _, err := body.ReadFrom(quotedprintable.NewReader(parsed.Body)); err != nil {
			t.Fatal(err)
		}
		if parsed.Header.Get("To") != "<bob@example.com>" || parsed.Header.Get("Subject") != "Invitation to acme" || !strings.Contains(body.String(), "https://headgate.example/invitation#hgi_01M_secret") {
			t.Errorf("%s: message %v\n%s", name, parsed.Header, body.String())
		}
		if when, err := parsed.Header.Date(); err != nil || !when.Equal(m.Expires.Add(-invitation.life)) {
			t.Errorf("%s: date %v, %v", name, when, err)
		}
	}
}
