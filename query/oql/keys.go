package oql

import "github.com/headgate-io/headgate/query/plan"

// keys reads [ column ] and makes the list of the names of attributes in use: each key of the map column, attributes if none
// is named, with the count of rows that have it, the most frequent first.
func (p *parser) keys(at token) error {
	of := p.column("attributes")
	if p.tok.kind == word {
		at = p.tok
		if of = p.column(at.s); of == nil {
			return p.unknownColumn(at, at.s)
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
	if of == nil || of.Type != plan.Map {
		return p.errorAt(at, "keys lists the names in a map of attributes: attr, resource or scope")
	}
	key := p.plan.Column("key", plan.String)
	p.plan.Stages = append(p.plan.Stages, plan.Keys{Of: of, Col: key})
	if err := p.group([]named{{name: "key", expr: plan.Use(key), at: at}}, []aggregation{{fn: plan.Count, at: at}}); err != nil {
		return err
	}
	p.sortBy([]plan.Key{{Col: p.column("count"), Desc: true}})
	return nil
}
