package store

import (
	"context"
	"fmt"
)

// TablesWith returns the tables that have a column of that name at this moment, in order. Views are left out.
func (t *Tx) TablesWith(ctx context.Context, column string) (tables []string, err error) {
	query := `SELECT m.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND c.name = ? ORDER BY m.name`
	if t.rebind != nil {
		query = `SELECT c.table_name FROM information_schema.columns c
			JOIN information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name
			WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND c.column_name = ? ORDER BY c.table_name`
	}
	rows, err := t.QueryContext(ctx, query, column)
	if err != nil {
		return nil, fmt.Errorf("list tables with column %s: %w", column, err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("list tables with column %s: %w", column, err)
		}
		tables = append(tables, name)
	}
	return tables, rows.Err()
}
