// Package saved keeps what people of a tenant ask again and again: saved queries, and dashboards, which are sets of them.
//
// A definition is OQL, its JSON form, or PromQL, and never SQL. It names no tenant: whoever runs it reads what they may read
// themselves, not what its author may. Each thing belongs to one tenant and has an owner, a user who may be at home elsewhere. It is
// private, shared with a team of its tenant, or with the whole tenant. Its owner changes it; others clone it and change their copy. Who
// manages the tenant's users looks after what is shared, and after everything whose owner is gone: it stays with the tenant.
//
// It promises: things that a caller does not see are answered like ids that do not exist; every change and its audit entry are one
// transaction; a definition that does not parse is not kept. All types are safe for concurrent use.
package saved
