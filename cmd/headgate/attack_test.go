package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var updateAttacks = flag.Bool("update-attacks", false, "rewrite the answers in testdata/attacks")

// attack is one request against the tenant globex, with the exact answer that it gets.
type attack struct {
	file, name, who, method, target string
	header                          [][2]string
	body, want                      string
}

// attacks reads testdata/attacks. Each file has cases separated by an empty line: "# name", "who METHOD target", headers as
// "> Name: value", the body if there is one, a line of dashes, and the answer. ${…} stands for what is known at run time,
// ${text*n} for n times text.
func attacks(t *testing.T) (out []attack) {
	t.Helper()
	for _, path := range mustGlob(t, "testdata/attacks/*.txt") {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for text := range strings.SplitSeq(strings.TrimSpace(string(raw)), "\n\n") {
			request, want, _ := strings.Cut(text+"\n", "\n----\n")
			lines := strings.Split(strings.TrimSuffix(request, "\n"), "\n")
			a := attack{file: path, name: strings.TrimPrefix(lines[0], "# "), want: strings.TrimSuffix(want, "\n")}
			first := []string{}
			if len(lines) > 1 {
				first = strings.SplitN(lines[1], " ", 3)
			}
			if len(first) != 3 || a.name == lines[0] {
				t.Fatalf("%s: %q is no attack", path, text)
			}
			a.who, a.method, a.target = first[0], first[1], first[2]
			lines = lines[2:]
			for len(lines) > 0 && strings.HasPrefix(lines[0], "> ") {
				name, value, _ := strings.Cut(lines[0][2:], ":")
				a.header = append(a.header, [2]string{name, strings.TrimPrefix(value, " ")})
				lines = lines[1:]
			}
			a.body = strings.Join(lines, "\n")
			out = append(out, a)
		}
	}
	return out
}

// text is the attack as its file has it.
func (a attack) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n%s %s %s\n", a.name, a.who, a.method, a.target)
	for _, h := range a.header {
		fmt.Fprintf(&b, "> %s: %s\n", h[0], h[1])
	}
	if a.body != "" {
		b.WriteString(a.body + "\n")
	}
	return b.String() + "----\n" + a.want + "\n"
}

// known are the values behind ${…}.
type known map[string]string

var placeholder = regexp.MustCompile(`\$\{([^}*]+)(?:\*(\d+))?\}`)

func (k known) fill(t *testing.T, text string) string {
	t.Helper()
	return placeholder.ReplaceAllStringFunc(text, func(s string) string {
		m := placeholder.FindStringSubmatch(s)
		if m[2] != "" {
			n, err := strconv.Atoi(m[2])
			if err != nil {
				t.Fatal(err)
			}
			return strings.Repeat(m[1], n)
		}
		v, ok := k[m[1]]
		if !ok && strings.Contains(m[1], ".") {
			t.Fatalf("nothing is known of %s", s)
		}
		if !ok {
			return s // of the query itself
		}
		return v
	})
}

var varying = []*regexp.Regexp{
	regexp.MustCompile(`("request_id":")[0-9A-Z]{26}()`), regexp.MustCompile(`("next_cursor":")[^"]+()`), regexp.MustCompile(`("goVersion":")[^"]+()`),
	regexp.MustCompile(`("(?:elapsed|queued)_ms":)[0-9.]+()`), regexp.MustCompile(`("(?:created|changed)_at":")[^"]+()`),
	regexp.MustCompile(`("owner_user":")[0-9A-Z]{26}()`),
}

// mask is the reverse of fill, and hides what differs from answer to answer.
func (k known) mask(text string) string {
	for _, name := range slices.SortedFunc(maps.Keys(k), func(a, b string) int { return len(k[b]) - len(k[a]) }) {
		text = strings.ReplaceAll(text, k[name], "${"+name+"}")
	}
	for _, re := range varying {
		text = re.ReplaceAllString(text, "$1…$2")
	}
	return text
}

// shown are the headers that an answer is written with.
var shown = []string{"Allow", "Location", "WWW-Authenticate", "Retry-After"}

// send sends an attack and returns its answer, masked, and its headers.
func (a attack) send(t *testing.T, addr string, credentials map[string]string, k known) (answer string, rest string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), a.method, "http://"+addr+k.fill(t, a.target), strings.NewReader(k.fill(t, a.body)))
	if err != nil {
		t.Fatalf("%s: %s: %v", a.file, a.name, err)
	}
	credential, ok := credentials[a.who]
	if !ok {
		t.Fatalf("%s: %s: who is %s?", a.file, a.name, a.who)
	}
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	for _, h := range a.header {
		if name, value := h[0], k.fill(t, h[1]); name == "Host" {
			req.Host = value
		} else {
			req.Header.Add(name, value)
		}
	}
	client := http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s: %s: %v", a.file, a.name, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %s: %v", a.file, a.name, err)
	}
	var b strings.Builder
	fmt.Fprint(&b, resp.StatusCode)
	for _, name := range shown {
		if v := resp.Header.Get(name); v != "" {
			fmt.Fprintf(&b, "\n> %s: %s", name, v)
		}
	}
	text := strings.ReplaceAll(strings.TrimRight(string(body), "\n"), "\n\n", "\n") // an empty line ends a case
	if bytes.HasPrefix(body, []byte("PAR1")) || resp.Header.Get("Content-Type") == "application/vnd.apache.arrow.stream" {
		text = "(" + resp.Header.Get("Content-Type") + ")"
	}
	fmt.Fprintf(&b, "\n%s", text)
	for _, name := range []string{"Date", "X-Request-Id", "Content-Length", "Age"} {
		resp.Header.Del(name)
	}
	// Whatever is asked, an answer is nobody else's, and tells nothing of ClickHouse.
	h := resp.Header
	if h.Get("Cache-Control") != "no-store" && strings.Contains(h.Get("Content-Type"), "json") {
		t.Errorf("%s: %s: Cache-Control %q of an answer %d", a.file, a.name, h.Get("Cache-Control"), resp.StatusCode)
	}
	for name := range h {
		if strings.HasPrefix(name, "X-Clickhouse") || strings.HasPrefix(name, "Access-Control") || name == "Set-Cookie" {
			t.Errorf("%s: %s: header %s: %s", a.file, a.name, name, h.Get(name))
		}
	}
	if c := k["canary"]; strings.Contains(string(body)+fmt.Sprint(h, resp.Trailer), c) && !strings.Contains(a.target+a.body+fmt.Sprint(a.header), "${canary}") {
		t.Errorf("%s: %s: tells of another tenant: %s", a.file, a.name, body)
	}
	for _, s := range []string{"DB::", "Exception", "otel_logs", "otel_traces", "PREWHERE", "libchdb", "goroutine ", "chdb"} {
		if strings.Contains(string(body), s) && !strings.Contains(a.target+a.body, s) {
			t.Errorf("%s: %s: tells %q: %s", a.file, a.name, s, body)
		}
	}
	return k.mask(strings.TrimRight(b.String(), "\n")), k.mask(fmt.Sprint(h, resp.Trailer))
}

// TestAttacksGetTheirExactAnswers sends each attack of testdata/attacks to a real headgate, twice: when there is no tenant
// globex and what is named of it is made up, and when globex is there with data and saved things full of canaries. Both times
// the answer is the one that the file has, and the headers are the same: nobody can tell whether there is a globex.
func TestAttacksGetTheirExactAnswers(t *testing.T) {
	field := newBattlefield(t)
	list := attacks(t)
	headers := map[int]string{}
	phase := func(name string, k known) {
		for i, a := range list {
			got, rest := a.send(t, field.addr.API, field.credentials, k)
			if *updateAttacks && name == "alone" {
				list[i].want = got
			} else if got != list[i].want {
				t.Errorf("%s: %s, %s: %s %s %s\n got %s\nwant %s", a.file, a.name, name, a.who, a.method, a.target, got, list[i].want)
			}
			if headers[i] == "" {
				headers[i] = rest
			} else if headers[i] != rest {
				t.Errorf("%s: %s: headers differ\n alone: %s\nbeside: %s", a.file, a.name, headers[i], rest)
			}
		}
	}
	phase("alone", field.known)
	field.invade()
	phase("beside", field.known)
	if *updateAttacks {
		files := map[string]string{}
		for _, a := range list {
			files[a.file] += a.text() + "\n"
		}
		for path, text := range files {
			if err := os.WriteFile(path, []byte(strings.TrimSuffix(text, "\n")), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	per := map[string]int{}
	for _, a := range list {
		per[strings.TrimSuffix(filepath.Base(a.file), ".txt")]++
	}
	t.Logf("%d attacks: %v", len(list), per)
	if len(list) < 200 {
		t.Errorf("only %d attacks", len(list))
	}
}
