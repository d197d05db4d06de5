// Package oql turns a query in OQL into a plan: its text with Parse, its JSON form with ParseJSON.
//
// docs/oql.md is the guide for users and has the grammar. Parsing reads names in the order of the text and resolves them
// against the columns at that point, so an error points at the first thing that is wrong. A query in the parentheses of a join
// or union has columns of its own and shares every limit, which are constants in parse.go. All functions are safe for
// concurrent use.
package oql
