package jaeger

import "strings"

// The tables hold values as text, and beside each map a text that tells their kinds; docs/fidelity.md has its grammar:
//
//	kinds  the kinds of a map's values in stored order; the last one stands for all that follow; "" is strings alone
//	kind   s string, b bool, i int, d double, y bytes, e empty, a(kinds) array, k(kinds) key-value list
//
// Kinds that were too long are cut and end in "~".

// The letters of kinds. unknown is what a cut did not leave.
const (
	kindString  = 's'
	kindBool    = 'b'
	kindInt     = 'i'
	kindDouble  = 'd'
	kindBytes   = 'y'
	kindEmpty   = 'e'
	kindArray   = 'a'
	kindMap     = 'k'
	kindUnknown = '~'
)

// kind is the kind of one value.
type kind struct {
	letter byte
	inner  kinds // of an array or key-value list
}

// kinds are the kinds of a list of values.
type kinds struct {
	list []kind
	cut  bool
}

// maxKindDepth is more than values can nest in a request.
const maxKindDepth = 100

// parseKinds reads the text of a kinds column. What is not in the grammar ends the list as a cut does, so that no row
// makes its trace unreadable.
func parseKinds(s string) kinds {
	if s == "" {
		return kinds{}
	}
	k, _ := readKinds(s, 0)
	return k
}

// readKinds returns what follows the list too.
func readKinds(s string, depth int) (k kinds, rest string) {
	for s != "" && s[0] != ')' {
		c := s[0]
		s = s[1:]
		if !strings.ContainsRune("sbidyeak", rune(c)) || depth > maxKindDepth {
			k.cut = true
			return k, ""
		}
		one := kind{letter: c}
		if c == kindArray || c == kindMap {
			if s == "" || s[0] != '(' {
				k.list = append(k.list, kind{letter: c, inner: kinds{cut: true}})
				k.cut = true
				return k, ""
			}
			one.inner, s = readKinds(s[1:], depth+1)
			if s == "" { // no bracket closes it
				one.inner.cut = true
				k.list = append(k.list, one)
				k.cut = true
				return k, ""
			}
			s = s[1:]
		}
		k.list = append(k.list, one)
	}
	return k, s
}

// at returns the kind of value i.
func (k kinds) at(i int) kind {
	switch {
	case i < len(k.list):
		return k.list[i]
	case k.cut:
		return kind{letter: kindUnknown, inner: kinds{cut: true}}
	case len(k.list) == 0:
		return kind{letter: kindString}
	default:
		return k.list[len(k.list)-1]
	}
}
