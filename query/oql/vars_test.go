package oql

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, typ VarType, raw string) Value {
	t.Helper()
	v, err := typ.Read([]byte(raw))
	if err != nil {
		t.Fatalf("%s.Read(%s): %v", typ, raw, err)
	}
	return v
}

// TestVariableIsItsLiteral: a text with variables makes the plan of the text with the literals in their places.
func TestVariableIsItsLiteral(t *testing.T) {
	vars := Vars{
		"s": read(t, VarString, `"a\"b | count // $s"`), "sev": read(t, VarString, `"ERROR"`), "i": read(t, VarInt, `-7`), "n": read(t, VarInt, `5`),
		"f": read(t, VarFloat, `2.5`), "b": read(t, VarBool, `true`), "d": read(t, VarDuration, `"1h30m"`), "t": read(t, VarTime, `"2025-03-04T10:00:00Z"`),
		"l": read(t, VarList, `["x","service"]`), "codes": read(t, VarList, `[200, 404]`), "re": read(t, VarString, `"^a.*"`),
	}
	for text, literal := range map[string]string{
		`logs | where body == $s`:                            `logs | where body == "a\"b | count // $s"`,
		`logs | where body == ${s} or body ~ $s`:             `logs | where body == "a\"b | count // $s" or body ~ "a\"b | count // $s"`,
		`logs | where severity >= $sev`:                      `logs | where severity >= "error"`,
		`logs | where severity in ($sev, "fatal")`:           `logs | where severity in ("error", "fatal")`,
		`logs | where severity_number > $i`:                  `logs | where severity_number > -7`,
		`logs | where severity_number > -$n`:                 `logs | where severity_number > -5`,
		`logs | where attr.x > $f and $b`:                    `logs | where attr.x > 2.5 and true`,
		`spans | where duration between 1s and $d`:           `spans | where duration between 1s and 1h30m`,
		`spans | where time > $t`:                            `spans | where time > datetime"2025-03-04T10:00:00Z"`,
		`logs | where service in $l`:                         `logs | where service in ("x", "service")`,
		`logs | where service not in (${l}, "y")`:            `logs | where service not in ("x", "service", "y")`,
		`logs | where status_code in $codes`:                 `logs | where status_code in (200, 404)`,
		`logs | where body =~ $re`:                           `logs | where body =~ "^a.*"`,
		`logs | search $s | limit $n`:                        `logs | search "a\"b | count // $s" | limit 5`,
		`spans | top $n by duration`:                         `spans | top 5 by duration`,
		`spans | summarize p = percentile(duration, $n)`:     `spans | summarize p = percentile(duration, 5)`,
		`spans | summarize n = count() by t = bin(time, $d)`: `spans | summarize n = count() by t = bin(time, 1h30m)`,
		`spans | summarize n = count() by bin($d)`:           `spans | summarize n = count() by bin(1h30m)`,
	} {
		got, err := ParseWith(text, vars)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		want, err := Parse(literal)
		if err != nil {
			t.Fatalf("%s: %v", literal, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is not the plan of %s", text, literal)
		}
	}
}

// TestVariableIsNothingButAValue: what a variable may not stand for is refused at its place, whatever its value.
func TestVariableIsNothingButAValue(t *testing.T) {
	vars := Vars{"x": read(t, VarString, `"service"`), "n": read(t, VarInt, `1`), "l": read(t, VarList, `["a"]`), "sev": read(t, VarString, `"eror"`)}
	for text, want := range map[string]string{
		`$x`:                                 `column 1: expected a source (logs, spans or metrics), got the variable $x; a variable stands for a value only`,
		`logs | $x`:                          `column 8: expected a stage such as where or summarize, got the variable $x; a variable stands for a value only`,
		`logs | project-away $x`:             `column 21: expected a column, got the variable $x; a variable stands for a value only`,
		`logs | extend $x = 1`:               `column 15: expected a name and "=", as in: extend seconds = duration / 1s, got the variable $x; a variable stands for a value only`,
		`logs | where attr[$x] == "a"`:       `column 19: expected the name of an attribute in double quotes, got the variable $x; a variable stands for a value only`,
		`logs | where attr.$x == "a"`:        `column 19: expected a name after the dot; other names are written in brackets, as in attr["2xx"], got the variable $x; a variable stands for a value only`,
		`metrics($x)`:                        `column 9: expected the name of a metric in double quotes, got the variable $x; a variable stands for a value only`,
		`logs | summarize $x()`:              `column 18: expected an aggregation such as count(), got the variable $x; a variable stands for a value only`,
		`logs | where $x(body) == "a"`:       `column 14: a condition is wanted here, not text: compare it with something`,
		`logs | where time > datetime$x`:     `column 21: unknown column "datetime" in logs; a text is written in double quotes: "datetime"`,
		`logs | where service == $y`:         `column 25: unknown variable $y, did you mean "l"`,
		`logs | where service == $l`:         `column 25: the variable $l is a list, which stands after in`,
		`logs | where severity == $sev`:      `column 23: no severity "eror": it is one of unspecified, trace, debug, info, warn, error, fatal`,
		`logs | where severity == $n`:        `column 23: severity compares by name (severity >= "error"); the number 1 compares with severity_number`,
		`logs | limit $x`:                    `column 14: expected a count from 1 to 100000`,
		`logs | search $n`:                   `column 15: expected the text to look for, in double quotes, and the variable $n is no text`,
		`logs | where status_code in $l`:     `column 26: a value of type int is compared with numbers, and "a" is none`,
		`logs | where status_code in ("a")`:  `column 26: a value of type int is compared with numbers, and "a" is none`,
		`logs | where service == $`:          `column 25: "$" is followed by the name of a variable, as in $service or ${service}`,
		`logs | where service == ${x`:        `column 25: the variable ${x has no closing }`,
		`logs | where service == $1`:         `column 25: "$" is followed by the name of a variable, as in $service or ${service}`,
		"logs | where body =~ $x | where $x": `column 33: a condition is wanted here, not text: compare it with something`,
	} {
		_, err := ParseWith(text, vars)
		var e *Error
		if !errors.As(err, &e) || strings.TrimPrefix(e.Error(), "line 1 ") != want {
			t.Errorf("%s\n got %v\nwant line 1 %s", text, err, want)
		}
	}
	if _, err := Parse("logs | where service == $x"); err == nil || !strings.Contains(err.Error(), "unknown variable $x: this query has no variables") {
		t.Errorf("without variables: %v", err)
	}
}

// TestVariableTypesAreClosed holds what each type reads and what it says to anything else.
func TestVariableTypesAreClosed(t *testing.T) {
	for _, c := range []struct {
		typ  VarType
		raw  string
		want string // literals or the error
	}{
		{VarString, `"a"`, `[a]`},
		{VarString, `5`, "a text of at most 16384 bytes is wanted"},
		{VarString, `null`, "a text of at most 16384 bytes is wanted"},
		{VarString, `"` + strings.Repeat("x", maxTextBytes+1) + `"`, "a text of at most 16384 bytes is wanted"},
		{VarString, `"a" "b"`, "not a JSON value"},
		{VarString, `"a"]`, "not a JSON value"},
		{VarString, ``, "not a JSON value"},
		{VarInt, `-9223372036854775808`, `[-9223372036854775808]`},
		{VarInt, `9223372036854775808`, "a whole number of 64 bits is wanted"},
		{VarInt, `1.5`, "a whole number of 64 bits is wanted"},
		{VarInt, `"1"`, "a whole number of 64 bits is wanted"},
		{VarFloat, `1e3`, `[1000]`},
		{VarFloat, `1e999`, "a number is wanted"},
		{VarFloat, `true`, "a number is wanted"},
		{VarBool, `false`, `[false]`},
		{VarBool, `"true"`, "true or false is wanted"},
		{VarDuration, `"1h30m"`, `[1h30m0s]`},
		{VarDuration, `"1h30"`, `"1h30" is not a duration such as 150ms, 5m or 7d`},
		{VarDuration, `5`, `a duration such as "5m" is wanted`},
		{VarTime, `"2025-01-02"`, `[2025-01-02 00:00:00 +0000 UTC]`},
		{VarTime, `"now"`, `"now" is not a time such as 2025-01-31T12:00:00Z`},
		{VarTime, `1`, `a time such as "2025-01-31T12:00:00Z" is wanted`},
		{VarList, `["a",1,2.5,true]`, `[a 1 2.5 true]`},
		{VarList, `[]`, "a list is wanted: an array of 1 to 1000 values"},
		{VarList, `"a"`, "a list is wanted: an array of 1 to 1000 values"},
		{VarList, `[["a"]]`, "value 1 of the list: a text of at most 16384 bytes is wanted"},
		{VarList, `["a",null]`, "value 2 of the list: a text of at most 16384 bytes is wanted"},
		{"field", `"a"`, `no type of variables "field"`},
	} {
		v, err := c.typ.Read([]byte(c.raw))
		got := fmt.Sprint(v.values)
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s.Read(%.40s) = %s, want %s", c.typ, c.raw, got, c.want)
		}
	}
}

// TestSamplesStandForAnyValue: a text that is right for some values of its variables is right with samples.
func TestSamplesStandForAnyValue(t *testing.T) {
	vars := Vars{}
	for _, typ := range VarTypes {
		vars[string(typ)] = typ.Sample()
	}
	for _, text := range []string{
		`logs | where severity == $string and time > $string`, `spans | where kind == $string and status in $list`, `logs | where severity in $list`,
		`logs | where status_code in $list`, `spans | where duration in $list`, `logs | where attr.x in $list`, `logs | where body =~ $string | search $string`,
		`spans | top $int by duration | where duration > $duration`, `spans | summarize percentile(duration, $int) by bin($duration)`,
		`logs | where time between $datetime and $datetime + $duration`, `logs | where $bool and attr.n > $float`,
	} {
		if _, err := ParseWith(text, vars); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{`logs | where severity == $int`, `logs | where time > $int`, `logs | where body == $list`, `logs | where body ~ $int`, `logs | where nobody == $string`} {
		if _, err := ParseWith(text, vars); err == nil {
			t.Errorf("%s parses", text)
		}
	}
}

func TestVariablesAreListed(t *testing.T) {
	got := Variables("logs // $no\n| where body == \"$no\" and service == $b or host in ${a} or pod == $b and `$no` == $time")
	if want := []string{"b", "a", "time"}; !slices.Equal(got, want) {
		t.Errorf("Variables = %v, want %v", got, want)
	}
}
