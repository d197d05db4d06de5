package otlp

import (
	"slices"
	"strconv"
)

// jsonKind is how a field is written in OTLP/JSON and in protobuf.
type jsonKind uint8

const (
	jsonMessage jsonKind = iota
	jsonString
	jsonBytes   // base64
	jsonID      // hexadecimal: where OTLP/JSON departs from ProtoJSON
	jsonBool    //
	jsonInt32   // varint, negative ones in ten bytes
	jsonUint32  // varint
	jsonInt64   // varint
	jsonUint64  // varint
	jsonSint32  // zigzag
	jsonFixed32 //
	jsonFixed64 //
	jsonSfixed64
	jsonDouble
	jsonEnum
	jsonProfileID // hexadecimal or base64
	jsonPast      // of another version of the profiles' protocol
)

// jsonField is a field of a message.
type jsonField struct {
	num      uint64
	kind     jsonKind
	message  jsonMsg          // of a message
	names    map[string]int32 // of an enumeration
	repeated bool
	presence bool // set to zero is not unset
	always   bool // written even if it did not come, as pdata does: see JSONToProto
}

type jsonMsg uint8

const (
	jsonRequest jsonMsg = iota // four of them, by signal
	_
	_
	_
	jsonResourceLogs
	jsonResourceSpans
	jsonResourceMetrics
	jsonScopeLogs
	jsonScopeSpans
	jsonScopeMetrics
	jsonResource
	jsonEntityRef
	jsonScope
	jsonKeyValue
	jsonAnyValue
	jsonArray
	jsonMap
	jsonLog
	jsonSpan
	jsonEvent
	jsonLink
	jsonStatus
	jsonMetric
	jsonGauge
	jsonSum
	jsonHistogram
	jsonExpHistogram
	jsonSummary
	jsonNumberPoint
	jsonHistogramPoint
	jsonExpPoint
	jsonBuckets
	jsonSummaryPoint
	jsonQuantile
	jsonExemplar
	jsonResourceProfiles
	jsonScopeProfiles
	jsonProfile
	jsonSample
	jsonValueType
	jsonDictionary
	jsonMapping
	jsonLocation
	jsonLine
	jsonFunction
	jsonProfileLink
	jsonAttribute
	jsonStack
	jsonMsgs
)

func jsonOne(num uint64, m jsonMsg) jsonField {
	return jsonField{num: num, kind: jsonMessage, message: m, presence: true}
}

func jsonAlwaysOne(num uint64, m jsonMsg) jsonField {
	return jsonField{num: num, kind: jsonMessage, message: m, presence: true, always: true}
}

func jsonAlwaysID(num uint64) jsonField {
	return jsonField{num: num, kind: jsonID, presence: true, always: true}
}

func jsonMany(num uint64, m jsonMsg) jsonField {
	return jsonField{num: num, kind: jsonMessage, message: m, repeated: true, presence: true}
}

func jsonList(num uint64, k jsonKind) jsonField {
	return jsonField{num: num, kind: k, repeated: true, presence: true}
}
func jsonOptional(num uint64, k jsonKind) jsonField {
	return jsonField{num: num, kind: k, presence: true}
}
func jsonScalar(num uint64, k jsonKind) jsonField { return jsonField{num: num, kind: k} }

func jsonEnumOf(num uint64, names map[string]int32) jsonField {
	return jsonField{num: num, kind: jsonEnum, names: names}
}

func enumNames(prefix string, names ...string) map[string]int32 {
	m := make(map[string]int32, len(names))
	for i, n := range names {
		m[prefix+n] = int32(i)
	}
	return m
}

var (
	severityNames = func() map[string]int32 {
		m := map[string]int32{"SEVERITY_NUMBER_UNSPECIFIED": 0}
		for i, level := range [...]string{"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"} {
			for j := range 4 {
				name := "SEVERITY_NUMBER_" + level
				if j > 0 {
					name += strconv.Itoa(j + 1)
				}
				m[name] = int32(4*i + j + 1)
			}
		}
		return m
	}()
	spanKindNames    = enumNames("SPAN_KIND_", "UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
	statusNames      = enumNames("STATUS_CODE_", "UNSET", "OK", "ERROR")
	temporalityNames = enumNames("AGGREGATION_TEMPORALITY_", "UNSPECIFIED", "DELTA", "CUMULATIVE")
)

type jsonFields map[string]jsonField

// jsonResourceX and jsonScopeX make what the three signals have alike.
func jsonResourceX(items string, m jsonMsg) jsonFields {
	return jsonFields{"resource": jsonAlwaysOne(1, jsonResource), items: jsonMany(2, m), "schemaUrl": jsonScalar(3, jsonString)}
}

func jsonScopeX(records string, m jsonMsg) jsonFields {
	return jsonFields{"scope": jsonAlwaysOne(1, jsonScope), records: jsonMany(2, m), "schemaUrl": jsonScalar(3, jsonString)}
}

// jsonSchema has the fields of every message by their JSON names.
var jsonSchema = [jsonMsgs]jsonFields{
	jsonRequest + jsonMsg(Logs):    {"resourceLogs": jsonMany(1, jsonResourceLogs)},
	jsonRequest + jsonMsg(Traces):  {"resourceSpans": jsonMany(1, jsonResourceSpans)},
	jsonRequest + jsonMsg(Metrics): {"resourceMetrics": jsonMany(1, jsonResourceMetrics)},
	jsonRequest + jsonMsg(Profiles): {
		"resourceProfiles": jsonMany(1, jsonResourceProfiles), "dictionary": jsonAlwaysOne(2, jsonDictionary),
	},

	jsonResourceLogs:    jsonResourceX("scopeLogs", jsonScopeLogs),
	jsonResourceSpans:   jsonResourceX("scopeSpans", jsonScopeSpans),
	jsonResourceMetrics: jsonResourceX("scopeMetrics", jsonScopeMetrics),
	jsonScopeLogs:       jsonScopeX("logRecords", jsonLog),
	jsonScopeSpans:      jsonScopeX("spans", jsonSpan),
	jsonScopeMetrics:    jsonScopeX("metrics", jsonMetric),

	jsonResource: {
		"attributes": jsonMany(1, jsonKeyValue), "droppedAttributesCount": jsonScalar(2, jsonUint32), "entityRefs": jsonMany(3, jsonEntityRef),
	},
	jsonEntityRef: {
		"schemaUrl": jsonScalar(1, jsonString), "type": jsonScalar(2, jsonString), "idKeys": jsonList(3, jsonString),
		"descriptionKeys": jsonList(4, jsonString),
	},
	jsonScope: {
		"name": jsonScalar(1, jsonString), "version": jsonScalar(2, jsonString), "attributes": jsonMany(3, jsonKeyValue),
		"droppedAttributesCount": jsonScalar(4, jsonUint32),
	},
	jsonKeyValue: {"key": jsonScalar(1, jsonString), "value": jsonAlwaysOne(2, jsonAnyValue), "keyStrindex": jsonScalar(3, jsonInt32)},
	jsonAnyValue: {
		"stringValue": jsonOptional(1, jsonString), "boolValue": jsonOptional(2, jsonBool), "intValue": jsonOptional(3, jsonInt64),
		"doubleValue": jsonOptional(4, jsonDouble), "arrayValue": jsonOne(5, jsonArray), "kvlistValue": jsonOne(6, jsonMap),
		"bytesValue": jsonOptional(7, jsonBytes), "stringValueStrindex": jsonOptional(8, jsonInt32),
	},
	jsonArray: {"values": jsonMany(1, jsonAnyValue)},
	jsonMap:   {"values": jsonMany(1, jsonKeyValue)},

	jsonLog: {
		"timeUnixNano": jsonScalar(1, jsonFixed64), "severityNumber": jsonEnumOf(2, severityNames), "severityText": jsonScalar(3, jsonString),
		"body": jsonAlwaysOne(5, jsonAnyValue), "attributes": jsonMany(6, jsonKeyValue), "droppedAttributesCount": jsonScalar(7, jsonUint32),
		"flags": jsonScalar(8, jsonFixed32), "traceId": jsonAlwaysID(9), "spanId": jsonAlwaysID(10),
		"observedTimeUnixNano": jsonScalar(11, jsonFixed64), "eventName": jsonScalar(12, jsonString),
	},

	jsonSpan: {
		"traceId": jsonAlwaysID(1), "spanId": jsonAlwaysID(2), "traceState": jsonScalar(3, jsonString),
		"parentSpanId": jsonAlwaysID(4), "name": jsonScalar(5, jsonString), "kind": jsonEnumOf(6, spanKindNames),
		"startTimeUnixNano": jsonScalar(7, jsonFixed64), "endTimeUnixNano": jsonScalar(8, jsonFixed64),
		"attributes": jsonMany(9, jsonKeyValue), "droppedAttributesCount": jsonScalar(10, jsonUint32), "events": jsonMany(11, jsonEvent),
		"droppedEventsCount": jsonScalar(12, jsonUint32), "links": jsonMany(13, jsonLink), "droppedLinksCount": jsonScalar(14, jsonUint32),
		"status": jsonAlwaysOne(15, jsonStatus), "flags": jsonScalar(16, jsonFixed32),
	},
	jsonEvent: {
		"timeUnixNano": jsonScalar(1, jsonFixed64), "name": jsonScalar(2, jsonString), "attributes": jsonMany(3, jsonKeyValue),
		"droppedAttributesCount": jsonScalar(4, jsonUint32),
	},
	jsonLink: {
		"traceId": jsonAlwaysID(1), "spanId": jsonAlwaysID(2), "traceState": jsonScalar(3, jsonString),
		"attributes": jsonMany(4, jsonKeyValue), "droppedAttributesCount": jsonScalar(5, jsonUint32), "flags": jsonScalar(6, jsonFixed32),
	},
	jsonStatus: {"message": jsonScalar(2, jsonString), "code": jsonEnumOf(3, statusNames)},

	jsonMetric: {
		"name": jsonScalar(1, jsonString), "description": jsonScalar(2, jsonString), "unit": jsonScalar(3, jsonString),
		"gauge": jsonOne(5, jsonGauge), "sum": jsonOne(7, jsonSum), "histogram": jsonOne(9, jsonHistogram),
		"exponentialHistogram": jsonOne(10, jsonExpHistogram), "summary": jsonOne(11, jsonSummary), "metadata": jsonMany(12, jsonKeyValue),
	},
	jsonGauge: {"dataPoints": jsonMany(1, jsonNumberPoint)},
	jsonSum: {
		"dataPoints": jsonMany(1, jsonNumberPoint), "aggregationTemporality": jsonEnumOf(2, temporalityNames),
		"isMonotonic": jsonScalar(3, jsonBool),
	},
	jsonHistogram:    {"dataPoints": jsonMany(1, jsonHistogramPoint), "aggregationTemporality": jsonEnumOf(2, temporalityNames)},
	jsonExpHistogram: {"dataPoints": jsonMany(1, jsonExpPoint), "aggregationTemporality": jsonEnumOf(2, temporalityNames)},
	jsonSummary:      {"dataPoints": jsonMany(1, jsonSummaryPoint)},
	jsonNumberPoint: {
		"startTimeUnixNano": jsonScalar(2, jsonFixed64), "timeUnixNano": jsonScalar(3, jsonFixed64), "asDouble": jsonOptional(4, jsonDouble),
		"exemplars": jsonMany(5, jsonExemplar), "asInt": jsonOptional(6, jsonSfixed64), "attributes": jsonMany(7, jsonKeyValue),
		"flags": jsonScalar(8, jsonUint32),
	},
	jsonHistogramPoint: {
		"startTimeUnixNano": jsonScalar(2, jsonFixed64), "timeUnixNano": jsonScalar(3, jsonFixed64), "count": jsonScalar(4, jsonFixed64),
		"sum": jsonOptional(5, jsonDouble), "bucketCounts": jsonList(6, jsonFixed64), "explicitBounds": jsonList(7, jsonDouble),
		"exemplars": jsonMany(8, jsonExemplar), "attributes": jsonMany(9, jsonKeyValue), "flags": jsonScalar(10, jsonUint32),
		"min": jsonOptional(11, jsonDouble), "max": jsonOptional(12, jsonDouble),
	},
	jsonExpPoint: {
		"attributes": jsonMany(1, jsonKeyValue), "startTimeUnixNano": jsonScalar(2, jsonFixed64), "timeUnixNano": jsonScalar(3, jsonFixed64),
		"count": jsonScalar(4, jsonFixed64), "sum": jsonOptional(5, jsonDouble), "scale": jsonScalar(6, jsonSint32),
		"zeroCount": jsonScalar(7, jsonFixed64), "positive": jsonAlwaysOne(8, jsonBuckets), "negative": jsonAlwaysOne(9, jsonBuckets),
		"flags": jsonScalar(10, jsonUint32), "exemplars": jsonMany(11, jsonExemplar), "min": jsonOptional(12, jsonDouble),
		"max": jsonOptional(13, jsonDouble), "zeroThreshold": jsonScalar(14, jsonDouble),
	},
	jsonBuckets: {"offset": jsonScalar(1, jsonSint32), "bucketCounts": jsonList(2, jsonUint64)},
	jsonSummaryPoint: {
		"startTimeUnixNano": jsonScalar(2, jsonFixed64), "timeUnixNano": jsonScalar(3, jsonFixed64), "count": jsonScalar(4, jsonFixed64),
		"sum": jsonScalar(5, jsonDouble), "quantileValues": jsonMany(6, jsonQuantile), "attributes": jsonMany(7, jsonKeyValue),
		"flags": jsonScalar(8, jsonUint32),
	},
	jsonQuantile: {"quantile": jsonScalar(1, jsonDouble), "value": jsonScalar(2, jsonDouble)},
	jsonExemplar: {
		"timeUnixNano": jsonScalar(2, jsonFixed64), "asDouble": jsonOptional(3, jsonDouble), "spanId": jsonAlwaysID(4),
		"traceId": jsonAlwaysID(5), "asInt": jsonOptional(6, jsonSfixed64), "filteredAttributes": jsonMany(7, jsonKeyValue),
	},

	jsonResourceProfiles: jsonResourceX("scopeProfiles", jsonScopeProfiles),
	jsonScopeProfiles:    jsonScopeX("profiles", jsonProfile),
	jsonProfile: jsonWithPast(jsonFields{
		"sampleType": jsonAlwaysOne(1, jsonValueType), "samples": jsonMany(2, jsonSample), "timeUnixNano": jsonScalar(3, jsonFixed64),
		"durationNano": jsonScalar(4, jsonUint64), "periodType": jsonAlwaysOne(5, jsonValueType), "period": jsonScalar(6, jsonInt64),
		"profileId":              {num: 7, kind: jsonProfileID, presence: true, always: true},
		"droppedAttributesCount": jsonScalar(8, jsonUint32), "originalPayloadFormat": jsonScalar(9, jsonString),
		"originalPayload": jsonScalar(10, jsonBytes), "attributeIndices": jsonList(11, jsonInt32),
	}, "sample", "mappingTable", "locationTable", "locationIndices", "functionTable", "attributeTable", "linkTable", "stringTable",
		"timeNanos", "durationNanos", "commentStrindices"),
	jsonSample: jsonWithPast(jsonFields{
		"stackIndex": jsonScalar(1, jsonInt32), "attributeIndices": jsonList(2, jsonInt32), "linkIndex": jsonScalar(3, jsonInt32),
		"values": jsonList(4, jsonInt64), "timestampsUnixNano": jsonList(5, jsonFixed64),
	}, "value", "locationsStartIndex", "locationsLength"),
	jsonValueType: {"typeStrindex": jsonScalar(1, jsonInt32), "unitStrindex": jsonScalar(2, jsonInt32)},
	jsonDictionary: {
		"mappingTable": jsonMany(1, jsonMapping), "locationTable": jsonMany(2, jsonLocation), "functionTable": jsonMany(3, jsonFunction),
		"linkTable": jsonMany(4, jsonProfileLink), "stringTable": jsonList(5, jsonString), "attributeTable": jsonMany(6, jsonAttribute),
		"stackTable": jsonMany(7, jsonStack),
	},
	jsonMapping: {
		"memoryStart": jsonScalar(1, jsonUint64), "memoryLimit": jsonScalar(2, jsonUint64), "fileOffset": jsonScalar(3, jsonUint64),
		"filenameStrindex": jsonScalar(4, jsonInt32), "attributeIndices": jsonList(5, jsonInt32),
	},
	jsonLocation: {
		"mappingIndex": jsonScalar(1, jsonInt32), "address": jsonScalar(2, jsonUint64), "lines": jsonMany(3, jsonLine),
		"attributeIndices": jsonList(4, jsonInt32),
	},
	jsonLine: {
		"functionIndex": jsonScalar(1, jsonInt32), "line": jsonScalar(2, jsonInt64), "column": jsonScalar(3, jsonInt64),
	},
	jsonFunction: {
		"nameStrindex": jsonScalar(1, jsonInt32), "systemNameStrindex": jsonScalar(2, jsonInt32),
		"filenameStrindex": jsonScalar(3, jsonInt32), "startLine": jsonScalar(4, jsonInt64),
	},
	jsonProfileLink: {"traceId": jsonAlwaysID(1), "spanId": jsonAlwaysID(2)},
	jsonAttribute: {
		"keyStrindex": jsonScalar(1, jsonInt32), "value": jsonAlwaysOne(2, jsonAnyValue), "unitStrindex": jsonScalar(3, jsonInt32),
	},
	jsonStack: {"locationIndices": jsonList(1, jsonInt32)},
}

// jsonWithPast adds to the fields of a message the names of those that it had before OTLP 1.10.
func jsonWithPast(f jsonFields, names ...string) jsonFields {
	for _, name := range names {
		f[name] = jsonField{kind: jsonPast}
	}
	return f
}

// jsonAlways has the numbers of the fields of each message that are always written, in ascending order.
var jsonAlways = func() (out [jsonMsgs][]uint64) {
	for m, fields := range jsonSchema {
		for _, f := range fields {
			if f.always {
				out[m] = append(out[m], f.num)
			}
		}
		slices.Sort(out[m])
	}
	return out
}()
