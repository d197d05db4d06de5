package query

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/headgate-io/headgate/internal/httpapi"
	"github.com/headgate-io/headgate/internal/tenant"
	"github.com/headgate-io/headgate/query/oql"
)

// Variable is what stands for $name in a query: a type and, in JSON, a value of it.
type Variable struct {
	Type  oql.VarType     `json:"type"`
	Value json.RawMessage `json:"value"`
}

// maxVariables bounds those of one request.
const maxVariables = 50

// Check returns what is wrong with a query, which is an OQL text or its JSON form, under these variables, as *httpapi.Error. A variable
// without a value stands for every value of its type.
func Check(text string, json json.RawMessage, vars map[string]Variable) error {
	bound, err := ReadVariables(vars)
	if err != nil {
		return err
	}
	_, err = request{Query: text, Plan: json}.parse(bound)
	return Misread(err)
}

// ReadVariables reads variables for checking or binding a text in any language. One without a value stands for every value of its type.
// Errors are *httpapi.Error.
func ReadVariables(in map[string]Variable) (oql.Vars, error) {
	given := map[string]Variable{}
	for name, v := range in {
		if v.Value != nil {
			given[name] = v
		} else if err := CheckValue(v.Type, nil); err != nil {
			return nil, invalid("variable %s: %v", name, err)
		}
	}
	out, err := variables(given)
	for name, v := range in {
		if err == nil && v.Value == nil {
			out[name] = v.Type.Sample()
		}
	}
	return out, err
}

// CheckValue returns what is wrong with a value of a type, or with the type where value is nil.
func CheckValue(t oql.VarType, value json.RawMessage) error {
	if !slices.Contains(oql.VarTypes, t) {
		return errUnknownType
	}
	if value == nil {
		return nil
	}
	_, err := t.Read(value)
	return err
}

var errUnknownType = errors.New("want one of the types string, int, float, bool, duration, datetime and list")

// CheckRange returns what is wrong with the start and end of a request, as *httpapi.Error; "" is none.
func CheckRange(start, end string) error {
	now := time.Unix(0, 0).AddDate(100, 0, 0) // after everything that may be named before now
	for name, text := range map[string]string{"start": start, "end": end} {
		if _, err := (moment{text}).in(now, now); err != nil {
			return invalid("%s: %v", name, err)
		}
	}
	return nil
}

// Range is the time range of a request, as POST /api/v1/query takes it.
type Range struct {
	Start moment `json:"start"` // an hour before End when left out
	End   moment `json:"end"`   // now when left out
}

// In returns the times that r is when the clock shows now. Errors are *httpapi.Error.
func (r Range) In(now time.Time) (start, end time.Time, err error) {
	if end, err = r.End.in(now, now); err != nil {
		return start, end, invalid("end: %v", err)
	}
	if start, err = r.Start.in(now, end.Add(-defaultRange)); err != nil {
		return start, end, invalid("start: %v", err)
	}
	return start, end, nil
}

// Misread makes of an error of oql what the caller may know; other errors stay.
func Misread(err error) error {
	var e *oql.Error
	if errors.As(err, &e) {
		return syntax(e.Error(), e.Line, e.Column, e.Caret())
	}
	var p *oql.PlanError
	if errors.As(err, &p) {
		return &httpapi.Error{
			Status: http.StatusBadRequest, Code: CodeSyntax, Title: "query not understood", Detail: p.Error(),
			Extra: map[string]any{"pointer": p.Pointer},
		}
	}
	return err
}

// variables reads the values of a request.
func variables(in map[string]Variable) (oql.Vars, error) {
	if len(in) > maxVariables {
		return nil, invalid("%d variables, want at most %d", len(in), maxVariables)
	}
	out := oql.Vars{}
	for name, v := range in {
		value, err := v.Type.Read(v.Value)
		if err != nil {
			return nil, invalid("variable %.80q: %v", name, err)
		}
		out[name] = value
	}
	return out, nil
}

// read is Read, or Scope where there is none.
func (c Caller) read(ctx context.Context, tenants []string) (tenant.Scope, error) {
	if c.Read != nil {
		return c.Read(ctx, tenants)
	}
	if len(tenants) > 0 {
		return tenant.Scope{}, invalid("tenants: are not chosen here")
	}
	return c.Scope, nil
}
