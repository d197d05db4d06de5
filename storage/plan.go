package storage

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/headgate-io/headgate/storage/native"
)

// plan is what the log says about the requests of a run.
type plan struct {
	tables   []*tablePlan
	receipts [][]byte
	bytes    map[string]int64 // of log entries, by tenant

	undescribed []position // requests with points of series that are not known

	gone    map[string]bool    // of the tenants that were asked about
	dropped map[string]Dropped // of those that are gone, by tenant
}

// tablePlan is the rows of a run that go into one table.
type tablePlan struct {
	name       string
	rows       int
	entries    []position
	partitions []partition
}

// plan reads the requests of r. Those that are damaged on disk are given up, loudly.
func (d *delivery) plan(r *run) (*plan, error) {
	p := &plan{bytes: map[string]int64{}, gone: map[string]bool{}, dropped: map[string]Dropped{}}
	for _, at := range slices.Clone(r.entries) {
		var h head
		err := d.insist("read request", func(context.Context) (err error) {
			if h, err = d.lane.head(at); isDamage(err) {
				d.lane.log.giveUp(at, err)
				r.entries = slices.DeleteFunc(r.entries, func(p position) bool { return p == at })
				return nil
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if h.signal == "" {
			continue // given up
		}
		p.bytes[h.tenant] += int64(len(d.lane.buf))
		if len(h.receipt) > 0 {
			p.receipts = append(p.receipts, slices.Clone(h.receipt))
		}
		if p.isGone(d.lane.log, h.tenant) {
			p.drop(h, r.tables)
			d.lane.series.known.forgetTenant(h.tenant)
			continue
		}
		if d.lane.series.undescribed(d.lane.log, d.lane.buf, h, r.tables) {
			p.undescribed = append(p.undescribed, at)
		}
		for _, t := range h.tables {
			if r.tables == nil || slices.Contains(r.tables, t.table) {
				p.add(at, t)
			}
		}
	}
	return p, nil
}

func (p *plan) add(at position, h tableHead) {
	i := slices.IndexFunc(p.tables, func(t *tablePlan) bool { return t.name == h.table })
	if i < 0 {
		i = len(p.tables)
		p.tables = append(p.tables, &tablePlan{name: h.table})
	}
	t := p.tables[i]
	t.rows += h.rows
	t.entries = append(t.entries, at)
	for _, day := range h.days {
		if part := (partition{h.partition, day}); !slices.Contains(t.partitions, part) {
			t.partitions = append(t.partitions, part)
		}
	}
}

// body is the body of an INSERT: the blocks of a run's requests for one table, in compressed frames, each read from the log
// when it is its turn. So a run of any size, sent again at any time, takes the memory of one request.
type body struct {
	log   *Log
	run   uint64
	table string
	left  []position
	entry []byte // reused
	buf   []byte // reused; a block
	pos   int    // read up to here
}

func (b *body) Read(p []byte) (int, error) {
	for b.pos == len(b.buf) {
		if len(b.left) == 0 {
			return 0, io.EOF
		}
		if err := b.next(b.left[0]); err != nil {
			return 0, err
		}
		b.left = b.left[1:]
	}
	n := copy(p, b.buf[b.pos:])
	b.pos += n
	return n, nil
}

func (b *body) next(at position) (err error) {
	if b.entry, err = b.log.wal.Read(at, b.entry[:0]); err != nil {
		return fmt.Errorf("read request at %s: %w", at, err)
	}
	h, err := parseHead(b.entry)
	if err != nil {
		return err
	}
	b.buf, b.pos = b.buf[:0], 0
	for _, t := range h.tables {
		if t.table != b.table {
			continue
		}
		var block native.Block
		if block, err = t.block(b.entry); err != nil {
			return err
		}
		b.buf = block.AppendTo(b.buf, b.run)
	}
	return nil
}
