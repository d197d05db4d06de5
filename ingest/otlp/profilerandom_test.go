package otlp

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"testing"

	"go.opentelemetry.io/collector/pdata/pprofile/pprofileotlp"

	"github.com/headgate-io/headgate/internal/chtest"
	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/schema"
)

func TestRandomProfilesBecomeTheRowsThatPdataSees(t *testing.T) {
	st := testStamp(t)
	d := NewDecoder(Limits{})
	accepted, rejected := 0, 0
	for seed := range uint64(300) {
		body := newGen(seed).profilesRequest(t, seed%2 == 1)
		res, err := d.Decode(Profiles, body, st)
		if errors.Is(err, errProfilesVersion) {
			continue // a sample with a broken index and without values looks like one of OTLP 1.9
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		want, err := profileReference(body, st)
		if err != nil {
			t.Fatalf("seed %d: pdata: %v", seed, err)
		}
		got := readRows(t, res)
		got.billed = want.billed - int64(wireOfRejected(t, body, want.verdictsOfProfiles()))
		if res.BilledBytes != got.billed {
			t.Errorf("billed %d, want %d", res.BilledBytes, got.billed)
		}
		got.billed = want.billed
		compareSets(t, got, want)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		accepted, rejected = accepted+res.Accepted, rejected+res.Rejected
	}
	if accepted < 200 || rejected < 20 {
		t.Errorf("%d profiles accepted, %d rejected: the test says too little", accepted, rejected)
	}
}

// The columns are those of the migration, and what the engine gives back is what the reference says.
func TestProfilesComeBackFromTheEngine(t *testing.T) {
	conn := chtest.Start(t).Open(t, chtest.Database(t))
	if err := storage.Migrate(t.Context(), conn, schema.Migrations, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	st := testStamp(t)
	st.RetentionDays = 60_000
	d := NewDecoder(Limits{})
	var want []row
	days := map[uint16]bool{}
	for seed := range uint64(20) {
		body := newGen(2000+seed).profilesRequest(t, false)
		res, err := d.Decode(Profiles, body, st)
		if err != nil {
			t.Fatal(err)
		}
		ref, err := profileReference(body, st)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range res.Rows {
			chtest.Insert(t, conn, r.Table, r.Encode().AppendTo(nil, testRunID))
			for _, day := range r.Days {
				days[day] = true
			}
		}
		want = append(want, ref.tables[schema.Profiles]...)
	}
	if len(want) < 20 {
		t.Fatalf("%d rows", len(want))
	}
	got, expect := stored(t, conn, schema.Profiles, want[0]), lines(want)
	if !slices.Equal(got, expect) {
		for i := range min(len(got), len(expect)) {
			if got[i] != expect[i] {
				t.Fatalf("first difference:\n got %s\nwant %s", got[i], expect[i])
			}
		}
		t.Fatalf("%d rows, want %d", len(got), len(expect))
	}
	checkDays(t, conn, schema.Profiles, days)
}

func TestX4ProfilesTruncatedAnywhereAreRefusedOrWhole(t *testing.T) {
	st := testStamp(t)
	d := NewDecoder(Limits{})
	for seed := range uint64(6) {
		body := newGen(seed).profilesRequest(t, false)
		for n := range body {
			_, err := d.Decode(Profiles, body[:n], st)
			if _, ok := split(body[:n]); ok != (err == nil) {
				t.Fatalf("cut at %d of %d: %v, want an error: %v", n, len(body), err, !ok)
			}
			if err != nil && !errors.Is(err, ErrMalformed) {
				t.Fatalf("cut at %d: %v is not ErrMalformed", n, err)
			}
		}
	}
}

// D17: JSON as pdata writes it is the same request.
func TestD17ProfilesInJSONGiveTheSameRows(t *testing.T) {
	st := testStamp(t)
	d := NewDecoder(Limits{})
	for seed := range uint64(60) {
		body := newGen(seed).profilesRequest(t, false)
		req := pprofileotlp.NewExportRequest()
		if err := req.UnmarshalProto(body); err != nil {
			t.Fatal(err)
		}
		text, err := req.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		converted, err := JSONToProto(Profiles, text)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		plain, err := req.MarshalProto()
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Decode(Profiles, converted, st)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		g := readRows(t, got)
		want, err := d.Decode(Profiles, plain, st)
		if err != nil {
			t.Fatal(err)
		}
		w := readRows(t, want)
		// The text of invalid UTF-8 differs in length between the encodings.
		g.billed = w.billed
		compareSets(t, g, w)
		if t.Failed() {
			t.Fatalf("seed %d\n%s", seed, text)
		}
	}
}

// verdictsOfProfiles is verdicts with one per profile: the reference notes one per row.
func (s rowSet) verdictsOfProfiles() (out []bool) {
	rows, at := s.tables[schema.Profiles], 0
	for _, ok := range s.verdicts {
		if !ok {
			out = append(out, false)
			continue
		}
		if rows[at]["SampleIndex"] == "0" {
			out = append(out, true)
		}
		at++
	}
	return out
}

// wireOfRejected adds up the encoded fields of the profiles that were rejected.
func wireOfRejected(t *testing.T, body []byte, accepted []bool) (n int) {
	t.Helper()
	i := 0
	each := func(b []byte, num int32, f func(part)) {
		parts, _ := split(b)
		for _, p := range parts {
			if int32(p.num) == num {
				f(p)
			}
		}
	}
	each(body, 1, func(resource part) {
		each(resource.body, 2, func(scope part) {
			each(scope.body, 2, func(p part) {
				if !accepted[i] {
					n += len(p.appendTo(nil))
				}
				i++
			})
		})
	})
	return n
}

func FuzzProfiles(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(newGen(seed).profilesRequest(f, seed%2 == 1))
	}
	st := testStamp(f)
	d := NewDecoder(Limits{})
	next := newGen(2000).profilesRequest(f, false)
	f.Fuzz(func(t *testing.T, body []byte) {
		res, err := d.Decode(Profiles, body, st)
		if err == nil {
			got := readRows(t, res)
			rows := len(got.tables[schema.Profiles])
			if bound := (freeRowBytes + defaultMaxExpansion*len(body)) / d.profiles.rowBytes; rows > bound {
				t.Fatalf("%d rows of %d bytes, want at most %d", rows, len(body), bound)
			}
			if res.BilledBytes < 0 || res.BilledBytes > int64(len(body)) {
				t.Fatalf("billed %d bytes of %d", res.BilledBytes, len(body))
			}
			// pdata refuses, among others, wrong wire types at places that are unknown fields here. What both read is the same.
			if want, err := profileReference(body, st); err == nil && canonicalProfiles(body) && res.Rejected == 0 {
				got.billed = want.billed
				compareSets(t, got, want)
			}
		}
		res, err = d.Decode(Profiles, next, st)
		if err != nil || res.Rejected != 0 {
			t.Fatalf("the next request: %d rejected, %v", res.Rejected, err)
		}
		want, _ := profileReference(next, st)
		got := readRows(t, res)
		got.billed = want.billed
		compareSets(t, got, want)
	})
}

// canonicalProfiles reports whether pdata, marshaling what it has read, writes a request of the same length: then body
// has no unknown fields, no split messages and nothing else that pdata reads otherwise than protobuf does.
func canonicalProfiles(body []byte) bool {
	req := pprofileotlp.NewExportRequest()
	if req.UnmarshalProto(body) != nil {
		return false
	}
	again, err := req.MarshalProto()
	return err == nil && bytes.Equal(again, body)
}
