package metering

import (
	"bytes"
	"encoding/csv"
	"errors"
	"math/big"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headgate-io/headgate/internal/timetest"
)

// focusRule is a line of testdata/focus-1.2-columns.csv: what the specification demands of a column, and where it says so.
type focusRule struct {
	level, kind, format string
	nulls               bool
	allowed             []string
}

func focusRules(t *testing.T) map[string]focusRule {
	t.Helper()
	raw, err := os.ReadFile("testdata/focus-1.2-columns.csv")
	if err != nil {
		t.Fatal(err)
	}
	lines, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string]focusRule{}
	for _, l := range lines[1:] {
		r := focusRule{level: l[1], kind: l[3], format: l[4], nulls: l[2] == "true"}
		if l[5] != "" {
			r.allowed = strings.Split(l[5], ";")
		}
		rules[l[0]] = r
	}
	if len(rules) != 57 {
		t.Fatalf("%d columns, want 57", len(rules))
	}
	return rules
}

var focusFormats = map[string]*regexp.Regexp{
	"numeric":  regexp.MustCompile(`^-?\d+(\.\d+)?(E-?\d+)?$`),
	"datetime": regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`),
	"currency": regexp.MustCompile(`^[A-Z]{3}$`),
	"unit":     regexp.MustCompile(`^(\d+ )?(B|[KMGTPE]i?B|[A-Z][a-z]+s)$`),
}

func (r focusRule) check(value string) string {
	switch f := focusFormats[r.format]; {
	case value == "" && !r.nulls:
		return "is null"
	case value == "":
		return ""
	case strings.TrimSpace(value) == "":
		return "is blank"
	case f != nil && !f.MatchString(value):
		return "is not of the format " + r.format
	case len(r.allowed) > 0 && !slices.Contains(r.allowed, value):
		return "is not an allowed value"
	}
	return ""
}

// exported is a ledger of two months with usage and corrections of the same and of an earlier month, exported.
func exported(t *testing.T, f ExportFilter) (*Ledger, *Export, string) {
	t.Helper()
	db := tempDB(t)
	c := timetest.NewClock(time.Date(2026, 10, 20, 12, 0, 0, 0, time.UTC))
	l := NewLedger(db, LedgerOptions{Now: c.Now})
	addTenant(t, db, "acme", "")
	addTenant(t, db, "acme-dev", "ID-acme")
	r := logs("ID-acme", "key1", 5<<30+1, c.Now())
	r.Records = 12
	apply(t, l, testLog, 1, true, r, logs("ID-acme-dev", "key2", 7, c.Now()), logs("ID-nobody", "key3", 9, c.Now()))
	c.Set(time.Date(2026, 11, 2, 10, 30, 0, 0, time.UTC))
	seal(t, l)
	apply(t, l, testLog, 2, true, logs("ID-acme", "key1", 3<<20, c.Now()))
	for _, n := range []NewCorrection{
		{ID: "october", Tenant: id("ID-acme"), Hour: time.Date(2026, 10, 20, 12, 0, 0, 0, time.UTC), Signal: Logs, Key: "key1",
			BilledBytes: -1 << 30, Records: -2, Reason: "agreed, with \"quotes\""},
		{ID: "november", Tenant: id("ID-acme"), Hour: c.Now(), Signal: Logs, Key: "key1", BilledBytes: -1 << 20, Reason: "test"},
	} {
		if _, err := correct(t, l, n); err != nil {
			t.Fatal(err)
		}
	}
	c.Set(time.Date(2026, 12, 1, 1, 0, 0, 0, time.UTC))
	seal(t, l)
	x, err := l.UnsafeExportOfAll(deadline(t), f)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	totals, err := x.Write(deadline(t), &b)
	if err != nil || totals != (ExportTotals{Rows: 6, Corrections: 2, BilledBytes: 4<<30 + 2<<20 + 17, Records: totals.Records}) {
		t.Fatal(totals, err)
	}
	return l, x, b.String()
}

// The file is held to the rules of the published specification, not to what headgate writes.
func TestFOCUSFileKeepsTheRulesOfTheSpecification(t *testing.T) {
	rate, err := ParseRate("0.25", "EUR", "Acme Hosting")
	if err != nil {
		t.Fatal(err)
	}
	_, _, text := exported(t, ExportFilter{Format: FormatFOCUS, Rate: rate})
	lines, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(lines) != 7 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	rules := focusRules(t)
	head := lines[0]
	custom := false
	for i, name := range head {
		if slices.Contains(head[:i], name) {
			t.Errorf("%s twice", name)
		}
		if _, ok := rules[name]; !ok && !strings.HasPrefix(name, "x_") {
			t.Errorf("%s is no column of FOCUS and has no x_", name)
		}
		if custom = custom || strings.HasPrefix(name, "x_"); custom && !strings.HasPrefix(name, "x_") {
			t.Errorf("%s behind custom columns", name)
		}
	}
	for name, r := range rules {
		if r.level == "mandatory" && !slices.Contains(head, name) {
			t.Errorf("the mandatory column %s is missing", name)
		}
	}
	billed := new(big.Rat)
	var classes []string
	for _, l := range lines[1:] {
		row := map[string]string{}
		for i, name := range head {
			row[name] = l[i]
			if r, ok := rules[name]; ok {
				if wrong := r.check(l[i]); wrong != "" {
					t.Errorf("%s %q %s", name, l[i], wrong)
				}
			}
		}
		checkFocusRow(t, row)
		billed.Add(billed, rat(row["BilledCost"]))
		classes = append(classes, row["ChargeClass"]+" "+row["ChargePeriodStart"]+" "+row["BillingPeriodStart"]+" "+row["BilledCost"])
	}
	if want := rat("0.25"); billed.Cmp(want.Mul(want, big.NewRat(4<<30+2<<20+17, 1<<30))) != 0 {
		t.Errorf("billed %s, want %s", billed, want)
	}
	for _, want := range []string{
		"Correction 2026-10-20T12:00:00Z 2026-11-01T00:00:00Z -0.25", // of a month that was invoiced
		" 2026-11-02T10:00:00Z 2026-11-01T00:00:00Z -0.000244140625", // within the billing period: null
	} {
		if !slices.Contains(classes, want) {
			t.Errorf("no charge %q in %q", want, classes)
		}
	}
}

func rat(s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return new(big.Rat)
	}
	return r
}

// checkFocusRow checks what the specification says about several columns together.
func checkFocusRow(t *testing.T, row map[string]string) {
	t.Helper()
	if row["ChargePeriodStart"] >= row["ChargePeriodEnd"] || row["BillingPeriodStart"] >= row["BillingPeriodEnd"] {
		t.Errorf("a period ends before it begins: %v", row)
	}
	if row["ChargeClass"] == "" && (row["ChargePeriodStart"] < row["BillingPeriodStart"] || row["ChargePeriodEnd"] > row["BillingPeriodEnd"]) {
		t.Errorf("a charge outside its billing period that is no correction: %v", row)
	}
	if row["ChargeClass"] == "Correction" && row["ChargePeriodStart"] >= row["BillingPeriodStart"] {
		t.Errorf("a correction of the current billing period has a ChargeClass: %v", row)
	}
	for _, c := range [][2]string{{"ContractedUnitPrice", "ContractedCost"}, {"ListUnitPrice", "ListCost"}} {
		if product := new(big.Rat).Mul(rat(row["PricingQuantity"]), rat(row[c[0]])); product.Cmp(rat(row[c[1]])) != 0 {
			t.Errorf("PricingQuantity × %s is not %s: %v", c[0], c[1], row)
		}
	}
	if (row["ConsumedQuantity"] == "") != (row["ConsumedUnit"] == "") || (row["PricingQuantity"] == "") != (row["PricingUnit"] == "") {
		t.Errorf("a quantity without a unit: %v", row)
	}
	if row["SkuId"] == "" || row["SkuPriceId"] == "" || row["PricingCategory"] == "" {
		t.Errorf("usage without a SKU or a pricing category: %v", row)
	}
}

func TestFOCUSCostsAreExact(t *testing.T) {
	for _, c := range []struct {
		bytes int64
		per   string
		want  string
	}{
		{0, "1", "0"}, {1 << 30, "0.25", "0.25"}, {-1 << 30, "3", "-3"}, {1, "1", "0.000000000931322574615478515625"},
		{1, "0.000001", "0.000000000000000931322574615478515625"}, {MaxCorrection, "999999999999", "1048575999998951424"}, {100 << 30, "1", "100"},
	} {
		if got := exact(new(big.Rat).Mul(big.NewRat(c.bytes, 1<<30), rat(c.per))); got != c.want {
			t.Errorf("%d bytes at %s: %s, want %s", c.bytes, c.per, got, c.want)
		}
	}
}

func TestOddRatesAreRefused(t *testing.T) {
	for _, c := range [][3]string{
		{"-1", "", ""}, {"1,5", "", ""}, {"1e9", "", ""}, {"0.1234567", "", ""}, {"NaN", "", ""}, {"1/3", "", ""}, {" 1", "", ""},
		{"", "eur", ""}, {"", "EURO", ""}, {"", "", "a\nb"}, {"", "", strings.Repeat("x", 101)},
	} {
		if _, err := ParseRate(c[0], c[1], c[2]); !errors.Is(err, ErrFilter) {
			t.Errorf("ParseRate(%q) = %v, want ErrFilter", c, err)
		}
	}
	if r, err := ParseRate("", "", ""); err != nil || r != (Rate{"0", "USD", "headgate"}) {
		t.Errorf("%+v, %v", r, err)
	}
}
