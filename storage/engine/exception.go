package engine

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
)

// exception is an error with a ClickHouse code, as the HTTP interface reports it.
type exception struct {
	code int
	text string // begins "Code: N. DB::Exception: "
}

func (e *exception) Error() string { return e.text }

// ClickHouse codes that this package gives itself.
const (
	codeBadArguments         = 36
	codeNotImplemented       = 48
	codeSyntaxError          = 62
	codeTooManyQueries       = 202
	codeRequiredPassword     = 194
	codeCannotReadAll        = 33
	codeQueryTooLarge        = 229
	codeQueryCancelled       = 394
	codeAuthenticationFailed = 516
	codeTimeoutExceeded      = 159
	codeUnsupportedMedia     = 779
	codeReadOnly             = 164
	codeStdException         = 1001
)

var codeNames = map[int]string{
	codeBadArguments:         "BAD_ARGUMENTS",
	codeNotImplemented:       "NOT_IMPLEMENTED",
	codeSyntaxError:          "SYNTAX_ERROR",
	codeTooManyQueries:       "TOO_MANY_SIMULTANEOUS_QUERIES",
	codeRequiredPassword:     "REQUIRED_PASSWORD",
	codeCannotReadAll:        "CANNOT_READ_ALL_DATA",
	codeQueryTooLarge:        "QUERY_IS_TOO_LARGE",
	codeQueryCancelled:       "QUERY_WAS_CANCELLED",
	codeAuthenticationFailed: "AUTHENTICATION_FAILED",
	codeUnsupportedMedia:     "UNSUPPORTED_MEDIA_TYPE",
	codeReadOnly:             "READONLY",
	codeStdException:         "STD_EXCEPTION",
}

func exceptionf(code int, format string, args ...any) *exception {
	return &exception{code, fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", code, fmt.Sprintf(format, args...), codeNames[code])}
}

var codeRe = regexp.MustCompile(`^Code: (\d+)\.`)

// parseException reads the engine's error text.
func parseException(text string) *exception {
	if m := codeRe.FindStringSubmatch(text); m != nil {
		if code, err := strconv.Atoi(m[1]); err == nil && code > 0 {
			return &exception{code, text}
		}
	}
	return exceptionf(codeStdException, "%s", text)
}

func asException(err error) *exception {
	var e *exception
	if errors.As(err, &e) {
		return e
	}
	return exceptionf(codeStdException, "%v", err)
}

// httpStatus is ClickHouse's mapping of exception codes; see its exceptionCodeToHTTPStatus.
func (e *exception) httpStatus() int {
	switch e.code {
	case codeRequiredPassword:
		return http.StatusUnauthorized
	case 192, 193, 497, 512, codeAuthenticationFailed: // unknown user, wrong password, access denied, role not granted
		return http.StatusForbidden
	case 6, 25, 26, 27, 38, 41, 72, 376, 441, 675, 676, // cannot parse …
		8, 15, 37, 44, 53, 117, 123, 167, 168, 223, 321, 427, codeBadArguments, codeSyntaxError:
		return http.StatusBadRequest
	case 46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511: // unknown …
		return http.StatusNotFound
	case codeTimeoutExceeded:
		return http.StatusRequestTimeout
	case codeQueryTooLarge:
		return http.StatusRequestEntityTooLarge
	case codeUnsupportedMedia:
		return http.StatusUnsupportedMediaType
	case codeNotImplemented:
		return http.StatusNotImplemented
	case 76, 209, 439, codeTooManyQueries: // a server answers 500 to the last; 503 is what it means
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
