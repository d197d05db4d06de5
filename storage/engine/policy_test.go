package engine_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"github.com/headgate-io/headgate/internal/chtest"
)

const policyUsers = `<clickhouse>
	<profiles><default/></profiles><quotas><default/></quotas>
	<users><default>
		<password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
		<databases><default><t><filter>has(splitByChar(',', getSetting('log_comment')), tenant)</filter></t></default></databases>
	</default></users>
</clickhouse>`

func TestUsersFileBringsRowPolicies(t *testing.T) {
	opts := chtest.Options(t.TempDir())
	opts.UsersFile = filepath.Join(opts.DataDir, "users & policies.xml")
	if err := os.WriteFile(opts.UsersFile, []byte(policyUsers), 0o600); err != nil {
		t.Fatal(err)
	}
	e := chtest.StartOwn(t, opts)
	w := e.Open(t, "")
	mustExec(t, w, "CREATE TABLE t (tenant String) ENGINE = MergeTree ORDER BY tenant")
	mustExec(t, w, "INSERT INTO t VALUES ('a'), ('b'), ('c')")
	r := e.OpenReader(t, "")
	for capability, want := range map[string]uint64{"": 0, "a": 1, "a,c": 2, "x": 0} {
		ctx := clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"log_comment": capability}))
		var n uint64
		if err := r.QueryRow(ctx, "SELECT count() FROM t").Scan(&n); err != nil || n != want {
			t.Errorf("rows seen with %q = %d, %v, want %d", capability, n, err, want)
		}
	}
}
