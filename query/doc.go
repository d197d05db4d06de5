// Package query answers questions about one scope of tenants: a plan is printed as SQL and read from ClickHouse.
//
// How a tenant's filter is forced. User text never reaches ClickHouse: a language (query/oql) makes a plan of it, Print
// makes SQL of the plan with every value bound as a parameter, and Reader runs only what Print made, because the fields
// of Stmt are not exported. Each table is read by the one scan printer (scan.go), which puts the tenant first in
// PREWHERE, and only functions that cannot throw on any row are printed, so that no error tells of a row that the filter
// hides. Print refuses the zero tenant.Scope.
//
// What a caller may see. Errors of the engine become our own with stable codes (errors.go); their text goes to the log.
// Results stream as JSON, NDJSON, CSV, Parquet or Arrow (encode.go).
//
// Print is pure. Reader and Handler are safe for concurrent use.
package query
