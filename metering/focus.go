package metering

import (
	"encoding/csv"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"strings"
	"time"
)

// Rate is what a GiB costs. headgate knows no prices: they are the exporter's, and 0 says that bytes are exported alone.
type Rate struct {
	PerGiB   string // a decimal number of at most 6 places, not below 0; "" is 0
	Currency string // ISO 4217, "" is USD
	Provider string // who sends the invoice; "" is headgate
}

var (
	ratePattern     = regexp.MustCompile(`^\d{1,12}(\.\d{1,6})?$`)
	currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)
)

// ParseRate checks the parts of a rate, each of which may be "". Errors are ErrFilter.
func ParseRate(perGiB, currency, provider string) (Rate, error) {
	r := Rate{perGiB, currency, provider}.orDefault()
	switch {
	case !ratePattern.MatchString(r.PerGiB):
		return r, fmt.Errorf("%w: price %.30q: want a decimal number like 0.25, with at most 6 places", ErrFilter, perGiB)
	case !currencyPattern.MatchString(r.Currency):
		return r, fmt.Errorf("%w: currency %.10q: want a code of three letters like EUR", ErrFilter, currency)
	case len(r.Provider) > 100 || !plain(r.Provider):
		return r, fmt.Errorf("%w: provider: want at most 100 printable characters", ErrFilter)
	}
	return r, nil
}

func (r Rate) orDefault() Rate {
	if r.PerGiB == "" {
		r.PerGiB = "0"
	}
	if r.Currency == "" {
		r.Currency = "USD"
	}
	if r.Provider == "" {
		r.Provider = "headgate"
	}
	return r
}

// focusColumns are the columns of a FOCUS 1.2 file: all mandatory ones, and those of the conditional and recommended ones
// whose condition headgate meets (github.com/FinOps-Open-Cost-and-Usage-Spec/FOCUS_Spec at v1.2, specification/columns). Those
// that begin with x_ are custom columns, as specification/attributes/column_handling.md has it.
var focusColumns = []string{
	"BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
	"ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
	"ConsumedQuantity", "ConsumedUnit", "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost",
	"ListUnitPrice", "PricingCategory", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "ServiceCategory",
	"ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceId",
	"x_CorrectionReason", "x_EntryId", "x_KeyId", "x_Records", "x_Requests", "x_State",
}

// focusEntries writes entries as charges. The tenant is the billing account. A charge's billing period is the month that it
// is dated in, its charge period the hour that the bytes were received in: they differ in corrections.
type focusEntries struct {
	w    *csv.Writer
	zone *time.Location
	rate Rate
	per  *big.Rat
}

func newFocusEntries(w io.Writer, x *Export) *focusEntries {
	per, ok := new(big.Rat).SetString(x.Filter.Rate.PerGiB)
	if !ok {
		per = new(big.Rat)
	}
	return &focusEntries{csv.NewWriter(w), x.Filter.Zone, x.Filter.Rate, per}
}

func (f *focusEntries) begin() error { return f.w.Write(focusColumns) }

func (f *focusEntries) end() error {
	f.w.Flush()
	return f.w.Error()
}

func (f *focusEntries) entry(e Entry) error {
	month, monthEnd, err := span(ByMonth, f.zone, e.Start.Unix())
	if err != nil {
		return err
	}
	charged := e.Start
	class := "" // null
	if e.isCorrection() {
		charged = e.Corrects
		// ChargeClass is null for a correction within the current billing period (columns/chargeclass.md).
		if charged.Unix() < month {
			class = "Correction"
		}
	}
	quantity := big.NewRat(e.BilledBytes, 1<<30)
	cost := exact(new(big.Rat).Mul(quantity, f.per))
	price, sku := exact(f.per), "ingest-"+string(e.Signal)
	utc := func(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }
	values := map[string]string{
		"BilledCost": cost, "ContractedCost": cost, "EffectiveCost": cost, "ListCost": cost,
		"BillingAccountId": e.TenantID, "BillingAccountName": e.Tenant, "BillingCurrency": f.rate.Currency,
		"BillingPeriodStart": utc(month), "BillingPeriodEnd": utc(monthEnd),
		"ChargeCategory": "Usage", "ChargeClass": class, "ChargeFrequency": "Usage-Based", "ChargeDescription": describe(e),
		"ChargePeriodStart": utc(charged.Unix()), "ChargePeriodEnd": utc(charged.Unix() + hourSeconds),
		"ConsumedQuantity": fmt.Sprint(e.BilledBytes), "ConsumedUnit": "B",
		"ContractedUnitPrice": price, "ListUnitPrice": price, "PricingCategory": "Standard",
		"PricingQuantity": exact(quantity), "PricingUnit": "GiB",
		"InvoiceIssuerName": f.rate.Provider, "ProviderName": f.rate.Provider, "PublisherName": "headgate",
		"ServiceCategory": "Management and Governance", "ServiceSubcategory": "Observability", "ServiceName": "headgate",
		"SkuId": sku, "SkuMeter": "Ingested Bytes", "SkuPriceId": sku,
		"x_CorrectionReason": e.Reason, "x_EntryId": e.ID, "x_KeyId": e.Key, "x_Records": fmt.Sprint(e.Records),
		"x_Requests": fmt.Sprint(e.Requests), "x_State": string(e.State),
	}
	line := make([]string, len(focusColumns))
	for i, c := range focusColumns {
		line[i] = values[c]
	}
	return f.w.Write(line)
}

func describe(e Entry) string {
	if e.isCorrection() {
		return fmt.Sprintf("Correction of %s received on %s", e.Signal, e.Corrects.Format("2006-01-02 15:04 UTC"))
	}
	return fmt.Sprintf("Telemetry received: %s", e.Signal)
}

// exact prints a number that has a finite decimal expansion of 36 places at most, without zeros at its end.
func exact(r *big.Rat) string {
	s := r.FloatString(36)
	s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	if s == "-" || s == "" || s == "-0" {
		return "0"
	}
	return s
}
