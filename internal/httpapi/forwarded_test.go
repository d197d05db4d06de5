package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestForwardedAddressIsThatOfTheLastHopThatIsNotTrusted(t *testing.T) {
	for _, c := range []struct {
		proxies, peer string
		header        []string
		want          string
	}{
		{"", "10.0.0.1:99", []string{"1.2.3.4"}, "10.0.0.1:99"},
		{"10.0.0.0/8", "10.0.0.1:99", nil, "10.0.0.1:99"},
		{"10.0.0.0/8", "10.0.0.1:99", []string{"1.2.3.4"}, "1.2.3.4:0"},
		{"10.0.0.0/8", "192.0.2.1:99", []string{"1.2.3.4"}, "192.0.2.1:99"},                       // not of a proxy
		{"10.0.0.0/8", "10.0.0.1:99", []string{"6.6.6.6, 1.2.3.4"}, "1.2.3.4:0"},                  // the client's own claim
		{"10.0.0.0/8", "10.0.0.1:99", []string{"6.6.6.6", "1.2.3.4", "10.0.0.2"}, "1.2.3.4:0"},    // through two proxies
		{"10.0.0.0/8", "10.0.0.1:99", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3:0"},               // from within
		{"10.0.0.0/8", "10.0.0.1:99", []string{"1.2.3.4, unknown, 10.0.0.2"}, "10.0.0.2:0"},       // what is before is not vouched for
		{"10.0.0.0/8", "10.0.0.1:99", []string{"nonsense"}, "10.0.0.1:99"},                        //
		{"10.0.0.0/8", "10.0.0.1:99", []string{"fe80::1%eth0"}, "10.0.0.1:99"},                    //
		{"10.0.0.1", "10.0.0.1:99", []string{"::ffff:1.2.3.4"}, "1.2.3.4:0"},                      //
		{"10.0.0.1", "[::ffff:10.0.0.1]:99", []string{"2001:db8::1"}, "[2001:db8::1]:0"},          //
		{"2001:db8::/32,10.0.0.1", "[2001:db8::7]:99", []string{"1.2.3.4,10.0.0.1"}, "1.2.3.4:0"}, //
	} {
		var list []string
		if c.proxies != "" {
			list = strings.Split(c.proxies, ",")
		}
		p, err := ParseProxies(list)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		h := p.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }))
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = c.peer, c.header
		h.ServeHTTP(httptest.NewRecorder(), r)
		if got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestProxiesThatAreNoAddressesAreRefused(t *testing.T) {
	for _, bad := range []string{"", "x", "10.0.0.0/33", "10.0.0.1/8", "proxy.example", "fe80::1%eth0", "::ffff:10.0.0.0/104"} {
		if p, err := ParseProxies([]string{bad}); err == nil {
			t.Errorf("%q is read as %v", bad, p)
		}
	}
}
