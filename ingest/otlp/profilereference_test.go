package otlp

import (
	"math"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pprofile"
	"go.opentelemetry.io/collector/pdata/pprofile/pprofileotlp"

	"github.com/headgate-io/headgate/storage/schema"
)

// profiles makes a random request of profiles. Few of its indices point nowhere.
func (g gen) profiles(broken bool) pprofile.Profiles {
	pd := pprofile.NewProfiles()
	dic := pd.Dictionary()
	n := func() int { return 1 + g.IntN(6) }
	strings, attrs, functions, links, mappings, locations, stacks := 1+g.IntN(20), n(), n(), n(), n(), n(), n()
	index := func(of int) int32 {
		if broken && g.one(400) {
			return []int32{-1, int32(of), math.MaxInt32, math.MinInt32}[g.IntN(4)]
		}
		return int32(g.IntN(of))
	}
	list := func(l pcommon.Int32Slice, of int) {
		for range g.IntN(4) {
			l.Append(index(of))
		}
	}
	dic.StringTable().Append("")
	for range strings - 1 {
		dic.StringTable().Append(g.str())
	}
	for i := range attrs {
		if a := dic.AttributeTable().AppendEmpty(); i > 0 {
			a.SetKeyStrindex(index(strings))
			a.SetUnitStrindex(index(strings))
			g.value(a.Value(), 0)
		}
	}
	for i := range functions {
		if f := dic.FunctionTable().AppendEmpty(); i > 0 {
			f.SetNameStrindex(index(strings))
			f.SetSystemNameStrindex(index(strings))
			f.SetFilenameStrindex(index(strings))
			f.SetStartLine(g.int())
		}
	}
	for i := range links {
		if l := dic.LinkTable().AppendEmpty(); i > 0 {
			l.SetTraceID(g.traceID())
			l.SetSpanID(g.spanID())
		}
	}
	for i := range mappings {
		if m := dic.MappingTable().AppendEmpty(); i > 0 {
			m.SetMemoryStart(g.Uint64())
			m.SetMemoryLimit(uint64(g.u32()))
			m.SetFileOffset(uint64(g.u32()))
			m.SetFilenameStrindex(index(strings))
			list(m.AttributeIndices(), attrs)
		}
	}
	for i := range locations {
		if l := dic.LocationTable().AppendEmpty(); i > 0 {
			l.SetMappingIndex(index(mappings))
			l.SetAddress(g.Uint64())
			for range g.IntN(4) {
				line := l.Lines().AppendEmpty()
				line.SetFunctionIndex(index(functions))
				line.SetLine(g.int())
				line.SetColumn(int64(g.u32()))
			}
			list(l.AttributeIndices(), attrs)
		}
	}
	for i := range stacks {
		if s := dic.StackTable().AppendEmpty(); i > 0 {
			list(s.LocationIndices(), locations)
		}
	}
	for range 1 + g.IntN(3) {
		rp := pd.ResourceProfiles().AppendEmpty()
		rp.SetSchemaUrl(g.str())
		g.resource(rp.Resource())
		for range g.IntN(3) {
			sp := rp.ScopeProfiles().AppendEmpty()
			sp.SetSchemaUrl(g.str())
			g.scope(sp.Scope())
			for range g.IntN(4) {
				p := sp.Profiles().AppendEmpty()
				p.SampleType().SetTypeStrindex(index(strings))
				p.SampleType().SetUnitStrindex(index(strings))
				p.PeriodType().SetTypeStrindex(index(strings))
				p.PeriodType().SetUnitStrindex(index(strings))
				p.SetTime(g.time())
				p.SetDurationNano(g.Uint64())
				p.SetPeriod(g.int())
				p.SetProfileID(pprofile.ProfileID(g.traceID()))
				p.SetDroppedAttributesCount(g.u32())
				p.SetOriginalPayloadFormat(g.str())
				p.OriginalPayload().FromRaw(g.bytes(g.IntN(20)))
				list(p.AttributeIndices(), attrs)
				for range g.IntN(4) {
					s := p.Samples().AppendEmpty()
					s.SetStackIndex(index(stacks))
					s.SetLinkIndex(index(links))
					list(s.AttributeIndices(), attrs)
					values, times := 1+g.IntN(3), g.IntN(3)
					if times > 0 {
						times = values
					}
					if times > 0 && g.one(3) {
						values = 0
					}
					if broken && g.one(40) {
						values, times = g.IntN(3), g.IntN(3)
					}
					for range values {
						s.Values().Append(g.int())
					}
					for range times {
						s.TimestampsUnixNano().Append(uint64(g.time()))
					}
				}
			}
		}
	}
	return pd
}

func (g gen) profilesRequest(t testing.TB, broken bool) []byte {
	t.Helper()
	b, err := pprofileotlp.NewExportRequestFromProfiles(g.profiles(broken)).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	parts, _ := split(b)
	resources := slices.DeleteFunc(slices.Clone(parts), func(p part) bool { return p.num != 1 })
	dictionary := slices.DeleteFunc(parts, func(p part) bool { return p.num == 1 })
	return append(g.withEntityRefs(join(resources)), join(dictionary)...)
}

// profileReference says what body must become, from pdata's view of it.
func profileReference(body []byte, st Stamp) (rowSet, error) {
	pd, err := (&pprofile.ProtoUnmarshaler{}).UnmarshalProfiles(body)
	if err != nil {
		return rowSet{}, err
	}
	r := profileRef{refBuilder: newRef(st), dic: pd.Dictionary()}
	r.entities = refEntities(body)
	r.set.billed = int64(len(body))
	for i, rp := range pd.ResourceProfiles().All() {
		for _, sp := range rp.ScopeProfiles().All() {
			origin := r.origin(i, rp.Resource(), rp.SchemaUrl(), sp.Scope(), sp.SchemaUrl())
			for _, p := range sp.Profiles().All() {
				why := r.fault(p)
				if why == none && tooDeep(withoutTenant(rp.Resource().Attributes()), sp.Scope().Attributes()) {
					why = TooDeep
				}
				if why != none {
					r.reject(why)
					continue
				}
				r.profile(p, origin)
			}
		}
	}
	return r.set, nil
}

type profileRef struct {
	*refBuilder
	dic pprofile.ProfilesDictionary
}

func within(i int32, n int) bool { return i >= 0 && int(i) < n }

func (r profileRef) strings(all ...int32) bool {
	for _, i := range all {
		if !within(i, r.dic.StringTable().Len()) {
			return false
		}
	}
	return true
}

func (r profileRef) attrsFit(list pcommon.Int32Slice) bool {
	for _, i := range list.All() {
		if !within(i, r.dic.AttributeTable().Len()) {
			return false
		}
		if a := r.dic.AttributeTable().At(int(i)); !r.strings(a.KeyStrindex(), a.UnitStrindex()) {
			return false
		}
	}
	return true
}

func (r profileRef) stackFits(i int32) bool {
	if !within(i, r.dic.StackTable().Len()) {
		return false
	}
	for _, at := range r.dic.StackTable().At(int(i)).LocationIndices().All() {
		if !within(at, r.dic.LocationTable().Len()) {
			return false
		}
		l := r.dic.LocationTable().At(int(at))
		if !r.attrsFit(l.AttributeIndices()) || !within(l.MappingIndex(), r.dic.MappingTable().Len()) {
			return false
		}
		m := r.dic.MappingTable().At(int(l.MappingIndex()))
		if !r.strings(m.FilenameStrindex()) || !r.attrsFit(m.AttributeIndices()) {
			return false
		}
		for _, line := range l.Lines().All() {
			if !within(line.FunctionIndex(), r.dic.FunctionTable().Len()) {
				return false
			}
			f := r.dic.FunctionTable().At(int(line.FunctionIndex()))
			if !r.strings(f.NameStrindex(), f.SystemNameStrindex(), f.FilenameStrindex()) {
				return false
			}
		}
	}
	return true
}

// fault says why p is rejected: the first thing in the order of its fields.
func (r profileRef) fault(p pprofile.Profile) Reason {
	for _, s := range p.Samples().All() {
		if !r.attrsFit(s.AttributeIndices()) || !r.stackFits(s.StackIndex()) || !within(s.LinkIndex(), r.dic.LinkTable().Len()) {
			return InvalidIndex
		}
		if v, n := s.Values().Len(), s.TimestampsUnixNano().Len(); v+n == 0 || v > 0 && n > 0 && v != n {
			return InvalidSample
		}
	}
	if !r.attrsFit(p.AttributeIndices()) || !r.strings(p.SampleType().TypeStrindex(), p.SampleType().UnitStrindex(),
		p.PeriodType().TypeStrindex(), p.PeriodType().UnitStrindex()) {
		return InvalidIndex
	}
	return none
}

func (r profileRef) str(i int32) string { return clean(r.dic.StringTable().At(int(i))) }

// attrs returns the attributes of a list, the last of each key, and adds their units.
func (r profileRef) attrs(list pcommon.Int32Slice, units map[string]string) pcommon.Map {
	m := pcommon.NewMap()
	seen := map[string]bool{}
	for n := list.Len() - 1; n >= 0; n-- {
		i := list.At(n)
		a := r.dic.AttributeTable().At(int(i))
		key := r.str(a.KeyStrindex())
		if _, ok := units[key]; a.UnitStrindex() != 0 && !ok && units != nil {
			units[key] = r.str(a.UnitStrindex())
		}
		if i != 0 && !seen[key] {
			seen[key] = true
			a.Value().CopyTo(m.PutEmpty(key))
		}
	}
	return m
}

func (r profileRef) profile(p pprofile.Profile, origin row) {
	common := row{
		"TimestampSource": "time", "Duration": show(p.DurationNano()), "ProfileId": p.ProfileID().String(),
		"SampleType": r.str(p.SampleType().TypeStrindex()), "SampleUnit": r.str(p.SampleType().UnitStrindex()),
		"PeriodType": r.str(p.PeriodType().TypeStrindex()), "PeriodUnit": r.str(p.PeriodType().UnitStrindex()),
		"Period": show(p.Period()), "DroppedAttrCount": show(p.DroppedAttributesCount()),
		"OriginalPayloadFormat": clean(p.OriginalPayloadFormat()),
	}
	at := p.Time()
	if at == 0 {
		at, common["TimestampSource"] = pcommon.Timestamp(r.st.Received.UnixNano()), "received"
	}
	common.refTime("Timestamp", at, latestSorted)
	for k, v := range origin {
		common[k] = v
	}
	samples := p.Samples()
	if samples.Len() == 0 {
		samples = pprofile.NewSampleSlice()
		samples.AppendEmpty()
	}
	payload := string(p.OriginalPayload().AsRaw())
	for i, s := range samples.All() {
		own := r.sample(s, p.AttributeIndices())
		own["SampleIndex"], own["OriginalPayload"] = show(uint32(i)), payload
		payload = ""
		r.add(schema.Profiles, common, own)
	}
	r.set.accepted += 1 - samples.Len()
}

func (r profileRef) sample(s pprofile.Sample, ofProfile pcommon.Int32Slice) row {
	units := map[string]string{}
	attrs := r.attrs(s.AttributeIndices(), units)
	profileAttrs := r.attrs(ofProfile, units)
	values, times := append([]int64{}, s.Values().AsRaw()...), []time.Time{}
	for _, ns := range s.TimestampsUnixNano().All() {
		times = append(times, refUnix(pcommon.Timestamp(ns)))
		if s.Values().Len() == 0 {
			values = append(values, 1)
		}
	}
	link := r.dic.LinkTable().At(int(s.LinkIndex()))
	out := row{
		"Values": show(values), "Timestamps": show(times), "TraceId": link.TraceID().String(), "SpanId": link.SpanID().String(),
		"Attributes": show(refMap(attrs)), "AttributesKinds": refKinds(attrs), "AttributeUnits": show(units),
		"ProfileAttributes": show(refMap(profileAttrs)), "ProfileAttributesKinds": refKinds(profileAttrs),
	}
	r.frames(out, r.dic.StackTable().At(int(s.StackIndex())))
	return out
}

func (r profileRef) frames(out row, stack pprofile.Stack) {
	function, system, file, mapping := []string{}, []string{}, []string{}, []string{}
	start, lines, column := []int64{}, []int64{}, []int64{}
	address, low, limit, offset := []uint64{}, []uint64{}, []uint64{}, []uint64{}
	inlined := []bool{}
	attrs, mappingAttrs := []map[string]string{}, []map[string]string{}
	for _, at := range stack.LocationIndices().All() {
		l := r.dic.LocationTable().At(int(at))
		m := r.dic.MappingTable().At(int(l.MappingIndex()))
		all := l.Lines()
		if all.Len() == 0 {
			all = pprofile.NewLineSlice()
			all.AppendEmpty()
		}
		for i, line := range all.All() {
			f := r.dic.FunctionTable().At(int(line.FunctionIndex()))
			function, system = append(function, r.str(f.NameStrindex())), append(system, r.str(f.SystemNameStrindex()))
			file, start = append(file, r.str(f.FilenameStrindex())), append(start, f.StartLine())
			lines, column = append(lines, line.Line()), append(column, line.Column())
			inlined, address = append(inlined, i+1 < all.Len()), append(address, l.Address())
			attrs = append(attrs, refMap(r.attrs(l.AttributeIndices(), nil)))
			mapping, low = append(mapping, r.str(m.FilenameStrindex())), append(low, m.MemoryStart())
			limit, offset = append(limit, m.MemoryLimit()), append(offset, m.FileOffset())
			mappingAttrs = append(mappingAttrs, refMap(r.attrs(m.AttributeIndices(), nil)))
		}
	}
	for name, v := range map[string]any{
		"Function": function, "SystemName": system, "File": file, "StartLine": start, "Line": lines, "Column": column,
		"Inlined": inlined, "Address": address, "Attributes": attrs, "Mapping": mapping, "MappingStart": low,
		"MappingLimit": limit, "MappingOffset": offset, "MappingAttributes": mappingAttrs,
	} {
		out["Frames."+name] = show(v)
	}
}
