package saved

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/headgate-io/headgate/auth"
)

// Bounds of what is kept.
const (
	maxQueries     = 1000 // of a tenant
	maxDashboards  = 300  // of a tenant
	maxPanels      = 50
	maxVariables   = 20
	maxChoices     = 100 // of a variable
	maxNameBytes   = 100
	maxNoteBytes   = 2000
	maxTextBytes   = 16 << 10
	maxPlanBytes   = 64 << 10
	maxValueBytes  = 4 << 10 // of one value of a variable
	maxRangeBytes  = 40
	maxDefinition  = 256 << 10
	maxIDBytes     = 64
	maxGridUnits   = 1000
	defaultDisplay = "table"
)

// The languages. PlanJSON is the JSON form of OQL: a Plan in place of a Query.
const (
	OQL      = "oql"
	PlanJSON = "plan"
	PromQL   = "promql"
)

// Displays are how a panel may be shown.
var Displays = []string{defaultDisplay, "line", "bar", "area", "stat"}

// Source is a query in one of the languages.
type Source struct {
	Language string          `json:"language"`          // when left out PlanJSON for a Plan, OQL for a Query
	Query    string          `json:"query,omitempty"`   // its text
	Plan     json.RawMessage `json:"plan,omitempty"`    // or the JSON form of OQL
	Instant  bool            `json:"instant,omitempty"` // with PromQL: the value at the end of the time range alone
	Step     string          `json:"step,omitempty"`    // with PromQL: between the values of the range; left out: as the range is
}

// Variable is what a viewer chooses: a query has it as $name, a literal that is bound after parsing.
type Variable struct {
	Name        string            `json:"name"`
	Type        string            `json:"type"` // string, int, float, bool, duration, datetime or list
	Description string            `json:"description,omitempty"`
	Default     json.RawMessage   `json:"default,omitempty"` // left out: each run has to give a value
	Values      []json.RawMessage `json:"values,omitempty"`  // all that may be chosen, of a list its items; left out: any
}

// Panel is a query of a dashboard, and where it stands.
type Panel struct {
	ID      string `json:"id"` // unique in the dashboard
	Title   string `json:"title"`
	Display string `json:"display"`
	Source
	X      int `json:"x"`
	Y      int `json:"y"`
	Width  int `json:"width"`
	Height int `json:"height"`
}

// Definition is what a thing is made of: of a query the Source, of a dashboard the Panels.
type Definition struct {
	Source
	Panels    []Panel    `json:"panels,omitempty"`
	Variables []Variable `json:"variables,omitempty"`
	Start     string     `json:"start,omitempty"` // of the time range where a run names none, as POST /api/v1/query takes it
	End       string     `json:"end,omitempty"`
}

// Value is a variable's value in one run; Value nil stands for any of its type.
type Value struct {
	Name, Type string
	Value      json.RawMessage
}

// Languages is what this package needs to know of the languages, which package query knows.
type Languages struct {
	// Check returns what is wrong with a source under these variables. Its error may be shown.
	Check func(Source, []Value) error
	// CheckValue returns what is wrong with a value of a type, or that there is no such type. Its error may be shown.
	CheckValue func(typ string, value json.RawMessage) error
	// CheckRange returns what is wrong with a time range. Its error may be shown.
	CheckRange func(start, end string) error
}

// PanelError says of which panel Err is.
type PanelError struct {
	Panel string
	Err   error
}

func (e *PanelError) Error() string { return "panel " + e.Panel + ": " + e.Err.Error() }
func (e *PanelError) Unwrap() error { return e.Err }

// invalid is an auth.ErrInvalid with a text of its own.
func invalid(format string, args ...any) error {
	return &auth.Error{Code: auth.ErrInvalid.Code, Text: fmt.Sprintf(format, args...)}
}

// check completes d and returns the first rule that it breaks.
func (d *Definition) check(k Kind, l Languages) error {
	if err := d.checkVariables(l); err != nil {
		return err
	}
	if len(d.Start) > maxRangeBytes || len(d.End) > maxRangeBytes {
		return invalid("start, end: want at most %d bytes", maxRangeBytes)
	}
	if err := l.CheckRange(d.Start, d.End); err != nil {
		return err
	}
	vars := make([]Value, len(d.Variables))
	for i, v := range d.Variables {
		vars[i] = Value{Name: v.Name, Type: v.Type}
	}
	if k == Query {
		if err := d.Source.check(l, vars); err != nil {
			return err
		}
	} else if err := d.checkPanels(l, vars); err != nil {
		return err
	}
	if raw := d.text(); len(raw) > maxDefinition {
		return invalid("the definition takes %d bytes of at most %d", len(raw), maxDefinition)
	}
	return nil
}

func (s *Source) check(l Languages, vars []Value) error {
	s.Plan = orNil(s.Plan)
	switch {
	case s.Plan != nil && (s.Language == "" || s.Language == OQL):
		s.Language = PlanJSON
	case s.Language == "":
		s.Language = OQL
	}
	switch {
	case s.Language != OQL && s.Language != PlanJSON && s.Language != PromQL:
		return invalid("language %.40q: want %s, %s or %s", s.Language, OQL, PlanJSON, PromQL)
	case s.Query == "" && s.Plan == nil:
		return invalid("query: is missing")
	case s.Query != "" && s.Plan != nil:
		return invalid("query, plan: want one of them")
	case s.Plan != nil && s.Language != PlanJSON:
		return invalid("plan: is the JSON form of %s, not of %s", OQL, s.Language)
	case s.Plan == nil && s.Language == PlanJSON:
		return invalid("query: the language %s has a plan in its place", PlanJSON)
	case s.Language != PromQL && (s.Instant || s.Step != ""):
		return invalid("instant, step: are for %s, not for %s", PromQL, s.Language)
	case len(s.Step) > maxRangeBytes:
		return invalid("step: want at most %d bytes", maxRangeBytes)
	case len(s.Query) > maxTextBytes || !utf8.ValidString(s.Query):
		return invalid("query: want at most %d bytes of UTF-8", maxTextBytes)
	case len(s.Plan) > maxPlanBytes || !utf8.Valid(s.Plan):
		return invalid("plan: want at most %d bytes of UTF-8", maxPlanBytes)
	}
	return l.Check(*s, vars)
}

func (d *Definition) checkPanels(l Languages, vars []Value) error {
	if len(d.Panels) > maxPanels {
		return invalid("%d panels, want at most %d", len(d.Panels), maxPanels)
	}
	seen := map[string]bool{}
	for i := range d.Panels {
		p := &d.Panels[i]
		if p.ID == "" {
			p.ID = fmt.Sprintf("panel-%d", i+1)
		}
		if p.Display == "" {
			p.Display = defaultDisplay
		}
		switch {
		case !isWord(p.ID, maxIDBytes):
			return invalid("panel id %.80q: want 1 to %d of a-z A-Z 0-9 _ -", p.ID, maxIDBytes)
		case seen[p.ID]:
			return invalid("panel id %s: is there twice", p.ID)
		case !slices.Contains(Displays, p.Display):
			return invalid("panel %s: display %.40q: want one of %v", p.ID, p.Display, Displays)
		case min(p.X, p.Y, p.Width, p.Height) < 0 || max(p.X, p.Y, p.Width, p.Height) > maxGridUnits:
			return invalid("panel %s: x, y, width, height: want 0 to %d", p.ID, maxGridUnits)
		}
		if p.Title != "" {
			if err := checkName("panel title", p.Title); err != nil {
				return err
			}
		}
		seen[p.ID] = true
		if err := p.Source.check(l, vars); err != nil {
			return &PanelError{p.ID, err}
		}
	}
	return nil
}

// panel returns the panel of an id, nil for none.
func (d *Definition) panel(id string) *Panel {
	for i := range d.Panels {
		if d.Panels[i].ID == id {
			return &d.Panels[i]
		}
	}
	return nil
}

// text is how a definition is kept.
func (d *Definition) text() []byte {
	raw, err := json.Marshal(d)
	if err != nil {
		panic("BUG: definition: " + err.Error())
	}
	return raw
}

// checkName wants what can be shown on a line, as names of keys.
func checkName(what, s string) error {
	if s == "" || len(s) > maxNameBytes || !isPrintable(s) || s[0] == ' ' || s[len(s)-1] == ' ' {
		return invalid("%s: want 1 to %d bytes of printable text, no blank at the ends", what, maxNameBytes)
	}
	return nil
}

func checkNote(s string) error {
	if len(s) > maxNoteBytes || !isPrintable(strings.ReplaceAll(s, "\n", "")) {
		return invalid("description: want at most %d bytes of printable text, and ends of lines", maxNoteBytes)
	}
	return nil
}

func isPrintable(s string) bool {
	return utf8.ValidString(s) && !slices.ContainsFunc([]rune(s), func(r rune) bool { return !unicode.IsPrint(r) })
}

func isWord(s string, most int) bool {
	for i := range len(s) {
		if c := s[i]; c != '_' && c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != "" && len(s) <= most
}
