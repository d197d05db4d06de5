package ingest

import (
	"strings"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/pprofile/pprofileotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/headgate-io/headgate/ingest/otlp"
)

// encoding is how a request's and hence its response's messages are written.
type encoding uint8

const (
	protobuf encoding = iota
	jsonEncoding
)

// contentType must be compared to with == by clients: the Go SDK and the collector see no partial success otherwise.
func (e encoding) contentType() string {
	if e == jsonEncoding {
		return "application/json"
	}
	return "application/x-protobuf"
}

// partial is what a success has to say beyond success: how many records were not taken, and why. The zero value is a
// full success. A message without rejected records is a warning.
type partial struct {
	rejected int64
	message  string
}

// exportResponse is what the response types of pdata share.
type exportResponse interface {
	MarshalProto() ([]byte, error)
	MarshalJSON() ([]byte, error)
}

// maxMessageBytes shortens what a partial success says, so that no response nears the 4 MiB that OTLP allows. The count
// beside it is always exact.
const maxMessageBytes = 16 << 10

// encodeResponse writes Export<Signal>ServiceResponse. A full success leaves partial_success unset, as the
// specification asks: no bytes in protobuf, {} in JSON.
func encodeResponse(sig otlp.Signal, enc encoding, p partial) ([]byte, error) {
	if p == (partial{}) {
		if enc == jsonEncoding {
			return []byte("{}"), nil
		}
		return []byte{}, nil
	}
	if len(p.message) > maxMessageBytes {
		p.message = strings.ToValidUTF8(p.message[:maxMessageBytes], "") // a character may be cut in two
	}
	var resp exportResponse
	switch sig {
	case otlp.Logs:
		r := plogotlp.NewExportResponse()
		r.PartialSuccess().SetRejectedLogRecords(p.rejected)
		r.PartialSuccess().SetErrorMessage(p.message)
		resp = r
	case otlp.Traces:
		r := ptraceotlp.NewExportResponse()
		r.PartialSuccess().SetRejectedSpans(p.rejected)
		r.PartialSuccess().SetErrorMessage(p.message)
		resp = r
	case otlp.Metrics:
		r := pmetricotlp.NewExportResponse()
		r.PartialSuccess().SetRejectedDataPoints(p.rejected)
		r.PartialSuccess().SetErrorMessage(p.message)
		resp = r
	case otlp.Profiles:
		r := pprofileotlp.NewExportResponse()
		r.PartialSuccess().SetRejectedProfiles(p.rejected)
		r.PartialSuccess().SetErrorMessage(p.message)
		resp = r
	}
	if enc == jsonEncoding {
		return resp.MarshalJSON()
	}
	return resp.MarshalProto()
}
