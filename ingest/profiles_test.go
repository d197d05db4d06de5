package ingest

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pprofile"
	"go.opentelemetry.io/collector/pdata/pprofile/pprofileotlp"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/headgate-io/headgate/auth"
	"github.com/headgate-io/headgate/storage/schema"
)

// profiles is a request of n profiles with two samples each, of which the first bad ones point beyond the dictionary.
// Its resource says that it is another tenant's, by reference: pdata writes attributes so.
func profiles(n, bad int) pprofileotlp.ExportRequest {
	pd := pprofile.NewProfiles()
	dic := pd.Dictionary()
	dic.StringTable().Append("", "main", "main.go", "cpu", "nanoseconds")
	dic.MappingTable().AppendEmpty()
	dic.AttributeTable().AppendEmpty()
	dic.LinkTable().AppendEmpty()
	dic.FunctionTable().AppendEmpty()
	f := dic.FunctionTable().AppendEmpty()
	f.SetNameStrindex(1)
	f.SetFilenameStrindex(2)
	dic.LocationTable().AppendEmpty()
	line := dic.LocationTable().AppendEmpty().Lines().AppendEmpty()
	line.SetFunctionIndex(1)
	line.SetLine(42)
	dic.StackTable().AppendEmpty()
	dic.StackTable().AppendEmpty().LocationIndices().Append(1)

	rp := pd.ResourceProfiles().AppendEmpty()
	rp.Resource().Attributes().PutStr("service.name", "checkout")
	rp.Resource().Attributes().PutStr("tenant.id", "forged")
	sp := rp.ScopeProfiles().AppendEmpty()
	for i := range n {
		p := sp.Profiles().AppendEmpty()
		p.SetTime(1_700_000_000_000_000_000)
		p.SetProfileID([16]byte{byte(i + 1)})
		p.SampleType().SetTypeStrindex(3)
		p.SampleType().SetUnitStrindex(4)
		for j := range 2 {
			s := p.Samples().AppendEmpty()
			s.Values().Append(int64(j))
			if s.SetStackIndex(1); i < bad {
				s.SetStackIndex(9)
			}
		}
	}
	return pprofileotlp.NewExportRequestFromProfiles(pd)
}

const (
	profilesURL    = "/v1development/profiles"
	profilesMethod = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"
)

// TestProfilesAreStoredAndBilledOnEveryTransport: the same bytes cost the same, and two rows per profile are there.
func TestProfilesAreStoredAndBilledOnEveryTransport(t *testing.T) {
	g := start(t, Options{Profiles: true})
	raw := encode(t, profiles(3, 0), protobuf)
	for name, send := range map[string]func(key string){
		"grpc": func(key string) {
			if _, err := pprofileotlp.NewGRPCClient(g.dial()).Export(withKey(t.Context(), key), profiles(3, 0)); err != nil {
				t.Errorf("grpc: %v", err)
			}
		},
		"grpc-gzip": func(key string) {
			if _, err := pprofileotlp.NewGRPCClient(g.dial()).Export(withKey(t.Context(), key), profiles(3, 0), grpc.UseCompressor("gzip")); err != nil {
				t.Errorf("grpc gzip: %v", err)
			}
		},
		"http-protobuf": func(key string) {
			want200(t, g.post(profilesURL, bytes.NewReader(raw), "key", key, "Content-Type", protoType), protoType, "")
		},
		"http-json": func(key string) {
			text := encode(t, profiles(3, 0), jsonEncoding)
			want200(t, g.post(profilesURL+"/", bytes.NewReader(text), "key", key, "Content-Type", jsonType), jsonType, "{}")
		},
	} {
		id, key := g.tenant(name, auth.NewTenant{})
		send(key)
		if bill := g.billed(id); bill.Records != 3 || bill.Requests != 1 || bill.BilledBytes != int64(len(raw)) {
			t.Errorf("%s: billed %+v, want %d bytes and 3 records", name, bill, len(raw))
		}
		if n := g.rows(schema.Profiles, id); n != 6 {
			t.Errorf("%s: %d rows, want 6", name, n)
		}
		var wrong uint64
		if err := g.conn.QueryRow(t.Context(), `SELECT count() FROM otel_profiles WHERE ResourceAttributes['tenant.id'] != TenantId
			OR ServiceName != 'checkout' OR SampleType != 'cpu' OR Frames.Function != ['main'] OR Frames.Line != [42]`).Scan(&wrong); err != nil || wrong != 0 {
			t.Errorf("%s: %d rows are not as sent, %v", name, wrong, err)
		}
	}
}

func TestS2RejectedProfilesAreCountedNotTheirSamples(t *testing.T) {
	g := start(t, Options{Profiles: true})
	id, key := g.tenant("acme", auth.NewTenant{})
	resp, err := pprofileotlp.NewGRPCClient(g.dial()).Export(withKey(t.Context(), key), profiles(3, 1))
	if err != nil || resp.PartialSuccess().RejectedProfiles() != 1 {
		t.Errorf("grpc: %d rejected, %v", resp.PartialSuccess().RejectedProfiles(), err)
	}
	a := g.post(profilesURL, bytes.NewReader(encode(t, profiles(3, 2), jsonEncoding)), "key", key, "Content-Type", jsonType)
	if a.status != http.StatusOK || !strings.Contains(string(a.body), `"rejectedProfiles":"2"`) || !strings.Contains(string(a.body), "invalid index") {
		t.Errorf("http: %d %s", a.status, a.body)
	}
	if bill := g.billed(id); bill.Records != 3 || bill.RejectedRecords != 3 || g.rows(schema.Profiles, id) != 6 {
		t.Errorf("billed %+v, %d rows", bill, g.rows(schema.Profiles, id))
	}
}

// TestP7OldProfilesAreRefusedPolitely sends a sample of OTLP 1.7, whose values stand in the field of a link.
func TestP7OldProfilesAreRefusedPolitely(t *testing.T) {
	g := start(t, Options{Profiles: true})
	_, key := g.tenant("acme", auth.NewTenant{})
	old := []byte{0x0a, 10, 0x12, 8, 0x12, 6, 0x12, 4, 0x1a, 2, 1, 2}
	a := g.post(profilesURL, bytes.NewReader(old), "key", key, "Content-Type", protoType)
	var st spb.Status
	if err := proto.Unmarshal(a.body, &st); err != nil || a.status != http.StatusBadRequest || !strings.Contains(st.GetMessage(), "profiles proto version") {
		t.Errorf("http: %d %q, %v", a.status, st.GetMessage(), err)
	}
	err := g.dial().Invoke(withKey(t.Context(), key), profilesMethod, old, new([]byte), grpc.ForceCodecV2(bytesCodec{}))
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "profiles proto version") {
		t.Errorf("grpc: %v", err)
	}
}

// TestG2ProfilesAreOffUnlessSwitchedOn: the answer says how.
func TestG2ProfilesAreOffUnlessSwitchedOn(t *testing.T) {
	g := start(t, Options{})
	id, key := g.tenant("acme", auth.NewTenant{})
	_, err := pprofileotlp.NewGRPCClient(g.dial()).Export(withKey(t.Context(), key), profiles(1, 0))
	if status.Code(err) != codes.Unimplemented || !strings.Contains(err.Error(), "--profiles") {
		t.Errorf("grpc: %v", err)
	}
	for _, enc := range []encoding{protobuf, jsonEncoding} {
		a := g.post(profilesURL, bytes.NewReader(encode(t, profiles(1, 0), enc)), "key", key, "Content-Type", enc.contentType())
		unmarshal := proto.Unmarshal
		if enc == jsonEncoding {
			unmarshal = protojson.Unmarshal
		}
		var st spb.Status
		if err := unmarshal(a.body, &st); err != nil || a.status != http.StatusNotFound || !strings.Contains(st.GetMessage(), "--profiles") {
			t.Errorf("http: %d %q, %v", a.status, a.body, err)
		}
	}
	if bill := g.billed(id); bill.BilledBytes != 0 || g.rows(schema.Profiles, id) != 0 {
		t.Errorf("billed %+v", bill)
	}
}
