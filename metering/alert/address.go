package alert

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
)

// errAddress says that a target's name led to an address that webhooks may not speak to. It does not say which: that would
// read the private names of headgate's network to whoever makes webhooks.
var errAddress = errors.New("the target's address is private or reserved; headgate sends to public addresses only")

// reserved are the networks that are no public hosts, of IPv4 all and of IPv6 those inside 2000::/3, beyond which nothing is
// allowed at all. Source: IANA IPv4 and IPv6 Special-Purpose Address Registries; RFC 6890, 3056, 9637.
var reserved = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	"224.0.0.0/4", "240.0.0.0/4",
	"168.63.129.16/32",           // a cloud's host agent behind a public-looking address, reachable from its machines alone
	"2001::/23", "2001:db8::/32", // protocol assignments with Teredo, documentation
	"2002::/16", // 6to4 carries an IPv4 address
	"3fff::/20", // documentation
)

var globalUnicast = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) (out []netip.Prefix) {
	for _, s := range texts {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// public reports whether an address may be a host of the internet at large.
//
// SECURITY: an allow-list for IPv6, so that mapped, translated (64:ff9b::/96), unique local and link-local addresses need
// no entry each; an IPv4 address in IPv6 clothes is judged as what it is.
func public(a netip.Addr) bool {
	a = a.WithZone("").Unmap()
	if !a.IsValid() || a.Is6() && !globalUnicast.Contains(a) {
		return false
	}
	for _, p := range reserved {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// controlDial is a net.Dialer's Control: it judges the address that is about to be connected, after any resolution.
//
// SECURITY: a check before that would judge another answer of the resolver than the one that is used.
func controlDial(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("webhook over %s: %w", network, errAddress)
	}
	to, err := netip.ParseAddrPort(address)
	if err != nil || !public(to.Addr()) {
		return errAddress
	}
	return nil
}
