package auth

import (
	"encoding/base64"
	"strings"
)

// maxHeaderBytes bounds a credential header that is looked at; a key has 69 bytes.
const maxHeaderBytes = 1024

// Credential finds the credential in the values of a request's authorization and x-api-key headers, from net/http,
// fasthttp or gRPC metadata alike. It accepts `Bearer KEY` and `ApiKey KEY` (any case, also `Bearer%20KEY`, which is how
// some SDKs pass on their environment), `Basic` with the key as password, a key without a scheme, and `x-api-key: KEY`.
//
// The same credential twice is fine; two different ones are ErrAmbiguousCredential, none is ErrNoCredential, and a header
// that cannot hold one is ErrUnknownKey. The result is not checked; Authenticate does that.
func Credential(authorization, apiKey []string) (string, error) {
	var found string
	for i := range len(authorization) + len(apiKey) {
		var c string
		var err error
		if i < len(authorization) {
			c, err = fromAuthorization(authorization[i])
		} else {
			c, err = fromAPIKey(apiKey[i-len(authorization)])
		}
		if err != nil {
			return "", err
		}
		switch {
		case c == "" || c == found:
		case found != "":
			// SECURITY: choosing one of two would let a proxy and headgate disagree on who is asking.
			return "", ErrAmbiguousCredential
		default:
			found = c
		}
	}
	if found == "" {
		return "", ErrNoCredential
	}
	return found, nil
}

func fromAPIKey(v string) (string, error) {
	if len(v) > maxHeaderBytes {
		return "", ErrUnknownKey
	}
	return strings.Trim(v, " \t"), nil
}

// fromAuthorization returns "" for an empty value, and ErrUnknownKey for a scheme that is not ours: something was sent,
// so "missing" would mislead.
func fromAuthorization(v string) (string, error) {
	if len(v) > maxHeaderBytes {
		return "", ErrUnknownKey
	}
	v = strings.Trim(v, " \t")
	if v == "" {
		return "", nil
	}
	for _, scheme := range []string{"bearer", "apikey"} {
		if rest, ok := cutScheme(v, scheme); ok {
			return rest, nil
		}
	}
	if rest, ok := cutScheme(v, "basic"); ok {
		return fromBasic(rest)
	}
	if strings.HasPrefix(v, keyPrefix) {
		return v, nil
	}
	return "", ErrUnknownKey
}

// cutScheme cuts a scheme and the blanks after it. "Bearer" alone yields "", which is no credential.
func cutScheme(v, scheme string) (string, bool) {
	if len(v) < len(scheme) || !strings.EqualFold(v[:len(scheme)], scheme) {
		return "", false
	}
	rest := v[len(scheme):]
	trimmed := rest
	for {
		next := strings.TrimPrefix(strings.TrimLeft(trimmed, " \t"), "%20")
		if next == trimmed {
			break
		}
		trimmed = next
	}
	if trimmed == rest && rest != "" {
		return "", false // "Bearerhg_…"
	}
	return trimmed, true
}

// fromBasic takes the password as the key, whatever the user name.
func fromBasic(v string) (string, error) {
	enc := base64.StdEncoding
	if len(v)%4 != 0 {
		enc = base64.RawStdEncoding
	}
	raw, err := enc.DecodeString(v)
	if err != nil {
		return "", ErrUnknownKey
	}
	_, password, ok := strings.Cut(string(raw), ":")
	if !ok {
		return "", ErrUnknownKey
	}
	return password, nil
}
