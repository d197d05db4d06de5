package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// Names of files in the data directory that commands on the same machine read.
const (
	addressesFile  = "addresses.json"
	adminTokenFile = "admin.token"
)

// addresses are those that serve listens on, as written to addresses.json.
type addresses struct {
	OTLPGRPC  string `json:"otlp_grpc,omitempty"` // left out where --role has none; so are the next two
	OTLPHTTP  string `json:"otlp_http,omitempty"`
	API       string `json:"api,omitempty"`
	Telemetry string `json:"telemetry"`
	// APICert is the absolute path of the certificate that API shows, "" where it speaks plaintext.
	APICert string `json:"api_tls_cert,omitempty"`
}

// client speaks to the API of a running headgate.
type client struct {
	http  *http.Client // nil is the default one
	base  string
	token string
	match string // the If-Match of its requests; "" is none
}

// clientFlags are shared by all commands that use the API.
type clientFlags struct {
	dataDir, secretsDir, apiURL, apiCA, token string
	json                                      bool
}

func (f *clientFlags) register(cmd *cobra.Command) {
	p := cmd.PersistentFlags()
	p.StringVar(&f.dataDir, "data-dir", "./data", "data directory of the server: where the API's address and the operator token are found")
	p.StringVar(&f.apiURL, "api-url", "", "URL of the API, for a server elsewhere, e.g. http://127.0.0.1:8080")
	p.StringVar(&f.apiCA, "api-ca", "", "PEM file of the authorities that the API's certificate is trusted by (empty: the system's)")
	p.StringVar(&f.token, "token", "", "operator token or API key (empty: admin.token of the secrets directory)")
	p.StringVar(&f.secretsDir, "secrets-dir", "", "directory of admin.token (empty: the data directory)")
	p.BoolVar(&f.json, "json", false, "print JSON, for scripts")
}

func (f *clientFlags) open() (*client, error) {
	c := &client{base: strings.TrimRight(f.apiURL, "/"), token: f.token}
	var err error
	if f.apiCA != "" {
		if c.http, err = trusting(f.apiCA); err != nil {
			return nil, fmt.Errorf("--api-ca: %w", err)
		}
	}
	if c.base == "" {
		addr, err := readAddresses(f.dataDir)
		if err != nil {
			return nil, err
		}
		if addr.API == "" {
			return nil, fmt.Errorf("the headgate of %s has no API, it receives: name one of --role control or query by --api-url", f.dataDir)
		}
		c.base = "http://" + addr.API
		if addr.APICert != "" {
			c.base = "https://" + addr.API
			if c.http, err = pinned(addr.APICert); err != nil {
				return nil, fmt.Errorf("%w: name the server with --api-url https://…", err)
			}
		}
	}
	if c.token == "" {
		path := filepath.Join(cmp.Or(f.secretsDir, f.dataDir), adminTokenFile)
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("no --token given and %s cannot be read: %w", path, err)
		}
		c.token = strings.TrimSpace(string(raw))
	}
	return c, nil
}

func readAddresses(dataDir string) (addresses, error) {
	path := filepath.Join(dataDir, addressesFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return addresses{}, fmt.Errorf("%s is not there: start 'headgate serve --data-dir %s' first, or name another server with --api-url", path, dataDir)
	}
	if err != nil {
		return addresses{}, err
	}
	var addr addresses
	if err := json.Unmarshal(raw, &addr); err != nil {
		return addresses{}, fmt.Errorf("read %s: %w", path, err)
	}
	return addr, nil
}

// apiError is a problem document (RFC 9457) that the API answered with.
type apiError struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (e *apiError) Error() string { return fmt.Sprintf("%s (%s)", e.Detail, e.Code) }

// do sends one request and decodes the JSON answer into out, unless out is nil.
func (c *client) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	resp, err := c.send(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.base, err)
	}
	return nil
}

// send returns the response of a request that succeeded; the caller closes its body.
func (c *client) send(ctx context.Context, method, path string, query url.Values, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, fmt.Errorf("--api-url %s: %w", c.base, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.match != "" {
		req.Header.Set("If-Match", c.match)
	}
	resp, err := cmp.Or(c.http, http.DefaultClient).Do(req)
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		return nil, fmt.Errorf("%s is not trusted: %w; --api-ca names the file of its authority", c.base, untrusted.Err)
	}
	if err != nil {
		return nil, fmt.Errorf("no headgate answers at %s: %w", c.base, errors.Unwrap(err))
	}
	if resp.StatusCode >= 400 {
		defer resp.Body.Close()
		raw, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		e := &apiError{}
		_ = json.Unmarshal(raw, e) // what it does not find is missing below
		var metrics struct{ ErrorType, Error string }
		if e.Code == "" && json.Unmarshal(raw, &metrics) == nil { // the form of the Prometheus API
			e.Status, e.Code, e.Detail = resp.StatusCode, metrics.ErrorType, metrics.Error
		}
		if e.Code == "" {
			return nil, fmt.Errorf("%s answered %s; is it headgate's API?", c.base, resp.Status)
		}
		return nil, e
	}
	return resp, nil
}

// editTries bounds how often edit reads again what others have changed meanwhile.
const editTries = 20

// edit changes a resource to what patch makes of its state, which nobody has changed meanwhile: where somebody has, it reads the
// resource again. It returns the resource as it is then.
func edit[T any](ctx context.Context, c *client, path string, patch func(now T) any) (out T, err error) {
	for range editTries {
		resp, err := c.send(ctx, http.MethodGet, path, nil, nil)
		if err != nil {
			return out, err
		}
		var now T
		err = json.NewDecoder(resp.Body).Decode(&now)
		resp.Body.Close()
		if err != nil {
			return out, fmt.Errorf("read the answer of %s: %w", c.base, err)
		}
		as := *c
		as.match = resp.Header.Get("ETag")
		err = as.do(ctx, http.MethodPatch, path, nil, patch(now), &out)
		var refused *apiError
		if !errors.As(err, &refused) || refused.Status != http.StatusPreconditionFailed {
			return out, err
		}
	}
	return out, errors.New("others change it all the time: run the command again")
}

// listAll walks the pages of a list and returns the items under the given member.
func listAll[T any](ctx context.Context, c *client, path, member string, query url.Values) ([]T, error) {
	if query == nil {
		query = url.Values{}
	}
	all := []T{}
	for {
		var page map[string]json.RawMessage
		if err := c.do(ctx, http.MethodGet, path, query, nil, &page); err != nil {
			return nil, err
		}
		var items []T
		if err := json.Unmarshal(page[member], &items); err != nil {
			return nil, fmt.Errorf("read the answer of %s: member %s: %w", c.base, member, err)
		}
		all = append(all, items...)
		var next string
		if raw, ok := page["next"]; ok {
			_ = json.Unmarshal(raw, &next) // null: the last page
		}
		if next == "" {
			return all, nil
		}
		query.Set("cursor", next)
	}
}

// showList prints all pages of a list: as JSON under the given member, or as the table t with a row for each item.
func showList[T any](cmd *cobra.Command, f *clientFlags, path, member string, query url.Values, t *table, row func(T) []string) error {
	c, err := f.open()
	if err != nil {
		return err
	}
	all, err := listAll[T](cmd.Context(), c, path, member, query)
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), map[string]any{member: all})
	}
	for _, item := range all {
		t.add(row(item)...)
	}
	t.print(cmd.OutOrStdout())
	return nil
}
