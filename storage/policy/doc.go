// Package policy makes ClickHouse show a tenant's rows only to who presents a capability that headgate has signed.
//
//	reader: SELECT … SETTINGS <carrier> = '<mac>:acme,globex'
//	                                          │
//	ClickHouse: row policy of each table      ▼
//	    TenantId IN (tenants, if mac = HMAC-SHA256(key, tenants); else none)
//
// It is the second wall around reads, behind the printer of package query, and holds without it: a statement that lacks the
// tenant's condition still yields that tenant's rows alone, and one without a capability, or with one that is forged,
// altered or cut, none. The MAC is computed inside the policy, of constants, so that ClickHouse folds the whole condition into
// TenantId IN (…) before it reads, and prunes by the primary key.
//
// The key never leaves this process and the policies. Whoever can read a policy can sign: so the reading identity must not
// be able to, which Server and Users arrange and Check proves.
//
// Where ClickHouse is the embedded engine, both identities are one user to it: Users binds that user, and what headgate does
// itself carries the Internal capability. Where it is a server, Server binds the reader alone.
//
// Everything here is safe for concurrent use.
package policy
