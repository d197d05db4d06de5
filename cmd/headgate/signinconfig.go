package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/headgate-io/headgate/auth"
)

// outboxFile is where messages go without a mail server: lines of JSON, mode 0600, in the data directory.
const outboxFile = "outbox.ndjson"

// peopleConfig is how people are told and let in.
type peopleConfig struct {
	SMTPURL        string
	PublicURL      string
	OIDCIssuer     string
	OIDCClientID   string
	OIDCSecretFile string
	OIDCTenants    []string
}

func (c *peopleConfig) register(f *pflag.FlagSet) {
	f.StringVar(&c.SMTPURL, "smtp-url", c.SMTPURL, "mail server for invitations and password resets, smtp://user:password@host:587/?from=headgate@example.com, with STARTTLS; smtps:// for TLS from the first byte (empty: outbox.ndjson in the data directory). Give a password by HEADGATE_SMTP_URL")
	f.StringVar(&c.PublicURL, "public-url", c.PublicURL, "URL at which people reach the API, for the links in messages and the way back from the OpenID provider, https://headgate.example.com (empty: messages have tokens alone)")
	f.StringVar(&c.OIDCIssuer, "oidc-issuer", c.OIDCIssuer, "URL of an OpenID provider that people may sign in with; needs --public-url, whose /api/v1/oidc/callback the provider is told")
	f.StringVar(&c.OIDCClientID, "oidc-client-id", c.OIDCClientID, "what the provider calls headgate")
	f.StringVar(&c.OIDCSecretFile, "oidc-client-secret-file", c.OIDCSecretFile, "file of the secret that goes with it")
	f.StringSliceVar(&c.OIDCTenants, "oidc-tenant", c.OIDCTenants, "slug of an organization that the provider may let people into; may be repeated")
}

// validate reports everything that is wrong, joined. Errors repeat no password.
func (c *peopleConfig) validate() error {
	var errs []error
	if c.SMTPURL != "" {
		if _, err := auth.ParseSMTP(c.SMTPURL, ""); err != nil {
			errs = append(errs, fmt.Errorf("--smtp-url: %w", err))
		}
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
			errs = append(errs, fmt.Errorf("--public-url %q: want https://host, without a path", c.PublicURL))
		}
	}
	switch given := c.OIDCIssuer != ""; {
	case given != (c.OIDCClientID != "") || given != (c.OIDCSecretFile != "") || given != (len(c.OIDCTenants) > 0):
		errs = append(errs, errors.New("--oidc-issuer, --oidc-client-id, --oidc-client-secret-file and --oidc-tenant belong together: give all, or none"))
	case given && c.PublicURL == "":
		errs = append(errs, errors.New("--oidc-issuer needs --public-url, where the provider sends people back to"))
	}
	return errors.Join(errs...)
}

// people is what lets people in beside the directory.
type people struct {
	outbox *auth.Outbox
	oidc   *auth.OIDC // nil: none
}

func openPeople(cfg Config, d *auth.Directory, log *slog.Logger, reg prometheus.Registerer) (p people, err error) {
	c, base := cfg.People, strings.TrimRight(cfg.People.PublicURL, "/")
	var sender auth.Sender = auth.FileSender{Path: cfg.path(outboxFile), Link: base}
	if c.SMTPURL != "" {
		if sender, err = auth.ParseSMTP(c.SMTPURL, base); err != nil {
			return p, err
		}
	}
	p.outbox = d.NewOutbox(auth.OutboxOptions{Sender: sender, Logger: log, Registry: reg})
	if c.OIDCIssuer == "" {
		return p, nil
	}
	secret, err := os.ReadFile(c.OIDCSecretFile)
	if err != nil {
		return p, fmt.Errorf("--oidc-client-secret-file: %w", err)
	}
	p.oidc, err = d.NewOIDC(auth.OIDCConfig{Issuer: c.OIDCIssuer, ClientID: c.OIDCClientID, ClientSecret: strings.TrimSpace(string(secret)),
		RedirectURL: base + "/api/v1/oidc/callback", Tenants: c.OIDCTenants})
	return p, err
}
