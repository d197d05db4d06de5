package main

import (
	"encoding/binary"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/pprofile"
	"go.opentelemetry.io/collector/pdata/pprofile/pprofileotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/headgate-io/headgate/storage/schema"
)

// numberedSignal is a signal whose requests have their number in each of their rows.
type numberedSignal struct {
	name, path, method string
	// body is request n, of so many records, each of which becomes a row.
	body func(service string, n uint64, at time.Time, records int) ([]byte, error)
	// table is where the rows are, and number the SQL that finds a row's request.
	table, number string
}

const otlpCollector = "/opentelemetry.proto.collector."

var numberedSignals = []numberedSignal{
	{"logs", "/v1/logs", otlpCollector + "logs.v1.LogsService/Export", numberedLogs, schema.Logs, "toUInt64(Body)"},
	{"traces", "/v1/traces", otlpCollector + "trace.v1.TraceService/Export", numberedTraces, schema.Traces, "reinterpretAsUInt64(reverse(unhex(substring(TraceId, 17))))"},
	{"metrics", "/v1/metrics", otlpCollector + "metrics.v1.MetricsService/Export", numberedMetrics, schema.MetricsGauge, "toUInt64(assumeNotNull(ValueInt))"},
	{"profiles", "/v1development/profiles", otlpCollector + "profiles.v1development.ProfilesService/Export", numberedProfiles, schema.Profiles,
		"reinterpretAsUInt64(reverse(unhex(substring(ProfileId, 17))))"},
}

const serviceName = "service.name"

// numberedID is an id that is 0 but for its last eight bytes.
func numberedID(n uint64) (id [16]byte) {
	binary.BigEndian.PutUint64(id[8:], n)
	id[0] = 1 // one of zeros alone is none
	return id
}

func numberedLogs(service string, n uint64, at time.Time, records int) ([]byte, error) {
	all := plog.NewLogs()
	r := all.ResourceLogs().AppendEmpty()
	r.Resource().Attributes().PutStr(serviceName, service)
	list := r.ScopeLogs().AppendEmpty().LogRecords()
	for i := range records {
		rec := list.AppendEmpty()
		rec.SetTimestamp(pcommon.NewTimestampFromTime(at))
		rec.Body().SetInt(int64(n))
		rec.Attributes().PutInt("index", int64(i))
	}
	return plogotlp.NewExportRequestFromLogs(all).MarshalProto()
}

func numberedTraces(service string, n uint64, at time.Time, records int) ([]byte, error) {
	all := ptrace.NewTraces()
	r := all.ResourceSpans().AppendEmpty()
	r.Resource().Attributes().PutStr(serviceName, service)
	list := r.ScopeSpans().AppendEmpty().Spans()
	for i := range records {
		s := list.AppendEmpty()
		s.SetTraceID(numberedID(n))
		s.SetSpanID([8]byte{1, byte(i)})
		s.SetName("load")
		s.SetStartTimestamp(pcommon.NewTimestampFromTime(at))
		s.SetEndTimestamp(pcommon.NewTimestampFromTime(at.Add(time.Millisecond)))
	}
	return ptraceotlp.NewExportRequestFromTraces(all).MarshalProto()
}

func numberedMetrics(service string, n uint64, at time.Time, records int) ([]byte, error) {
	all := pmetric.NewMetrics()
	r := all.ResourceMetrics().AppendEmpty()
	r.Resource().Attributes().PutStr(serviceName, service)
	m := r.ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("load")
	list := m.SetEmptyGauge().DataPoints()
	for i := range records {
		p := list.AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(at))
		p.SetIntValue(int64(n))
		p.Attributes().PutInt("index", int64(i))
	}
	return pmetricotlp.NewExportRequestFromMetrics(all).MarshalProto()
}

func numberedProfiles(service string, n uint64, at time.Time, records int) ([]byte, error) {
	all := pprofile.NewProfiles()
	dic := all.Dictionary()
	dic.StringTable().Append("", "cpu", "nanoseconds")
	dic.MappingTable().AppendEmpty()
	dic.AttributeTable().AppendEmpty()
	dic.LinkTable().AppendEmpty()
	dic.FunctionTable().AppendEmpty()
	dic.LocationTable().AppendEmpty()
	dic.StackTable().AppendEmpty()
	r := all.ResourceProfiles().AppendEmpty()
	r.Resource().Attributes().PutStr(serviceName, service)
	list := r.ScopeProfiles().AppendEmpty().Profiles()
	for i := range records {
		p := list.AppendEmpty()
		p.SetTime(pcommon.NewTimestampFromTime(at))
		p.SetProfileID(numberedID(n))
		p.SampleType().SetTypeStrindex(1)
		p.SampleType().SetUnitStrindex(2)
		p.Samples().AppendEmpty().Values().Append(int64(i))
	}
	return pprofileotlp.NewExportRequestFromProfiles(all).MarshalProto()
}
