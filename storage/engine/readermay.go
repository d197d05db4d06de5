package engine

import "strings"

// closedToReader are words that no statement of the reader needs and that readonly=1 lets do more than read the database's own
// tables: SETTINGS in a subquery lifts any setting in this version, file() reads the machine's files, mergeTreeIndex() and its
// like read primary keys past row policies, and system tables know of statements, parts and policies.
var closedToReader = map[string]bool{
	"settings": true, "outfile": true, "infile": true,
	"file": true, "url": true, "s3": true, "remote": true, "remotesecure": true, "cluster": true, "executable": true, "loop": true,
	"mergetreeindex": true, "mergetreeprojection": true, "mergetreetextindex": true, "mergetreeanalyzeindexes": true,
	"system": true, "information_schema": true, "merge": true, "dictget": true, "dictionary": true, "joinget": true,
	"hostname": true, "fqdn": true, "fullhostname": true, "getserversetting": true, "getserverport": true, "catboostevaluate": true,
}

// readerMay reports whether the reader may send text: it begins as a SELECT does, and none of its names is closed. That it is
// one statement, and a reading one, is for the engine's own parser to say.
//
// SECURITY: what holds here is an outer wall only. The reader's statements are printed by headgate of a few words, with
// every value bound, and never written by a user; should that fail, this is what is between a user's SQL and the machine.
// SHOW and EXPLAIN are refused because they tell the key of the row policies, or of rows behind them.
func readerMay(text string) bool {
	l := lexer{text: text}
	t := l.next()
	for t.kind == tokenOther && text[t.start] == '(' {
		t = l.next()
	}
	if !wordIs(text, t, "SELECT") && !wordIs(text, t, "WITH") {
		return false
	}
	for t.kind != tokenEnd {
		next := l.next()
		name := strings.ToLower(text[t.start:t.end])
		switch t.kind {
		case tokenWord:
			if closedToReader[name] || name == "explain" || name == "show" || strings.HasPrefix(name, "dictget") {
				return false
			}
		case tokenQuoted:
			// A quoted name calls a function or has a table in it as a bare one does; alone, it may be any column's.
			name = strings.Trim(name, "`\"")
			calls := next.kind != tokenEnd && (text[next.start] == '(' || text[next.start] == '.')
			if calls && (closedToReader[name] || strings.ContainsAny(name, "\\/")) || strings.HasPrefix(name, "/") {
				return false
			}
		}
		t = next
	}
	return true
}
