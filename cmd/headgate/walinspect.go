package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/headgate-io/headgate/storage"
	"github.com/headgate-io/headgate/storage/wal"
)

func newWALInspect() *cobra.Command {
	var f walFlags
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Show the log's segments and what was set aside",
		Long: `Inspect shows the segments of the log: what is in them, how old it is, and in what state each is. It reads little
and changes nothing. Entries of segments that are not finished may be in ClickHouse already: a segment goes as a whole.`,
		Example: `  headgate wal inspect
  headgate wal inspect --data-dir /var/lib/headgate --json`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := wal.Inspect(f.dir(), wal.Options{})
			if err != nil {
				return err
			}
			return f.print(cmd.OutOrStdout(), report)
		},
	}
	f.register(cmd)
	return cmd
}

func newWALVerify() *cobra.Command {
	var f walFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read the whole log and check every checksum",
		Long: `Verify reads every entry of the log and checks its checksum; it changes nothing. It fails if anything is damaged.
Beside a running server, the segment that is being written may look torn: that is no damage.`,
		Example: `  headgate wal verify
  headgate wal verify --data-dir /mnt/backup/headgate`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			start, read := time.Now(), int64(0)
			report, err := wal.Verify(f.dir(), wal.Options{}, func(s wal.SegmentReport) error {
				read += s.Bytes
				fmt.Fprintf(cmd.ErrOrStderr(), "%s  %d entries, %s read in %s\n", s.File, s.Entries, formatBytes(read), time.Since(start).Round(time.Millisecond))
				return nil
			})
			if err != nil {
				return err
			}
			if err := f.print(cmd.OutOrStdout(), report); err != nil {
				return err
			}
			for _, s := range report.Segments {
				if s.Problem != nil {
					return fmt.Errorf("the log is damaged: %s: %w; headgate serve reads what is readable around it and keeps the file", s.File, s.Problem)
				}
			}
			return report.CheckpointError
		},
	}
	f.register(cmd)
	return cmd
}

// print writes what is in the log's directory.
func (f *walFlags) print(out io.Writer, r wal.Report) error {
	rejected, err := storage.ListRejected(f.dir())
	if err != nil {
		return err
	}
	if f.json {
		return json.NewEncoder(out).Encode(walJSON(r, rejected))
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SEGMENT\tSTATE\tENTRIES\tBYTES\tON DISK\tOLDEST\tNEWEST\tPROBLEM")
	for _, s := range r.Segments {
		problem := ""
		if s.Problem != nil {
			problem = s.Problem.Error()
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", s.File, s.State, s.Entries, formatBytes(s.Bytes), formatBytes(s.FileBytes),
			clock(s.Oldest), clock(s.Newest), problem)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "\n%d entries with %s in segments that are not finished; %d lost to damage; %d requests rejected by ClickHouse\n",
		r.Entries, formatBytes(r.Bytes), r.Lost, len(rejected))
	return errors.Join(err, r.CheckpointError)
}

func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// walJSON is the report for scripts.
func walJSON(r wal.Report, rejected []storage.Rejected) any {
	type segment struct {
		File    string    `json:"file"`
		State   wal.State `json:"state"`
		Version uint32    `json:"version"`
		Entries uint64    `json:"entries"`
		Lost    uint64    `json:"lost"`
		Bytes   int64     `json:"bytes"`
		OnDisk  int64     `json:"file_bytes"`
		Torn    int64     `json:"torn_bytes"`
		Oldest  string    `json:"oldest"`
		Newest  string    `json:"newest"`
		Problem string    `json:"problem,omitempty"`
	}
	segments := make([]segment, len(r.Segments))
	for i, s := range r.Segments {
		segments[i] = segment{s.File, s.State, s.Version, s.Entries, s.Lost, s.Bytes, s.FileBytes, s.Torn, clock(s.Oldest), clock(s.Newest), ""}
		if s.Problem != nil {
			segments[i].Problem = s.Problem.Error()
		}
	}
	return struct {
		Segments []segment          `json:"segments"`
		Entries  uint64             `json:"entries"`
		Bytes    int64              `json:"bytes"`
		Lost     uint64             `json:"lost"`
		Rejected []storage.Rejected `json:"rejected"`
	}{segments, r.Entries, r.Bytes, r.Lost, append([]storage.Rejected{}, rejected...)}
}
