package engine

import (
	"strings"

	"github.com/ClickHouse/ch-go/proto"
)

const helloQuery = "SELECT displayName(), version(), revision(), timezone()"

// hello answers the first query of clickhouse-go, or nil if sql is not it.
//
// The driver reads this answer in the newest Native form (block information first, a serialization byte per column) and
// every later one in the form of the revision it is told. libchdb prints the form of revision 0, and only that, so the
// hello is answered here: in the newest form, telling 0.
func (s *server) hello(q *request, sql string) ([]byte, error) {
	if q.revision == 0 || q.format != "Native" || strings.TrimSpace(sql) != helloQuery {
		return nil, nil
	}
	var name, version, timezone proto.ColStr
	var revision proto.ColUInt32
	name.Append("headgate engine")
	version.Append(s.version)
	revision.Append(0)
	timezone.Append(s.timezone)

	var buf proto.Buffer
	block := proto.Block{Info: proto.BlockInfo{BucketNum: -1}, Columns: 4, Rows: 1}
	err := block.EncodeBlock(&buf, q.revision, []proto.InputColumn{
		{Name: "displayName()", Data: &name},
		{Name: "version()", Data: &version},
		{Name: "revision()", Data: &revision},
		{Name: "timezone()", Data: &timezone},
	})
	return buf.Buf, err
}
