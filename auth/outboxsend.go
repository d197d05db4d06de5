package auth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"net/url"
	"os"
	"time"
)

// FileSender appends each message as a line of JSON to a file, for deployments without mail: its reader passes tokens on.
type FileSender struct {
	Path string
	Link string // see SMTPSender
}

// Send implements Sender. It returns nil once the line is synced.
//
// SECURITY: the file holds tokens; it is made with mode 0600.
func (s FileSender) Send(_ context.Context, m Message) error {
	line, err := json.Marshal(struct {
		Message
		Link string `json:"link,omitempty"`
	}{m, pageLink(s.Link, m)})
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.Path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Sync(), f.Close())
}

// pageLink is where the holder of a message's token uses it, "" without a base.
//
// SECURITY: the token is in the fragment, which no server or referrer gets.
func pageLink(base string, m Message) string {
	if base == "" {
		return ""
	}
	page := map[string]string{invitation.name: "/invitation", reset.name: "/password-reset"}[m.Kind]
	return base + page + "#" + m.Token
}

// SMTPSender hands messages to a mail server.
type SMTPSender struct {
	host, port string
	auth       smtp.Auth
	from       string
	implicit   bool // TLS from the first byte
	plain      bool // no TLS at all
	link       string
	roots      *tls.Config // of tests; nil: the system's
}

// ParseSMTP reads the URL of a mail server: smtp://user:password@host:587/?from=headgate@example.com for STARTTLS, which the
// server must offer, smtps:// for TLS from the first byte, smtp://…&tls=off for none at all, without a password then. link is
// the URL at which people reach headgate, "" for none: messages then have the token alone. Errors repeat no password.
func ParseSMTP(text, link string) (*SMTPSender, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" {
		return nil, errors.New("URL of the mail server: want smtp://user:password@host:587/?from=headgate@example.com, or smtps://")
	}
	q := u.Query()
	s := &SMTPSender{host: u.Hostname(), port: cmp.Or(u.Port(), "587"), from: q.Get("from"), implicit: u.Scheme == "smtps", plain: q.Get("tls") == "off", link: link}
	if s.implicit {
		s.port = cmp.Or(u.Port(), "465")
	}
	if _, err := emailKey(s.from); err != nil {
		return nil, errors.New("URL of the mail server: want the address of the sender as ?from=headgate@example.com")
	}
	password, given := u.User.Password()
	if given && s.plain || s.plain && s.implicit {
		return nil, errors.New("URL of the mail server: tls=off is for smtp:// without a password")
	}
	if given {
		s.auth = smtp.PlainAuth("", u.User.Username(), password, s.host)
	}
	return s, nil
}

// Send implements Sender. It returns nil once the server has taken the message.
//
// SECURITY: without TLS of a certificate for the host nothing is sent, the token and the password least of all, unless the
// URL says tls=off.
func (s *SMTPSender) Send(ctx context.Context, m Message) (err error) {
	config := &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12}
	if s.roots != nil {
		config.RootCAs = s.roots.RootCAs
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(s.host, s.port))
	if err != nil {
		return err
	}
	defer conn.Close()
	if until, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(until)
	}
	if s.implicit {
		conn = tls.Client(conn, config)
	}
	c, err := smtp.NewClient(conn, s.host)
	if err != nil {
		return err
	}
	defer c.Close()
	if !s.implicit && !s.plain {
		if ok, _ := c.Extension("STARTTLS"); !ok {
			return fmt.Errorf("mail server %s does not offer STARTTLS", s.host)
		}
		if err := c.StartTLS(config); err != nil {
			return err
		}
	}
	if s.auth != nil {
		if err := c.Auth(s.auth); err != nil {
			return err
		}
	}
	return s.deliver(c, m)
}

func (s *SMTPSender) deliver(c *smtp.Client, m Message) error {
	if err := c.Mail(s.from); err != nil {
		return err
	}
	if err := c.Rcpt(m.To); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(s.text(m)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = c.Quit() // the message is taken
	return nil
}

// text is the message with its headers.
//
// SECURITY: what goes into headers is ASCII without control characters: addresses by emailKey, the organization's name by
// normalName.
func (s *SMTPSender) text(m Message) []byte {
	subject, what := "Invitation to "+m.Tenant, "You are invited to "+m.Tenant+" on headgate."
	if m.Kind == reset.name {
		subject, what = "New password for "+m.Tenant, "A new password was asked for, for your account at "+m.Tenant+" on headgate. If it was not you, ignore this message."
	}
	use := "Use this token: " + m.Token
	if l := pageLink(s.link, m); l != "" {
		use = "Open this link:\r\n\r\n" + l
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: headgate <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%s@%s>\r\n", s.from, m.To, subject,
		m.Expires.Add(-lifeOf(m.Kind)).Format(time.RFC1123Z), m.ID, domainOf(s.from))
	b.WriteString("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\nAuto-Submitted: auto-generated\r\n\r\n")
	q := quotedprintable.NewWriter(&b)
	fmt.Fprintf(q, "%s\r\n\r\n%s\r\n\r\nIt works once, until %s UTC.\r\n", what, use, m.Expires.UTC().Format("2006-01-02 15:04"))
	_ = q.Close() // into memory
	return b.Bytes()
}

func lifeOf(kind string) time.Duration {
	if kind == reset.name {
		return reset.life
	}
	return invitation.life
}
