package engine

import "testing"

func TestSplitInsert(t *testing.T) {
	type parts struct {
		ok                 bool
		head, format, data string
	}
	no := parts{}
	for text, want := range map[string]parts{
		"INSERT INTO t VALUES (1)":                              {true, "INSERT INTO t ", "Values", " (1)"},
		"insert into t (a, b) values(1)":                        {true, "insert into t (a, b) ", "Values", "(1)"},
		"INSERT INTO t FORMAT Native":                           {true, "INSERT INTO t ", "Native", ""},
		"INSERT INTO t FORMAT Native\n\x01\x02":                 {true, "INSERT INTO t ", "Native", "\x01\x02"},
		"INSERT INTO t FORMAT TSV \r\n1\n":                      {true, "INSERT INTO t ", "TSV", "1\n"},
		"INSERT INTO t FORMAT TSV\n\n1\n":                       {true, "INSERT INTO t ", "TSV", "\n1\n"},
		"INSERT INTO t SETTINGS a = 1, b='FORMAT x' FORMAT CSV": {true, "INSERT INTO t SETTINGS a = 1, b='FORMAT x' ", "CSV", ""},
		"INSERT INTO values VALUES (1)":                         {true, "INSERT INTO values ", "Values", " (1)"},
		"INSERT INTO format FORMAT CSV":                         {true, "INSERT INTO format ", "CSV", ""},
		"INSERT INTO db.format (`values`) FORMAT CSV":           {true, "INSERT INTO db.format (`values`) ", "CSV", ""},
		"INSERT INTO TABLE t VALUES (1)":                        {true, "INSERT INTO TABLE t ", "Values", " (1)"},
		"INSERT t VALUES (1)":                                   {true, "INSERT t ", "Values", " (1)"},
		"INSERT INTO FUNCTION file('FORMAT x') VALUES (1)":      {true, "INSERT INTO FUNCTION file('FORMAT x') ", "Values", " (1)"},
		"/* SELECT */ INSERT INTO t -- VALUES\nVALUES (1)":      {true, "/* SELECT */ INSERT INTO t -- VALUES\n", "Values", " (1)"},
		"INSERT INTO t SELECT 'VALUES'":                         no,
		"INSERT INTO t (a) SELECT 1 FORMAT CSV":                 no,
		"INSERT INTO t WITH 1 AS x SELECT x":                    no,
		"INSERT INTO t":                                         no,
		"INSERT":                                                no,
		"INSERT INTO t FROM INFILE 'x' FORMAT CSV":              no,
		"SELECT 'INSERT INTO t VALUES'":                         no,
		"EXPLAIN INSERT INTO t VALUES (1)":                      no,
		"INSERT INTO t FORMAT":                                  no,
		"INSERT INTO t FORMAT 'x'":                              no,
		"":                                                      no,
	} {
		p, ok := splitInsert(text)
		got := parts{ok: ok, head: p.head, format: p.format}
		if ok {
			got.data = text[p.data:]
		}
		if got != want {
			t.Errorf("splitInsert(%q) = %+v, want %+v", text, got, want)
		}
	}
}

func TestSplitQuery(t *testing.T) {
	for text, want := range map[string]queryParts{
		"SELECT 1":                                   {"SELECT 1", "", ""},
		"SELECT 1 ; -- done\n;":                      {"SELECT 1", "", ""},
		"SELECT 1 FORMAT JSON":                       {"SELECT 1 ", "FORMAT JSON", "JSON"},
		"SELECT 1 format JSON;":                      {"SELECT 1 ", "format JSON", "JSON"},
		"SELECT 1 FORMAT JSON SETTINGS a = 'x' ;":    {"SELECT 1 ", "FORMAT JSON SETTINGS a = 'x'", "JSON"},
		"SELECT 1 FORMAT JSON -- why":                {"SELECT 1 ", "FORMAT JSON", "JSON"},
		"SELECT 'FORMAT JSON'":                       {"SELECT 'FORMAT JSON'", "", ""},
		"SELECT 'it''s' AS `FORMAT`, $$ FORMAT x $$": {"SELECT 'it''s' AS `FORMAT`, $$ FORMAT x $$", "", ""},
		"SELECT format FROM t":                       {"SELECT format FROM t", "", ""},
		"SELECT (SELECT 1 FORMAT JSON)":              {"SELECT (SELECT 1 FORMAT JSON)", "", ""},
		"SELECT a FORMAT JSON WHERE 1":               {"SELECT a FORMAT JSON WHERE 1", "", ""},
		"SELECT '\\' FORMAT JSON":                    {"SELECT '\\' FORMAT JSON", "", ""},
		"SELECT 1 /* FORMAT JSON":                    {"SELECT 1", "", ""},
		";":                                          {},
	} {
		if got := splitQuery(text); got != want {
			t.Errorf("splitQuery(%q) = %+v, want %+v", text, got, want)
		}
	}
}

// Whatever the text, the lexer comes to an end, its tokens do not overlap, and what splitQuery puts aside was in the text.
func FuzzLexer(f *testing.F) {
	for _, s := range []string{"SELECT 1 FORMAT JSON", "INSERT INTO t VALUES ('x')", "'", "$a$", "/*", "--", "`\\", "(((", "]", "1e3x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at := 0
		for l := (lexer{text: text}); ; {
			tok := l.next()
			if tok.start < at || tok.end < tok.start || tok.end > len(text) {
				t.Fatalf("token %+v after %d in %q", tok, at, text)
			}
			if tok.kind == tokenEnd {
				break
			}
			if tok.end == tok.start {
				t.Fatalf("empty token %+v in %q", tok, text)
			}
			at = tok.end
		}
		q := splitQuery(text)
		if head := q.head + q.tail; len(head) > len(text) || text[:len(q.head)] != q.head || text[len(q.head):len(head)] != q.tail {
			t.Fatalf("splitQuery(%q) = %+v", text, q)
		}
		if p, ok := splitInsert(text); ok && (p.data > len(text) || text[:len(p.head)] != p.head) {
			t.Fatalf("splitInsert(%q) = %+v", text, p)
		}
	})
}
