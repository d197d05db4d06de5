// Package control is the HTTP API of the control plane, under /api/v1: tenants, API keys, usage, limits and audit, with
// an OpenAPI document made from the same table of routes at /api/openapi.json.
//
// It translates between HTTP and the packages that decide: auth says who may do what and keeps the audit, metering
// counts, storage deletes. Errors are problem+json with stable codes; what a caller may not see answers as if it were not
// there. Handlers are safe for concurrent use.
package control
