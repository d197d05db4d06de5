package ingest

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/headgate-io/headgate/auth"
)

// A kind is one row of the table of refusals. Its id is in the message and in the ErrorInfo detail; ids are never
// renamed. Whether clients retry follows from the codes (OTLP specification, "Failures"): they do on 429 and 503, on
// UNAVAILABLE, and on RESOURCE_EXHAUSTED only where a RetryInfo comes with it.
type kind struct {
	id   string
	http int
	grpc codes.Code
}

var (
	unauthenticated = kind{"key-unknown", http.StatusUnauthorized, codes.Unauthenticated} // the id comes from auth
	keysUnavailable = kind{auth.ErrKeysUnavailable.Code, http.StatusServiceUnavailable, codes.Unavailable}
	forbidden       = kind{"key-scope", http.StatusForbidden, codes.PermissionDenied} // likewise
	badOrigin       = kind{auth.ErrOrigin.Code, http.StatusForbidden, codes.PermissionDenied}
	notFound        = kind{"not-found", http.StatusNotFound, codes.Unimplemented}
	badMethod       = kind{"method-not-allowed", http.StatusMethodNotAllowed, codes.Unimplemented}
	badContentType  = kind{"content-type-unsupported", http.StatusUnsupportedMediaType, codes.InvalidArgument}
	badEncoding     = kind{"content-encoding-unsupported", http.StatusUnsupportedMediaType, codes.Unimplemented}
	undecodable     = kind{"undecodable", http.StatusBadRequest, codes.InvalidArgument}
	headersTooLarge = kind{"headers-too-large", http.StatusRequestHeaderFieldsTooLarge, codes.ResourceExhausted}
	tooSlow         = kind{"too-slow", http.StatusServiceUnavailable, codes.DeadlineExceeded}
	clientGone      = kind{"client-gone", http.StatusBadRequest, codes.Canceled}
	tooLarge        = kind{"too-large", http.StatusRequestEntityTooLarge, codes.ResourceExhausted}
	tooManyRecords  = kind{"too-many-records", http.StatusRequestEntityTooLarge, codes.ResourceExhausted}
	limitReached    = kind{"limit-daily-bytes", http.StatusTooManyRequests, codes.ResourceExhausted}
	overloaded      = kind{"overloaded", http.StatusServiceUnavailable, codes.Unavailable}
	unavailable     = kind{"unavailable", http.StatusServiceUnavailable, codes.Unavailable}
	internalFailure = kind{"internal", http.StatusInternalServerError, codes.Internal}
)

// failure is the answer to a request that was not accepted. The text is for the tenant: it names neither other
// tenants nor internals, and says what to do.
type failure struct {
	kind
	text       string
	retryAfter time.Duration // 0: no Retry-After, no RetryInfo
	quota      quotaFields   // of the limit that refused
}

func fail(k kind, format string, args ...any) *failure {
	return &failure{kind: k, text: fmt.Sprintf(format, args...)}
}

// after makes the failure one that clients retry after d.
func (f *failure) after(d time.Duration) *failure {
	f.retryAfter = d
	return f
}

// Error returns the text with the id at its end.
func (f *failure) Error() string {
	id := "(" + f.id + ")"
	if strings.HasSuffix(f.text, id) {
		return f.text
	}
	return f.text + " " + id
}

// maxStatusBytes keeps the text of a status far below clients' header limits: gRPC carries it in a trailer, and one
// client turned a 20 KB message into a non-retryable INTERNAL.
const maxStatusBytes = 1024

// status is the google.rpc.Status of the failure, the body of an HTTP error and the status of a gRPC one.
func (f *failure) status() *spb.Status {
	text := printable(f.Error())
	if len(text) > maxStatusBytes {
		text = text[:maxStatusBytes]
	}
	st := &spb.Status{Code: int32(f.grpc), Message: text}
	details := []proto.Message{&errdetails.ErrorInfo{Reason: f.id, Domain: "headgate"}}
	if f.kind == undecodable {
		details = append(details, &errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "body", Description: text}}})
	}
	if f.retryAfter > 0 {
		details = append(details, f.retryInfo())
	}
	for _, d := range details {
		packed, err := anypb.New(d)
		if err != nil {
			panic("BUG: pack status detail: " + err.Error())
		}
		st.Details = append(st.Details, packed)
	}
	return st
}

func (f *failure) retryInfo() *errdetails.RetryInfo {
	return &errdetails.RetryInfo{RetryDelay: durationpb.New(f.retryAfter)}
}

// printable replaces control and non-ASCII characters, so that client text in a message cannot forge lines of a log.
func printable(s string) string {
	out := []byte(s)
	for i, c := range out {
		if c < 0x20 || c > 0x7e {
			out[i] = '?'
		}
	}
	return string(out)
}

// retrySeconds is the value of Retry-After: whole seconds, rounded up, never 0.
func (f *failure) retrySeconds() int {
	return max(1, int((f.retryAfter+time.Second-1)/time.Second))
}
