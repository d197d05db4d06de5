package otlp

import (
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// ErrBadJSON says that a body is not OTLP/JSON: the request must be refused as a whole, for good.
var ErrBadJSON = errors.New("malformed json")

// maxJSONDepth is how deep objects and arrays may nest. A level of an attribute value takes up to four.
const maxJSONDepth = 16 + 4*maxDepth

// JSONToProto converts an export request of sig from OTLP/JSON to protobuf. The error wraps ErrBadJSON and is fit for the
// client's eyes.
func JSONToProto(sig Signal, body []byte) ([]byte, error) {
	// The reader below recurses; a goroutine's stack overflow cannot be recovered from.
	if !jsonDepthAtMost(body, maxJSONDepth) {
		return nil, fmt.Errorf("%w: nested deeper than %d levels", ErrBadJSON, maxJSONDepth)
	}
	req, err := unmarshalJSON(sig, body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadJSON, err)
	}
	return req.MarshalProto()
}

type protoMarshaler interface{ MarshalProto() ([]byte, error) }

func unmarshalJSON(sig Signal, body []byte) (protoMarshaler, error) {
	switch sig {
	case Logs:
		r := plogotlp.NewExportRequest()
		return r, r.UnmarshalJSON(body)
	case Traces:
		r := ptraceotlp.NewExportRequest()
		return r, r.UnmarshalJSON(body)
	default:
		r := pmetricotlp.NewExportRequest()
		return r, r.UnmarshalJSON(body)
	}
}

// jsonDepthAtMost reports whether objects and arrays in b nest at most limit deep.
func jsonDepthAtMost(b []byte, limit int) bool {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > limit {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}
