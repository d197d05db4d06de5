package alert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

const (
	// attemptTimeout bounds one attempt, from the look-up of the name to the end of the answer.
	attemptTimeout = 10 * time.Second
	// maxAnswer bounds what is read of an answer, keptAnswer the characters that are kept of it.
	maxAnswer  = 4 << 10
	keptAnswer = 200
	maxHeaders = 32 << 10
)

// outcome is what became of an attempt.
type outcome struct {
	result     string // a value of the metric's label
	status     int    // 0: no answer
	text       string // for the webhook's owner; "" of a success
	retryAfter time.Duration
}

// Results of attempts.
const (
	resultDelivered = "delivered"
	resultStatus    = "status"   // an answer that is not 2xx
	resultRedirect  = "redirect" // 3xx: never followed
	resultGone      = "gone"     // 410: the webhook is disabled
	resultAddress   = "address"  // private or reserved
	resultTimeout   = "timeout"
	resultNetwork   = "network"
	resultCanceled  = "canceled" // headgate stops; not an attempt
)

var results = []string{resultDelivered, resultStatus, resultRedirect, resultGone, resultAddress, resultTimeout, resultNetwork, resultCanceled}

// newClient makes the client of all targets.
//
// SECURITY: no proxy, which would connect on behalf of us to where the dialer's check does not see; no connection is kept,
// so that none serves two tenants; redirects are answers; answers are not decompressed.
func newClient(allowPrivate bool, timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: timeout, KeepAlive: -1}
	if !allowPrivate {
		dialer.Control = controlDial
	}
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, DisableKeepAlives: true, DisableCompression: true,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: timeout,
			ResponseHeaderTimeout: timeout, MaxResponseHeaderBytes: maxHeaders,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// message is one signed POST.
type message struct {
	id     string
	url    string
	secret []byte
	body   []byte
	at     time.Time // of this attempt
}

// send makes one attempt.
func send(ctx context.Context, client *http.Client, m message) outcome {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url, bytes.NewReader(m.body))
	if err != nil {
		return outcome{result: resultNetwork, text: "the URL cannot be used"}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "headgate-webhook")
	// Standard Webhooks writes these names in lower case; headers have no case.
	req.Header.Set("Webhook-Id", m.id)
	req.Header.Set("Webhook-Timestamp", strconv.FormatInt(m.at.Unix(), 10))
	req.Header.Set("Webhook-Signature", signature(m.secret, m.id, m.at, m.body))
	resp, err := client.Do(req)
	if err != nil {
		return failed(ctx, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil && ctx.Err() != nil {
		return failed(ctx, err)
	}
	return answered(resp, answer)
}

func answered(resp *http.Response, answer []byte) outcome {
	o := outcome{result: resultStatus, status: resp.StatusCode}
	switch {
	case resp.StatusCode/100 == 2:
		o.result = resultDelivered
		return o
	case resp.StatusCode/100 == 3:
		o.result, o.text = resultRedirect, fmt.Sprintf("answered %d, a redirect; those are not followed", resp.StatusCode)
		return o
	case resp.StatusCode == http.StatusGone:
		o.result = resultGone
	}
	o.text = printable(fmt.Sprintf("answered %d: %s", resp.StatusCode, answer), keptAnswer)
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		o.retryAfter = min(time.Duration(min(s, 1<<20))*time.Second, maxBackoff)
	}
	return o
}

// failed puts a failure without an answer into words of our own.
//
// SECURITY: Go's errors name resolved addresses and would tell who makes webhooks about headgate's network.
func failed(ctx context.Context, err error) outcome {
	var dns *net.DNSError
	var timeout net.Error
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	o := outcome{result: resultNetwork, text: "the connection failed"}
	switch {
	case ctx.Err() != nil:
		return outcome{result: resultCanceled, text: "headgate stopped"}
	case errors.Is(err, errAddress):
		return outcome{result: resultAddress, text: errAddress.Error()}
	case errors.As(err, &timeout) && timeout.Timeout():
		return outcome{result: resultTimeout, text: "no complete answer in time"}
	case errors.As(err, &dns):
		o.text = "the target's name cannot be resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		o.text = "the target refused the connection"
	case errors.As(err, &certificate), errors.As(err, &authority):
		o.text = "the target's certificate is not valid"
	}
	return o
}
