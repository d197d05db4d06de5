package auth

import "strings"

const (
	maxEmailBytes = 254 // RFC 5321 §4.5.3.1.3, less the brackets
	maxLocalBytes = 64
	maxLabelBytes = 63
	localChars    = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-/=?^_`{|}~."
)

// emailKey checks an address and returns the text that it is compared by: in lower case, as no two users of a tenant have it.
// It wants name@domain, the name of the characters that addresses have without quotes (RFC 5322 dot-atom), the domain of two
// labels at least.
//
// SECURITY: nothing but ASCII is taken, so no two addresses look alike; an international domain is given by its xn-- labels.
// Control characters and blanks, which could end a header of the message to the address, are in neither part.
func emailKey(email string) (string, error) {
	bad := detail(ErrInvalid, "e-mail address %q: want name@domain in ASCII, an international domain by its xn-- form", plainText(clip(email)))
	at := strings.LastIndexByte(email, '@')
	if len(email) > maxEmailBytes || at < 1 || at > maxLocalBytes {
		return "", bad
	}
	local, domain := email[:at], email[at+1:]
	if !only(local, localChars) || local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..") {
		return "", bad
	}
	if !isDomain(lowerASCII(domain)) {
		return "", bad
	}
	return lowerASCII(email), nil
}

// isDomain reports whether s is a domain of two labels at least, in lower case ASCII, and no IP address.
func isDomain(s string) bool {
	labels := strings.Split(s, ".")
	if len(labels) < 2 || len(s) > 253 || only(labels[len(labels)-1], "0123456789") {
		return false
	}
	for _, l := range labels {
		if l == "" || len(l) > maxLabelBytes || l[0] == '-' || l[len(l)-1] == '-' || !only(l, "abcdefghijklmnopqrstuvwxyz0123456789-") {
			return false
		}
	}
	return true
}

// domainOf returns the domain of an address by its key.
func domainOf(key string) string { return key[strings.LastIndexByte(key, '@')+1:] }

const maxPersonBytes = 200

// personName checks the name of a person: any text of up to 200 bytes without control characters, "" too.
//
// SECURITY: it is shown and never compared, so look-alikes do no harm; what would turn the order of a line around is refused.
func personName(s string) (string, error) {
	s = strings.TrimSpace(s)
	bad := len(s) > maxPersonBytes || plainText(s) != s || strings.ContainsFunc(s, func(r rune) bool {
		return r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x61c || r >= 0x200b && r <= 0x200f || r >= 0x2028 && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0xfeff
	})
	if bad {
		return "", detail(ErrInvalid, "name of a person: want %d bytes of text at most, without control characters", maxPersonBytes)
	}
	return s, nil
}
