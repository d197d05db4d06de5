// Package oql turns the text of an OQL query into a plan.
//
// OQL is a source and a pipeline of stages:
//
//	query  = source { "|" stage } .
//	source = "logs" | "spans" | "metrics" [ "(" string { "," string } ")" ] .
//	stage  = "where" expr | "search" string
//	       | "extend" ident "=" expr { "," ident "=" expr }
//	       | "project" [ident "="] expr { "," [ident "="] expr } | "project-away" field { "," field }
//	       | "summarize" agg { "," agg } [ "by" [ident "="] expr { "," [ident "="] expr } ]
//	       | ("sort" | "order") [ "by" ] expr [ "asc" | "desc" ] { "," expr [ "asc" | "desc" ] }
//	       | ("limit" | "take" | "head") int | "top" int "by" expr [ "asc" | "desc" ]
//	       | "distinct" [ident "="] expr { "," [ident "="] expr } | "count" .
//	agg    = [ident "="] aggfn "(" [ expr { "," expr } ] ")" .
//	expr   = or, and, not, comparison, + -, * / %, unary -, in order of binding
//
// docs/query.md is the guide for users. Parsing reads names in the order of the text, so an error points at the first
// thing that is wrong. Every limit of the package is a constant in parse.go; Parse is safe for concurrent use.
package oql
