package policy

import (
	"fmt"

	"github.com/headgate-io/headgate/storage/schema"
)

// Carrier is the ClickHouse setting in which a capability travels.
type Carrier string

const (
	// EngineCarrier is a built-in setting, because the embedded engine knows no custom ones. It has no other use here.
	EngineCarrier Carrier = "log_comment"
	// ServerCarrier is a custom setting: the server must allow the prefix SQL_.
	ServerCarrier Carrier = "SQL_headgate_cap"
)

// Tables are the tables that must have a policy: all that hold telemetry.
func Tables() []string { return schema.All }

// value is the SQL of the capability. Quotes that a server may put around the value of a custom setting are taken off; no
// capability has any.
func (c Carrier) value() string {
	get := "getSetting('" + string(c) + "')"
	if c == ServerCarrier {
		return "replaceAll(" + get + `, '\'', '')`
	}
	return get
}

// verified is the SQL condition that the capability's MAC is right, and payload what it is the MAC of.
//
// SECURITY: the two passes of HMAC, not a hash of key and payload, which could be continued without the key. A payload is
// checked as a whole: its MAC is of every byte after the ':'.
func (k Key) verified(c Carrier) (verified, payload string) {
	inner, outer := k.pads()
	payload = fmt.Sprintf("substring(%s, %d)", c.value(), macBytes+2)
	mac := fmt.Sprintf("lower(hex(SHA256(concat(unhex('%s'), SHA256(concat(unhex('%s'), %s))))))", outer, inner, payload)
	return fmt.Sprintf("substring(%s, 1, %d) = concat(%s, ':')", c.value(), macBytes+1, mac), payload
}

// tenantCondition is the SQL condition that a row belongs to a tenant of the capability.
func (k Key) tenantCondition(c Carrier) string {
	verified, payload := k.verified(c)
	return "TenantId IN if(" + verified + ", splitByChar(',', " + payload + "), [])"
}

// internalCondition is the SQL condition that the capability is Internal.
func (k Key) internalCondition(c Carrier) string {
	verified, payload := k.verified(c)
	return "(" + verified + " AND " + payload + " = '" + everything + "')"
}

// condition is the row policy where capabilities travel by c: on the embedded engine, whose only user it binds, headgate's own
// work passes too.
func (k Key) condition(c Carrier) string {
	if c == EngineCarrier {
		return k.internalCondition(c) + " OR " + k.tenantCondition(c)
	}
	return k.tenantCondition(c)
}
