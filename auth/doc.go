// Package auth says who is asking: API keys and the operator token become a Principal, and tenants, keys and the audit of
// their changes are kept in the state database.
//
// It promises: Authenticate reads memory alone, so it answers while the database is away; a change made through this
// process is in force when its method returns, one made by another process on the same database within a second (Run
// polls four times as often); no change is kept without its audit entry, for both are one transaction; a secret is never
// stored, logged or put in an error.
//
// It assumes that the data directory is private: the pepper and the operator token lie in it. The pepper is needed to
// check keys; without it all of them are void, so a backup holds it beside the database.
//
// All types are safe for concurrent use. tenant.ID and tenant.Scope values are made here and nowhere else.
package auth
