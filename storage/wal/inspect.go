package wal

import (
	"errors"
	"fmt"
	"os"
	"path"
	"time"
)

// A State is what a segment is in.
type State string

// The states of a segment.
const (
	Sealed        State = "sealed"         // complete
	Current       State = "current"        // being written, or its log was not closed
	Torn          State = "torn"           // likewise, with an unfinished group behind its end, which recovery will cut
	Damaged       State = "damaged"        // durable entries cannot be read
	NotUnderstood State = "not understood" // of a newer version, of another log, or destroyed
	Finished      State = "finished"       // before the checkpoint; recovery will remove it
	SetAside      State = "set aside"      // before the checkpoint, and kept since it was damaged or not understood
)

// A SegmentReport describes one segment file.
type SegmentReport struct {
	Number    uint32
	File      string
	State     State
	Problem   error  // what is wrong; nil in other states than Damaged and NotUnderstood
	Version   uint32 // of its format; 0 when not looked at
	FileBytes int64
	Entries   uint64 // durable ones
	Lost      uint64 // durable ones that cannot be found any more
	Bytes     int64  // payloads of the entries
	End       int64  // offset behind the last entry
	Torn      int64  // bytes behind the end that belong to no entry
	Oldest    time.Time
	Newest    time.Time
}

// A Report describes a log's directory.
type Report struct {
	Checkpoint      uint32 // the first segment that is not finished
	CheckpointError error  // why it could not be read
	Segments        []SegmentReport
	Entries         uint64 // of segments that are not finished
	Bytes           int64
	Lost            uint64
}

// Inspect describes the log in dir without changing anything and without its lock; of opt it uses FS alone. It reads
// what Open would read: sealed segments by their seal. The segment that another process is writing may look torn.
func Inspect(dir string, opt Options) (Report, error) { return inspect(dir, opt, nil) }

// Verify is Inspect that reads everything and checks every checksum. It calls fn after each segment that is not
// finished, if fn is not nil; an error of fn ends it and is returned.
func Verify(dir string, opt Options, fn func(SegmentReport) error) (Report, error) {
	if fn == nil {
		fn = func(SegmentReport) error { return nil }
	}
	return inspect(dir, opt, fn)
}

func inspect(dir string, opt Options, fn func(SegmentReport) error) (Report, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return Report{}, err
	}
	var s *survey
	for try := 0; ; try++ { // a Log may remove files meanwhile
		if s, err = take(opt.FS, dir, false); !errors.Is(err, os.ErrNotExist) || try == 3 {
			break
		}
	}
	if err != nil {
		return Report{}, fmt.Errorf("inspect log %s: %w", dir, err)
	}
	r := Report{Checkpoint: s.checkpoint, CheckpointError: s.ckptErr}
	r.others(s.finished, Finished)
	r.others(s.aside, SetAside)
	for _, f := range s.found {
		if fn != nil && f.err == nil {
			if err := f.verify(opt, dir, &s.id); err != nil && !errors.Is(err, os.ErrNotExist) {
				return r, fmt.Errorf("verify segment %s: %w", f.file, err)
			}
		}
		seg := f.report()
		r.Segments = append(r.Segments, seg)
		r.Entries, r.Bytes, r.Lost = r.Entries+seg.Entries, r.Bytes+seg.Bytes, r.Lost+seg.Lost
		if fn != nil {
			if err := fn(seg); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

// others reports files whose contents are of no interest.
func (r *Report) others(files []string, state State) {
	for _, name := range files {
		n, _, _ := parseName(name)
		r.Segments = append(r.Segments, SegmentReport{Number: n, File: name, State: state})
	}
}

// verify reads a segment whole.
func (f *found) verify(opt Options, dir string, id *logID) error {
	if !f.sealed || f.walked {
		return nil // the survey has
	}
	file, err := opt.FS.OpenFile(path.Join(dir, f.file), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	w := walk(file, id, f.number, f.size, true)
	w.r.lenient = true
	entries := uint64(0)
	for {
		_, _, ok, err := w.step()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		entries++
	}
	f.lost += f.entries - min(entries, f.entries)
	f.entries = entries
	if err := errors.Join(w.damage(f.end), w.r.bad); err != nil && f.damage == nil {
		f.damage = err
	}
	return nil
}

func (f *found) report() SegmentReport {
	r := SegmentReport{
		Number: f.number, File: f.file, Version: f.version, FileBytes: f.size, Entries: f.entries, Lost: f.lost,
		Bytes: f.bytes, End: f.end, Torn: f.torn,
	}
	if f.entries > 0 {
		r.Oldest, r.Newest = time.Unix(int64(f.oldest), 0), time.Unix(int64(f.newest), 0)
	}
	switch {
	case f.err != nil:
		r.State, r.Problem = NotUnderstood, f.err
	case f.damage != nil:
		r.State, r.Problem = Damaged, f.damage
	case f.sealed:
		r.State = Sealed
	case f.torn > 0:
		r.State = Torn
	default:
		r.State = Current
	}
	return r
}
