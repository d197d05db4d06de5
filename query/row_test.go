package query

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestSplitRowFindsTheValues(t *testing.T) {
	for _, line := range []string{
		`[]`, `[1]`, `[1,2,3]`, `["a,b","c]","\"",",\\"]`, `[null,true,[1,[2,"]"]],{"k":"v,}","l":[{}]}]`, `["\\\"",2]`, `["é🦆",-1.5e-300]`, ` [1, "x"] `,
	} {
		var want []json.RawMessage
		if err := json.Unmarshal([]byte(line), &want); err != nil {
			t.Fatal(err)
		}
		got, err := splitRow(nil, []byte(line))
		if err != nil || len(got) != len(want) {
			t.Errorf("splitRow(%s) = %q, %v, want %q", line, got, err, want)
			continue
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("splitRow(%s)[%d] = %s, want %s", line, i, got[i], want[i])
			}
		}
	}
	for _, line := range []string{``, `1`, `{}`, `[`, `["a]`, `[[]`, `["\"]`, `[1]]`} {
		if got, err := splitRow(nil, []byte(line)); err == nil {
			t.Errorf("splitRow(%s) = %q, want an error", line, got)
		}
	}
}
