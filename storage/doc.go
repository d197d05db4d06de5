// Package storage writes telemetry into ClickHouse: it applies the schema's migrations, gathers the rows of many
// requests into few INSERTs, and deletes a tenant's rows.
//
// It talks to ClickHouse through clickhouse-go over the HTTP interface alone, so a server, a cluster behind a load
// balancer and the embedded engine are the same to it. All exported methods are safe for concurrent use.
//
// What is promised: Write returns nil only after ClickHouse has committed every row it was given. What is not: after
// an error some of the rows may be there all the same, since an INSERT whose answer was lost may have been committed.
package storage
