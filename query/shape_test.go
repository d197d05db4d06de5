package query

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/headgate-io/headgate/storage/schema"
)

var (
	quotedRe = regexp.MustCompile(`'(?:[^'\\]|\\.)*'`)
	fromRe   = regexp.MustCompile(`\b(?:FROM|JOIN) (\(|[A-Za-z_]+)`)
	scanRe   = regexp.MustCompile(`\bFROM (otel_[a-z_]+) PREWHERE TenantId IN \{p1:Array\(String\)\} AND indexHint\(Partition IN \{p2:Array\(String\)\}\) AND (?:.*? AND )??(Timestamp|TimeUnix) >= fromUnixTimestamp64Nano\(\{p3:Int64\}, 'UTC'\) AND (?:Timestamp|TimeUnix) < fromUnixTimestamp64Nano\(\{p4:Int64\}, 'UTC'\)`)
	wordRe   = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)
	paramRe  = regexp.MustCompile(`\{p[0-9]+:[A-Za-z0-9()]+\}`)
	nameRe   = regexp.MustCompile("`[^`]*`")
)

// ownText are all the quoted texts and words that the printer may write: those of the column table and of this list.
var ownText = func() map[string]bool {
	own := map[string]bool{}
	add := func(sql string) {
		for _, q := range quotedRe.FindAllString(sql, -1) {
			own[q] = true
		}
		for _, w := range wordRe.FindAllString(quotedRe.ReplaceAllString(sql, ""), -1) {
			own[w] = true
		}
	}
	for _, columns := range columnsOf {
		for _, c := range columns {
			add(c.expr)
		}
	}
	for _, t := range schema.Tables {
		own[t] = true
	}
	add(severityName("x", true))
	for _, sql := range emptyLists {
		add(sql)
	}
	add(`SELECT FROM PREWHERE WHERE GROUP BY ORDER LIMIT UNION ALL AS IN AND OR NOT DESC NULLS LAST NULL true false
		TenantId Partition SeverityNumber MetricName fromUnixTimestamp64Nano toUnixTimestamp64Nano 'UTC' CAST 'Bool' 'Nullable(Bool)'
		mapContains positionCaseInsensitiveUTF8 match startsWith endsWith isNull ifNull nullIf toFloat64 toFloat64OrNull toInt64 toInt64OrNull
		accurateCastOrNull trunc 'Int64' toString toJSONString concat replaceOne ' ' 'T' 'Z' 'true' 'false' '' moduloOrNull negate lowerUTF8 upperUTF8
		lengthUTF8 trimBoth replaceAll extract substringUTF8 abs floor ceil round coalesce if intDiv transform
		has keys mapKeys arrayJoin indexHint
		INNER LEFT JOIN ON toNullable toUInt8 map 'Map(String, String)' 'Nullable(String)' 'Nullable(UInt8)' 'Nullable(DateTime64(9, \'UTC\'))'
		toStartOfHour toStartOfFiveMinutes count countIf uniq sum avgOrNull minOrNull maxOrNull argMaxOrNull quantileTDigestOrNull topK
		indexOf has arrayExists m cityHash64 SEMI`)
	return own
}()

var numberedRe = regexp.MustCompile(`^[cejkr][0-9]+$`)

// checkShape returns what is wrong with a printed statement: a table outside of a scan with the tenant first, or any
// word or text that is not the printer's own.
func checkShape(st Stmt, tenants string) error {
	if got := st.params["p1"]; got != tenants {
		return fmt.Errorf("p1 = %s, want %s", got, tenants)
	}
	sql := st.sql
	tables := 0
	for _, m := range fromRe.FindAllStringSubmatch(sql, -1) {
		if m[1] != "(" {
			tables++
		}
	}
	scans := scanRe.FindAllStringSubmatch(sql, -1)
	if tables == 0 || len(scans) != tables || strings.Count(sql, "otel_")-strings.Count(sql, "__otel_") != tables {
		return fmt.Errorf("%d tables, %d scans with the tenant first", tables, len(scans))
	}
	bare := sql
	if st.named {
		bare = nameRe.ReplaceAllString(sql, "")
	} else if strings.Count(sql, "`") != 2*strings.Count(sql, "`__otel_materialized_k8s.pod.name`") {
		return fmt.Errorf("a quoted name that is no column")
	}
	for _, q := range quotedRe.FindAllString(bare, -1) {
		if !ownText[q] {
			return fmt.Errorf("text %s in the statement", q)
		}
	}
	bare = paramRe.ReplaceAllString(quotedRe.ReplaceAllString(bare, ""), "")
	for _, w := range wordRe.FindAllString(bare, -1) {
		if !ownText[w] && !numberedRe.MatchString(w) {
			return fmt.Errorf("word %s in the statement", w)
		}
	}
	if i := strings.IndexAny(bare, ";'\"\\{}#@?&|:$\x00\n"); i >= 0 {
		return fmt.Errorf("character %q in the statement", bare[i])
	}
	return nil
}
