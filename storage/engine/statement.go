package engine

import "strings"

// insertParts is an INSERT that brings its data with it.
type insertParts struct {
	head   string // up to FORMAT or VALUES
	format string
	data   int // where the data begin in the text
}

// splitInsert takes an INSERT … VALUES or INSERT … FORMAT name apart. It answers false for everything else, also for
// INSERT … SELECT. text may be cut off behind the beginning of the data.
func splitInsert(text string) (insertParts, bool) {
	l := lexer{text: text}
	if !wordIs(text, l.next(), "INSERT") {
		return insertParts{}, false
	}
	t := l.next()
	for wordIs(text, t, "INTO") || wordIs(text, t, "TABLE") || wordIs(text, t, "FUNCTION") {
		t = l.next()
	}
	// t is the name of the table, which may be any word, FORMAT and VALUES too; parts of it may follow.
	for t = l.next(); t.kind == tokenOther && text[t.start] == '.'; t = l.next() {
		l.next()
	}
	for ; t.kind != tokenEnd; t = l.next() {
		switch {
		case t.kind != tokenWord || t.depth != 0:
		case wordIs(text, t, "VALUES"):
			return insertParts{text[:t.start], "Values", t.end}, true
		case wordIs(text, t, "FORMAT"):
			name := l.next()
			if name.kind != tokenWord {
				return insertParts{}, false
			}
			return insertParts{text[:t.start], text[name.start:name.end], skipLineEnd(text, name.end)}, true
		case wordIs(text, t, "SELECT"), wordIs(text, t, "WITH"), wordIs(text, t, "WATCH"), wordIs(text, t, "INFILE"):
			return insertParts{}, false
		}
	}
	return insertParts{}, false
}

// skipLineEnd passes the blanks and the one line end between a format's name and the data.
func skipLineEnd(text string, i int) int {
	for i < len(text) && strings.IndexByte(" \t\f", text[i]) >= 0 {
		i++
	}
	if i < len(text) && text[i] == '\r' {
		i++
	}
	if i < len(text) && text[i] == '\n' {
		i++
	}
	return i
}

// queryParts is a statement with a result, cut before its output clause.
type queryParts struct {
	head   string // without FORMAT and what follows it, without a final semicolon
	tail   string // "FORMAT name …" as written, or ""
	format string // the name in tail
}

// splitQuery finds the FORMAT clause: the word FORMAT outside all brackets, a name, and then nothing or SETTINGS. Text it
// misjudges becomes a syntax error, never another statement, because the engine parses what is put together again.
func splitQuery(text string) queryParts {
	var toks []token
	for l := (lexer{text: text}); ; {
		t := l.next()
		if t.kind == tokenEnd {
			break
		}
		toks = append(toks, t)
	}
	for len(toks) > 0 && text[toks[len(toks)-1].start] == ';' {
		toks = toks[:len(toks)-1]
	}
	if len(toks) == 0 {
		return queryParts{}
	}
	end := toks[len(toks)-1].end
	for i := len(toks) - 2; i > 0; i-- {
		name := toks[i+1]
		if !wordIs(text, toks[i], "FORMAT") || toks[i].depth != 0 || name.kind != tokenWord {
			continue
		}
		if i+2 == len(toks) || wordIs(text, toks[i+2], "SETTINGS") {
			return queryParts{text[:toks[i].start], text[toks[i].start:end], text[name.start:name.end]}
		}
	}
	return queryParts{head: text[:end]}
}

func wordIs(text string, t token, word string) bool {
	return t.kind == tokenWord && strings.EqualFold(text[t.start:t.end], word)
}
